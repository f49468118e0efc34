"""Settings of the pipelines: names, types, defaults and help of everything that a person can choose. No torch here."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gs_integration.fitting.settings import FitSettings
from gs_integration.formats.arrays import Axes

GENERATED_VIEW_PX = 128
"""Side of the generator's pictures in pixels."""


class GeneratorSettings(BaseModel):
    """Which generator runs, where, and with what seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(
        default="small", description="name of a checkpoint that ships with the project, or a path to one"
    )
    steps: int = Field(default=1, ge=1, le=1000, description="steps of the sampler; a distilled generator needs one")
    sampler: Literal["consistency", "ddim"] = Field(
        default="consistency", description="consistency for a distilled generator, ddim for its teacher in many steps"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed on the same machine gives the same files")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to compute; auto takes CUDA if present"
    )


class PictureSettings(BaseModel):
    """How the picture was taken, and how its background is removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    elevation_degrees: Annotated[float, Field(ge=-89, le=89)] | Literal["auto"] = Field(
        default="auto",
        description="height of the picture's camera above the object's horizon, -89 to 89; auto estimates it, which "
        "may be ten degrees off: give it where you know it",
    )
    field_of_view_degrees: float = Field(
        default=40.0,
        ge=5,
        le=100,
        description="vertical angle that the picture shows once the object is framed, 5 to 100: 40 for most photos, "
        "less for a long lens",
    )
    matting: str = Field(
        default="auto",
        description="how the background is removed: auto, alpha, border, grabcut, or the name or folder of a "
        "published ViTMatte model, which is downloaded (needs the extra `pretrained`)",
    )


class ImageToViewsSettings(BaseModel):
    """One picture to other views of its object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: PictureSettings = PictureSettings()
    generator: GeneratorSettings = GeneratorSettings()
    num_views: int = Field(
        default=16, ge=4, le=64, description="number of generated views, 4 to 64, spread around the object"
    )


class AngleSettings(BaseModel):
    """Views at chosen angles around the picture's own camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: PictureSettings = PictureSettings()
    generator: GeneratorSettings = GeneratorSettings()
    azimuths_degrees: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        default=(0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0),
        min_length=1,
        max_length=256,
        description="angles of the camera around the object, counted from the picture's camera; positive moves the "
        "camera to its right",
    )
    elevations_degrees: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field(
        default=(15.0,),
        min_length=1,
        max_length=256,
        description="angles of the generated views above the object's horizon, -90 to 90: one for all, or one a view",
    )

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        azimuths, elevations = len(self.azimuths_degrees), len(self.elevations_degrees)
        if elevations not in (1, azimuths):
            raise ValueError(
                f"expected one --elevations-degrees for all views or one for each of {azimuths}, got {elevations}"
            )
        return self


class GivenCameraSettings(BaseModel):
    """Views at cameras that a transforms.json gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: PictureSettings = PictureSettings()
    generator: GeneratorSettings = GeneratorSettings()
    largest_side: int = Field(
        default=512,
        ge=16,
        le=4096,
        description="larger side of the pictures in pixels, where the cameras state no smaller ones; the generator "
        "itself makes 128",
    )


class ImageToSplatsSettings(BaseModel):
    """One picture to splats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: ImageToViewsSettings = ImageToViewsSettings()
    fit: FitSettings = FitSettings()
    begin_from: Literal["solid", "hull"] = Field(
        default="solid",
        description="where splats begin: in the predicted solid, or in the hull of the views' silhouettes",
    )
    axes: Literal["y-down", "z-up"] = Field(
        default="y-down", description="axes of splats.ply; most viewers expect y down"
    )
    also_formats: tuple[Literal["spz", "splat", "glb"], ...] = Field(
        default=(), description="formats besides .ply that the splats are written in, as splats.spz and so on"
    )
    turntable_frames: int = Field(default=72, ge=2, le=720, description="frames of the turntable film, 24 a second")


class ConvertSettings(BaseModel):
    """A file of splats to another format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: Axes | Literal["auto"] = Field(
        default="auto",
        description="where up is in a file that does not say so: auto takes y down for .ply and .splat, y up for .spz",
    )
    output_axes: Axes = Field(
        default="y-down",
        description="where up shall be in a .ply, whose header says so; .spz and .glb are y up, .splat is y down",
    )
    spz_version: Literal[3, 4] = Field(
        default=3, description="version of an .spz that is written; 4 is smaller and younger, and needs zstd"
    )


class RenderSplatsSettings(BaseModel):
    """Splats to pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: Axes | Literal["auto"] = Field(
        default="auto",
        description="where up is in a file that does not say so: auto takes y down for .ply and .splat, y up for .spz",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to compute; auto takes CUDA if present"
    )


class EvaluationSettings(BaseModel):
    """What is measured, on which validation views."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="validation views: the folder of val_views.tar, the tar, or a folder of records")
    checkpoint: str | None = Field(
        default=None, description="name of or path to a checkpoint; none measures baselines alone"
    )
    steps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(1,), min_length=1, description="numbers of sampling steps, each measured on its own"
    )
    sampler: Literal["consistency", "ddim"] = Field(
        default="consistency", description="consistency for a distilled generator, ddim for its teacher in many steps"
    )
    baseline: tuple[Literal["copy", "guide"], ...] = Field(
        default=(),
        description="also measure: copy, the input picture itself; guide, the predicted solid with its pixels",
    )
    splats: bool = Field(
        default=False,
        description="also measure splats of the views (of the first number of steps), on 25 objects",
    )
    limit: int | None = Field(
        default=None, ge=1, description="measure this many objects (those first by SHA-256 of the name)"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the sampler")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to compute; auto takes CUDA if present"
    )

    @model_validator(mode="after")
    def _check_something(self) -> Self:
        if self.checkpoint is None and set(self.baseline) != {"copy"}:
            raise ValueError("expected --checkpoint NAME, or --baseline copy and nothing else, got no checkpoint")
        return self
