"""What a person can choose about the texture of a mesh. No torch here."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill_core.synchronization.strategies import NoiseKind, StrategyName
from gs_integration.pipelines.settings import GeneratorSettings, PictureSettings
from gs_integration.pipelines.text_to_image_settings import PromptedTextureSettings
from renderers.blender.up_axis import AUTO_TAKES, UpAxis

CAMERA_SETS = ("ring", "ring-and-poles", "automatic")
RelativeMethod = Literal["view-updates", "score-distillation"]


class TextureSettings(BaseModel):
    """A mesh and one picture, or a prompt, to a textured mesh."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: PictureSettings = PictureSettings()
    generator: GeneratorSettings = GeneratorSettings()
    method: Literal["synchronized", RelativeMethod] = Field(
        default="synchronized",
        description="synchronized denoises all views together, as --strategy says; view-updates paints one view after "
        "another into what is there; score-distillation moves the texture itself, in --distillation-steps",
    )
    prompted: PromptedTextureSettings = PromptedTextureSettings()
    strategy: StrategyName = Field(
        default="instance-clean",
        description="where the noisy state lives, and what the views agree on; canonical-noisy is MultiDiffusion",
    )
    distillation_steps: int = Field(
        default=200, ge=1, le=100_000, description="steps of --method score-distillation, two views each"
    )
    noise: NoiseKind = Field(
        default="shared", description="whether the views see one noise on the surface or have noise of their own"
    )
    feed_back: bool = Field(
        default=True,
        description="whether each step shows every view what all made of the texture a step before; without a strategy "
        "views stay alone",
    )
    num_views: int = Field(default=10, ge=1, le=64, description="number of views, 1 to 64")
    cameras: str = Field(
        default="ring-and-poles",
        description="where the views stand: ring, ring-and-poles, automatic (each sees the most that none saw before), "
        "or a transforms.json, whose cameras are taken whatever the number of views",
    )
    texture_size: int = Field(default=1024, ge=16, le=8192, description="texels along a side of the texture")
    azimuth_degrees: float = Field(
        default=0.0,
        ge=-360,
        le=360,
        description="from where the picture shows the mesh: 0 is its front, 90 its right side as it looks to you",
    )
    lift_picture: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="whether the picture's pixels are laid on the mesh, as sharp as they are: auto does where both "
        "outlines fit, and stretches its colours over the mesh where they do not; never leaves both out",
    )
    up_axis: Literal["auto", UpAxis] = Field(
        default="auto",
        description=f"which axis of the file points up; auto: what it says, and of .obj, .ply and .stl {AUTO_TAKES}",
    )
    turntable_frames: int = Field(default=72, ge=2, le=720, description="frames of the turntable film, 24 a second")

    @model_validator(mode="after")
    def _check_cameras(self) -> Self:
        if self.cameras not in CAMERA_SETS and not Path(self.cameras).exists():
            raise ValueError(
                f"expected --cameras {', '.join(CAMERA_SETS)} or a transforms.json, got {self.cameras}, which is "
                "no file"
            )
        if self.cameras == "ring-and-poles" and self.num_views < 3:
            raise ValueError(
                f"expected --num-views of at least 3 for a ring and both poles, got {self.num_views}; choose --cameras "
                "ring"
            )
        return self

    @model_validator(mode="after")
    def _check_strategy(self) -> Self:
        usual = type(self).model_fields["strategy"].default
        if self.method != "synchronized" and self.strategy != usual:
            raise ValueError(f"expected --strategy with --method synchronized alone, got it with {self.method}")
        return self

    @model_validator(mode="after")
    def _check_prompt(self) -> Self:
        prompted, generator, usual = self.prompted, self.generator, GeneratorSettings()
        if not prompted.text.prompt:
            if prompted != PromptedTextureSettings():
                raise ValueError(
                    "expected --prompt with the options of a text-to-image checkpoint, got some of them without it"
                )
            return self
        if generator.checkpoint == usual.checkpoint:
            raise ValueError(
                "expected --checkpoint with the name or folder of a published text-to-image model beside --prompt, got "
                f"{generator.checkpoint}, which makes views from a picture"
            )
        if (generator.steps, generator.sampler) != (usual.steps, usual.sampler):
            raise ValueError(
                "expected --denoising-steps and --denoising-sampler with --prompt, got --steps or --sampler, which are "
                "those of the view generator"
            )
        if prompted.canonical == "rgb" and self.strategy not in ("instance-clean", "none"):
            raise ValueError(
                "expected --strategy instance-clean or none with --canonical rgb, since noise in latents has no "
                f"meaning in colours, got {self.strategy}"
            )
        return self
