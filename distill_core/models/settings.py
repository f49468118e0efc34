"""Sizes of the small view generator; pydantic alone."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SolidNetworkSettings(BaseModel):
    """The network that predicts the solid behind a picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution_px: int = Field(default=128, ge=16, description="side of the source picture")
    patch_px: int = Field(default=4, ge=2, description="side of the square of pixels that becomes one finest token")
    bins: int = Field(default=32, ge=2, description="occupancy bins along each ray")
    widths: tuple[int, ...] = Field(default=(64, 128, 256), description="channels of the levels, finest first")
    blocks: int = Field(default=2, ge=1, description="residual blocks a level")
    middle_blocks: int = Field(default=4, ge=1, description="residual blocks in the middle of the coarsest level")


class ViewNetworkSettings(BaseModel):
    """The network that turns noise, guide and pose into a view."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution_px: int = Field(default=128, ge=16, description="side of the views")
    patch_px: int = Field(default=4, ge=2, multiple_of=2, description="side of the square of a finest token")
    widths: tuple[int, ...] = Field(default=(96, 160, 256), description="channels of the levels, finest first")
    blocks: int = Field(default=2, ge=1, description="residual blocks a level")
    middle_blocks: int = Field(default=1, ge=1, description="residual blocks in the middle of the coarsest level")
    embedding: int = Field(default=192, ge=8, description="length of the embedding of time and pose")
    fine_channels: int = Field(default=28, ge=4, description="channels that the trunk gives the thin path")
    sigma_data: float = Field(default=0.65, gt=0, description="standard deviation of premultiplied RGBA in -1..1")
    sigma_skip: float = Field(
        default=0.1, gt=0, description="noise at which half of a view is skipped through; the rest must be predicted"
    )


class ViewGeneratorSettings(BaseModel):
    """Both networks of a view generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    solid: SolidNetworkSettings = SolidNetworkSettings()
    view: ViewNetworkSettings = ViewNetworkSettings()
    correspondence_heads: int | None = Field(
        default=None, ge=1, description="heads of the attention between corresponding pixels of views; None has none"
    )

    @model_validator(mode="after")
    def _heads_share_channels(self) -> Self:
        heads = self.correspondence_heads
        if heads is not None and (odd := [width for width in self.view.widths[:-1] if width % heads]):
            raise ValueError(f"expected a number of --heads that divides the {odd[0]} channels of a level, got {heads}")
        return self
