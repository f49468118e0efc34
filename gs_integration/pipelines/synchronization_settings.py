"""What a person can choose about pictures made of views that agree. No torch here."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill_core.synchronization.ambiguous_names import AmbiguousView
from distill_core.synchronization.strategies import NoiseKind, StrategyName
from gs_integration.pipelines.text_to_image_settings import PromptSettings

_SMALLEST_FEATURES_PX = 16
"""Side of the smallest picture that perceptual features can be told of."""


class JointSettings(BaseModel):
    """How views are denoised together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(
        description="what denoises: gaussian-field:PICTURE, the exact denoiser of a Gaussian field with the spectrum "
        "of a picture, which needs no weights; or, with --prompt, the name or folder of a published text-to-image model"
    )
    text: PromptSettings = PromptSettings()
    strategy: StrategyName = Field(
        default="instance-clean",
        description="where the noisy state lives, and what the views agree on; canonical-noisy is MultiDiffusion",
    )
    relative: Literal["none", "view-updates", "score-distillation", "perceptual"] = Field(
        default="none",
        description="another way to the same end: view-updates paints one view after another into what is there, "
        "score-distillation moves the picture itself (give it some hundred steps), both without a strategy; perceptual "
        "draws the joined views towards the look of the middle one before each step",
    )
    perceptual_weight: float = Field(
        default=20.0, ge=0, le=1e6, description="how strongly --relative perceptual draws in its first step"
    )
    steps: int = Field(default=30, ge=1, le=1000, description="steps of the sampler, or of score distillation")
    sampler: Literal["ddim", "heun", "dpm-solver", "ancestral", "consistency"] = Field(
        default="ddim", description="how to get from one step to the next; consistency is for one-step generators"
    )
    noise: NoiseKind = Field(
        default="shared",
        description="whether the views see one noise or have noise of their own; a canonical state begins with one "
        "noise either way",
    )
    keep_variance: bool = Field(
        default=False, description="give averaged noisy samples the variance back that averaging took from their noise"
    )
    sync_from: float = Field(default=1.0, ge=0, le=1, description="time at which synchronization begins; 1 is noise")
    sync_until: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="time of the last synchronized step; 0 is clean, later steps are taken alone",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed on the same machine gives the same files")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to compute; auto takes CUDA if present"
    )

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.sync_from < self.sync_until:
            raise ValueError(
                f"expected --sync-from at or above --sync-until, got {self.sync_from:g} and {self.sync_until:g}"
            )
        if self.relative == "perceptual" and self.strategy in ("canonical-clean", "canonical-noise"):
            raise ValueError(
                "expected --relative perceptual with a strategy that denoises views, such as canonical-noisy, got "
                f"{self.strategy}"
            )
        return self


class _Task(BaseModel):
    """What all tasks share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    joint: JointSettings
    window_px: int = Field(default=64, ge=8, le=2048, description="side of a view in pixels, which the denoiser sees")

    @model_validator(mode="after")
    def _check_features(self) -> Self:
        if self.joint.relative == "perceptual" and self.window_px < _SMALLEST_FEATURES_PX:
            raise ValueError(
                f"expected --window-px of at least {_SMALLEST_FEATURES_PX} for --relative perceptual, got "
                f"{self.window_px}"
            )
        return self


class PanoramaSettings(_Task):
    """A wide picture from windows."""

    width_px: int = Field(default=256, ge=8, le=16384, description="width of the panorama in pixels")
    height_px: int = Field(default=64, ge=8, le=16384, description="height of the panorama in pixels")
    stride_px: int = Field(default=32, ge=1, le=2048, description="from one window to the next, in pixels")
    closed: bool = Field(default=False, description="join the right border to the left one")

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.window_px > min(self.width_px, self.height_px):
            raise ValueError(
                f"expected --window-px of at most the panorama's {self.width_px} x {self.height_px} pixels, got "
                f"{self.window_px}"
            )
        if self.stride_px > self.window_px:
            raise ValueError(
                f"expected --stride-px of at most --window-px, so that windows leave no gap, got {self.stride_px} and "
                f"{self.window_px}"
            )
        return self


class Panorama360Settings(_Task):
    """A panorama all around from perspective views."""

    height_px: int = Field(
        default=96, ge=16, le=4096, description="height of the equirectangular panorama; its width is twice that"
    )
    field_of_view_degrees: float = Field(default=90.0, ge=40, le=130, description="field of view of each picture")

    @model_validator(mode="after")
    def _check_resolution(self) -> Self:
        if not self.window_px / 4 <= self.height_px <= 4 * self.window_px:
            raise ValueError(
                f"expected --height-px between a quarter and four times --window-px, got {self.height_px} and "
                f"{self.window_px}"
            )
        return self


class AmbiguousSettings(_Task):
    """One picture that has to look right in several views."""

    views: tuple[AmbiguousView, ...] = Field(
        default=("identity", "rotate-90"),
        min_length=1,
        max_length=16,
        description="what is done to the picture in each view; identity is the picture itself",
    )
    view_prompts: tuple[str, ...] = Field(
        default=(), max_length=16, description="what each view shall show, in the order of --views; put behind --prompt"
    )

    @model_validator(mode="after")
    def _check_prompts(self) -> Self:
        if not self.view_prompts:
            return self
        if len(self.view_prompts) != len(self.views) or not self.joint.text.prompt:
            raise ValueError(
                f"expected --prompt and --view-prompts with a prompt for each of the {len(self.views)} views, got "
                f"{len(self.view_prompts)}{'' if self.joint.text.prompt else ' without --prompt'}"
            )
        if self.joint.relative == "view-updates":
            raise ValueError(
                "expected --view-prompts with views that are denoised together, got --relative view-updates"
            )
        return self

    @model_validator(mode="after")
    def _check_side(self) -> Self:
        if self.window_px % 4:
            raise ValueError(f"expected --window-px to be a multiple of 4, which patches need, got {self.window_px}")
        return self


class ZoomSettings(_Task):
    """Pictures of which each is the middle of the one before, magnified."""

    levels: int = Field(default=4, ge=1, le=32, description="number of pictures")
    magnification: Literal[2, 4] = Field(default=2, description="from one picture to the next")
    frames_per_level: int = Field(
        default=24, ge=1, le=240, description="frames of the film from one picture to the next"
    )

    @model_validator(mode="after")
    def _check_relative(self) -> Self:
        if self.joint.relative == "view-updates":
            raise ValueError(
                "expected --relative view-updates with another task, got it with a zoom, whose views have no place "
                "that one of them sees best"
            )
        return self

    @model_validator(mode="after")
    def _check_side(self) -> Self:
        if self.window_px % (2 * self.magnification):
            raise ValueError(
                f"expected --window-px to be a multiple of {2 * self.magnification}, so that the middle is whole, got "
                f"{self.window_px}"
            )
        return self


class SequenceSettings(_Task):
    """A long sequence from short windows: one row of a picture's field, its colours the channels."""

    num_frames: int = Field(default=400, ge=8, le=100_000, description="length of the sequence")
    overlap_frames: int = Field(default=32, ge=0, le=2047, description="how many frames two windows share")
    closed: bool = Field(default=False, description="let the sequence repeat itself")

    @model_validator(mode="after")
    def _check_relative(self) -> Self:
        if self.joint.relative == "perceptual":
            raise ValueError("expected --relative perceptual with pictures, got it with a sequence of values")
        return self

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.window_px > self.num_frames:
            raise ValueError(
                f"expected --window-px, a window's frames, of at most --num-frames, got {self.window_px} and "
                f"{self.num_frames}"
            )
        if self.overlap_frames >= self.window_px:
            raise ValueError(
                f"expected --overlap-frames below --window-px, got {self.overlap_frames} and {self.window_px}"
            )
        return self
