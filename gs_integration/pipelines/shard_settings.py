"""What a person can choose about packing records into shards. No torch here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ShardSettings(BaseModel):
    """How records are packed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture_format: Literal["webp", "png"] = Field(
        default="webp", description="of the colours: webp is a third of the size, png exact"
    )
    webp_quality: int = Field(
        default=90, ge=0, le=100, description="of webp's colours, alpha being kept exactly; 100 keeps all exactly"
    )
    with_depth: bool = Field(default=True, description="keep depth where records have it")
    with_normals: bool = Field(default=True, description="keep normals where records have them")
    shard_mib: float = Field(default=256.0, gt=0, description="size of a shard in MiB, at which the next one begins")
    val_share: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of the objects that are held out, by the hash of the object: never trained on",
    )
