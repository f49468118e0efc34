"""What a person can choose about fitting splats to views. No torch here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_STEPS_A_VIEW = 25
_FEWEST_STEPS = 800


class FitSettings(BaseModel):
    """How views become splats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int | None = Field(
        default=600,
        ge=1,
        le=100_000,
        description="optimization steps, one view each; None stands for 25 a view, at least 800",
    )
    num_splats: int = Field(default=8_000, ge=16, le=2_000_000, description="number of splats to begin with")
    max_splats: int = Field(
        default=20_000,
        ge=16,
        le=5_000_000,
        description="number to which splats may grow where views are not yet explained",
    )
    harmonics_degree: Literal[0, 1, 2, 3] = Field(
        default=0,
        description="how finely a splat's colour may depend on the direction it is seen from; 0 is not at all",
    )
    robust_width: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="colour difference (0 to 1) above which the loss is linear, below which it is square",
    )
    structure_weight: float = Field(
        default=0.2, ge=0, lt=1, description="weight of 1 - SSIM against the colour difference"
    )
    silhouette_weight: float = Field(default=4.0, ge=0, le=10, description="weight of the squared difference of alpha")
    fit_background: Literal["random", "white"] = Field(
        default="random", description="what shows through the splats while they are fitted"
    )
    half_resolution_share: float = Field(
        default=0.33, ge=0, le=1, description="share of the iterations that run at half resolution"
    )
    refinements: int = Field(
        default=2, ge=0, le=100, description="how often splats are dropped and set anew where they are missing"
    )
    largest_elongation: float = Field(
        default=3.0, ge=1, le=1000, description="longest axis of a splat over its middle one"
    )
    correct_colours: bool = Field(
        default=False, description="estimate a gain and an offset for each view but the source"
    )
    correct_flow: bool = Field(default=False, description="estimate a smooth displacement for each view but the source")

    def num_steps(self, num_views: int) -> int:
        """Return the number of optimization steps for so many views.

        Args:
            num_views: number of views that are fitted.
        """
        return max(_STEPS_A_VIEW * num_views, _FEWEST_STEPS) if self.iterations is None else self.iterations


def capture_settings(**changes: Any) -> FitSettings:
    """Return settings for pictures that agree: photographs with poses, or renders.

    Args:
        changes: fields of `FitSettings` that shall differ.

    Raises:
        pydantic.ValidationError: a field that is not admitted.
    """
    defaults: dict[str, Any] = {
        "iterations": None,
        "num_splats": 20_000,
        "max_splats": 50_000,
        "harmonics_degree": 3,
        "robust_width": 0.01,
        "silhouette_weight": 0.5,
        "half_resolution_share": 0.2,
        "fit_background": "white",
        "refinements": 10,
        "largest_elongation": 10.0,
    }
    return FitSettings(**{**defaults, **changes})


class FitRecordSettings(BaseModel):
    """A record of posed pictures to splats, with the quality at views that were held out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: FitSettings = capture_settings()
    resolution: int = Field(
        default=512, ge=16, le=4096, description="longer side of the pictures in pixels; larger ones are reduced to it"
    )
    holdout_every: int = Field(
        default=5,
        ge=0,
        description="every so many views one is kept out of the fit and compared, 0 for none; a capture that comes "
        "with its own train and test files is split as they say",
    )
    begin_from: Literal["auto", "hull", "points", "agreement", "random"] = Field(
        default="auto",
        description="where splats begin: in the hull of the silhouettes, at COLMAP's points, where neighbouring "
        "pictures agree, or anywhere the cameras look; auto takes the first that the capture allows",
    )
    turntable_frames: int = Field(
        default=72, ge=0, le=720, description="frames of the turntable film, 24 a second; 0 for no film"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="the same seed on the same machine gives the same files")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to compute; auto takes CUDA if present"
    )
