"""Sizes of the small view generator; pydantic alone."""

from pydantic import BaseModel, ConfigDict


class SolidNetworkSettings(BaseModel):
    """The network that predicts the solid behind a picture."""

    model_config = ConfigDict(frozen=True)

    patch_px: int = 4
    """Side of the square of source pixels that becomes one token of the finest level."""
    bins: int = 32
    """Occupancy bins along each ray."""
    widths: tuple[int, ...] = (80, 160, 256)
    """Channels of each level, finest first, multiples of 8."""
    blocks: int = 2
    """Residual blocks a level."""


class ViewGeneratorSettings(BaseModel):
    """The one-step view generator."""

    model_config = ConfigDict(frozen=True)

    resolution_px: int = 128
    """Side of the pictures."""
    patch_px: int = 4
    """Side of the square of pixels that becomes one token of the finest level."""
    widths: tuple[int, ...] = (96, 160, 256)
    """Channels of each level, finest first, multiples of 8."""
    blocks: int = 2
    """Residual blocks a level."""
    embedding: int = 192
    """Length of the embedding of time and pose."""
    fine_channels: int = 16
    """Channels of the thin path at full resolution."""
    sigma_data: float = 0.6
    """Standard deviation of the pictures' values in -1..1 (premultiplied RGBA of the training views)."""
    solid: SolidNetworkSettings = SolidNetworkSettings()
