"""What a person can choose about which objects of a source are rendered. No torch here."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class SourceSettings(BaseModel):
    """Which objects of a source; an empty choice takes all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licences: tuple[str, ...] = Field(
        default=(), description="objects under these licences alone: as the source writes them, or by, by-sa, cc0 ..."
    )
    categories: tuple[str, ...] = Field(
        default=(), description="objects of these categories alone: Sketchfab's or LVIS's, of Objaverse 1.0"
    )
    uids: Path | None = Field(
        default=None, description="objects of this list alone, one uid a line or a list in JSON: of Objaverse"
    )
    limit: int | None = Field(default=None, ge=1, description="at most so many objects, the first by uid or name")
    downloads: int = Field(
        default=1, ge=1, le=64, description="downloads at a time, where the package objaverse fetches them"
    )
