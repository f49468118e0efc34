"""What a person can choose about making records of captures. No torch here."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ImportSettings(BaseModel):
    """How captures become records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_quality: float = Field(
        default=0.5, description="least score of a CO3D sequence's cameras, by the dataset itself"
    )
    masks: Path | None = Field(
        default=None,
        description="masks of COLMAP captures, white where the object is: the name of a folder in each capture, or a "
        "folder that repeats the captures' folders",
    )
    cut_out: Literal["none", "auto", "border", "grabcut"] = Field(
        default="none", description="how the object is cut out of pictures that come without masks"
    )
    num_views: int | None = Field(
        default=None, ge=2, le=999, description="at most so many views of each, evenly spaced; none takes all"
    )
    largest_side: int | None = Field(
        default=512, ge=16, le=16384, description="larger pictures are reduced to this side in pixels; none keeps them"
    )
    licence: str | None = Field(default=None, description="licence of the captures, kept in every record")
