"""What a person can choose about rendering a set of models with Blender. No torch here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from renderers.blender.up_axis import AUTO_TAKES, UpAxis

RigName = Literal["random-sphere", "orbit", "zero123", "zero123plus", "picture-ring"]
PassName = Literal["albedo", "object-index"]


class RigSettings(BaseModel):
    """Where the cameras stand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rig: RigName | Path = Field(
        default="random-sphere",
        description="where the cameras stand: anywhere on a sphere, on rings (orbit), as Zero123 drew them, "
        "Zero123++'s six views, a person's picture and then rings (picture-ring), or those of a transforms.json",
    )
    num_views: int | None = Field(
        default=None, ge=1, le=999, description="views of each object; none means 12, or as many as the rig has"
    )
    resolution: int = Field(default=256, ge=8, le=8192, description="width and height of the pictures in pixels")
    field_of_view_degrees: float = Field(
        default=40.0, ge=5, le=120, description="of the orbit, the sphere and the picture with its rings"
    )
    elevations_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field(
        default=(15.0,), min_length=1, max_length=64, description="one a ring: of the orbit and of picture-ring"
    )
    lowest_elevation_degrees: float = Field(
        default=-90.0, ge=-90, le=90, description="lower edge of the part of the sphere that random views come from"
    )
    highest_elevation_degrees: float = Field(default=90.0, ge=-90, le=90, description="upper edge of the same part")


class RenderSettings(BaseModel):
    """How a view is rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["cycles", "eevee"] = Field(
        default="cycles", description="eevee is quick where a graphics card is; depth and normals are always Cycles'"
    )
    render_device: Literal["cpu", "gpu"] = Field(default="cpu", description="where Cycles computes")
    samples: int = Field(default=32, ge=1, le=4096, description="samples of each pixel's colour")
    denoiser: Literal["fast", "accurate", "none"] = Field(
        default="fast", description="fast costs next to nothing, accurate more than the samples themselves"
    )
    passes: tuple[PassName, ...] = Field(
        default=(),
        max_length=2,
        description="beside colour, depth and normals: albedo (base colour without light) and object-index (which of "
        "the file's objects a pixel shows)",
    )
    lighting: Literal["area-lights", "uniform"] | Path = Field(
        default="area-lights",
        description="three soft lights at random places, the same light from everywhere, or a picture of the "
        "surroundings (.hdr, .exr) turned at random",
    )


class AnimationSettings(BaseModel):
    """Moments of a model that moves; without them it stands at rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int | None = Field(
        default=None,
        ge=2,
        le=999,
        description="moments of each model's animation, evenly from its beginning to its end, each seen by all "
        "cameras; models that do not move are left out. None renders models at rest",
    )
    clip: str | None = Field(
        default=None, min_length=1, description="the animation's name in the file; none takes the file's first"
    )

    @property
    def times(self) -> tuple[float, ...]:
        """Of the moments: 0 is the clip's beginning, 1 its end; empty for a model at rest."""
        return () if self.frames is None else tuple(index / (self.frames - 1) for index in range(self.frames))


class WorkerSettings(BaseModel):
    """Which Blender works, how many of them, and what one object may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blender: Path | None = Field(
        default=None,
        description="a Blender executable of version 4.2 or later; none takes the bpy module of make setup-blender",
    )
    workers: int = Field(default=2, ge=1, le=256, description="Blender processes at a time; they share the cores")
    time_limit_seconds: float = Field(default=300.0, gt=0, le=86_400, description="for one object")
    memory_limit_gib: float = Field(default=4.0, ge=1, le=1024, description="for one worker")
    objects_per_worker: int = Field(
        default=50, ge=1, le=100_000, description="objects after which a worker is replaced by a fresh one"
    )


class DatasetSettings(BaseModel):
    """A set of models to records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: RigSettings = RigSettings()
    render: RenderSettings = RenderSettings()
    animation: AnimationSettings = AnimationSettings()
    processes: WorkerSettings = WorkerSettings()
    up_axis: Literal["auto", UpAxis] = Field(
        default="auto", description=f"which axis of .obj, .ply and .stl files points up; auto: {AUTO_TAKES}"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed gives the same cameras, lights and noise")
    retry: bool = Field(default=False, description="try again what an earlier run left out")
