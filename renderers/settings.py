"""What a person can choose about which machines render. No torch here."""

from pydantic import BaseModel, ConfigDict, Field


class ClusterSettings(BaseModel):
    """Many machines instead of one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str | None = Field(
        default=None,
        description="render on a Ray cluster that this machine belongs to: auto finds it, else its address HOST:PORT; "
        "none renders on this machine alone",
    )
    cores_per_object: int = Field(
        default=1, ge=1, le=1024, description="of the cluster, for an object; one wastes the least"
    )
    records_address: str | None = Field(
        default=None,
        description="with --cluster: where the records go, anything that fsspec knows (s3://BUCKET/FOLDER); none means "
        "the output folder, which every node must see at the same path",
    )
