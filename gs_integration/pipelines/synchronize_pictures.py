"""Pictures made of views that agree: panorama, 360 degrees, ambiguous picture, zoom, sequence."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np
import torch
from pydantic import BaseModel

from distill_core.diffusion.samplers import (
    DPMSolver2M,
    SamplerStep,
    ancestral_step,
    consistency_step,
    ddim_step,
    heun_step,
)
from distill_core.errors import UserError
from distill_core.images import composite, read_picture, resize_premultiplied
from distill_core.metrics import psnr
from distill_core.progress import Progress
from distill_core.synchronization.ambiguous import ambiguous_views
from distill_core.synchronization.equirectangular import (
    EquirectangularProjection,
    panorama_cameras,
    rings_of_directions,
)
from distill_core.synchronization.gaussian_field import GaussianField, periodic_component
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.sequences import sequence_windows
from distill_core.synchronization.zoom import ZoomStack
from gs_integration.pipelines.devices import torch_device
from gs_integration.pipelines.joint_relatives import run_joint
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)

GAUSSIAN_FIELD = "gaussian-field:"
TaskSettings = PanoramaSettings | Panorama360Settings | AmbiguousSettings | ZoomSettings | SequenceSettings

_CHANNELS = 3
_FIELD_SIDES = 2
"""The field is that of the picture at so many window sides; beyond half a window its pixels are uncorrelated."""


@dataclass(frozen=True)
class JointPictures:
    """What a task ends with, in 0..1.

    Attributes:
        settings: those of the job.
        canonical: [3, H, W] the canonical picture; of a zoom [levels, 3, S, S], as the views.
        views: [V, 3, h, w].
        coverage: share of the canonical picture that a view sees.
        consistency: PSNR in dB of each view's own last clean prediction against the view of the canonical picture, the
            mean over views; infinite where they are equal.
        contrast: standard deviation of the views over that of the denoiser's own field.
    """

    settings: BaseModel
    canonical: np.ndarray
    views: np.ndarray
    coverage: float
    consistency: float
    contrast: float

    def findings(self) -> dict[str, object]:
        """What the report says of the job."""
        return {
            "views": len(self.views),
            "coverage": round(self.coverage, 4),
            "consistency_psnr": self.consistency,
            "contrast": round(self.contrast, 4),
        }


def synchronize_pictures(settings: TaskSettings, progress: Progress) -> JointPictures:
    """Run a task.

    Args:
        settings: of the task.
        progress: stages "picture", "views"; previews show the canonical picture.

    Raises:
        UserError: the checkpoint or the device cannot be used.
    """
    joint = settings.joint
    device = torch_device(joint.device)
    progress.stage("picture", None)
    projection = projection_of(settings)
    channels, height, width = projection.instances_shape[1:]
    assert channels == _CHANNELS
    field = load_field(joint.checkpoint, (height, width))
    result = run_joint(joint, projection, field, _sampler(joint.sampler), device, progress, _preview)
    return _in_pictures(settings, projection, field, result)


def projection_of(settings: TaskSettings) -> Projection:
    """Return the views of a task.

    Args:
        settings: of the task.
    """
    side = settings.window_px
    match settings:
        case PanoramaSettings():
            shape = (_CHANNELS, settings.height_px, settings.width_px)
            stride = (settings.stride_px, settings.stride_px)
            return panorama_windows(shape, (side, side), stride, closed=settings.closed)
        case Panorama360Settings():
            # Neighbours overlap by at least a third of the narrowest field of view admitted.
            turn = settings.field_of_view_degrees / 2
            around = int(np.ceil(360 / turn))
            latitudes = np.arange(turn, 90 - turn / 4, turn)
            rings = [0.0, *latitudes.tolist(), *(-latitudes).tolist()]
            counts = [max(3, int(np.ceil(around * np.cos(np.radians(latitude))))) for latitude in rings]
            cameras = panorama_cameras(
                rings_of_directions(counts, rings), side=side, field_of_view_degrees=settings.field_of_view_degrees
            )
            return EquirectangularProjection(_CHANNELS, settings.height_px, cameras)
        case AmbiguousSettings():
            return ambiguous_views(_CHANNELS, side, settings.views, seed=settings.joint.seed)
        case ZoomSettings():
            return ZoomStack(settings.levels, _CHANNELS, side, settings.magnification)
        case SequenceSettings():
            return sequence_windows(
                _CHANNELS, settings.num_frames, side, settings.overlap_frames, closed=settings.closed
            )
        case _:
            assert_never(settings)


def load_field(checkpoint: str, window: tuple[int, int]) -> GaussianField:
    """Return the denoiser of a checkpoint.

    Args:
        checkpoint: gaussian-field:PICTURE.
        window: height and width of the views.

    Raises:
        UserError: another checkpoint, or the picture cannot be read.
    """
    if not checkpoint.startswith(GAUSSIAN_FIELD) or checkpoint == GAUSSIAN_FIELD:
        raise UserError(
            f"Expected --checkpoint {GAUSSIAN_FIELD}PICTURE, got {checkpoint}; the project's own checkpoints make "
            "views of an object from its picture, and cannot make panoramas or ambiguous pictures."
        )
    picture = read_picture(Path(checkpoint.removeprefix(GAUSSIAN_FIELD))).rgba
    side = min(picture.shape[1:])
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    field_side = _FIELD_SIDES * max(window)
    square = np.ascontiguousarray(picture[:, top : top + side, left : left + side])
    opaque = composite(resize_premultiplied(square, field_side, field_side), 1.0)
    values = torch.from_numpy(opaque).double() * 2 - 1
    return GaussianField(periodic_component(values), window, reach=max(window) // 2)


def _sampler(
    name: Literal["ddim", "heun", "dpm-solver", "ancestral", "consistency"],
) -> Callable[[], SamplerStep]:
    match name:
        case "ddim":
            return lambda: ddim_step
        case "heun":
            return lambda: heun_step
        case "dpm-solver":
            return DPMSolver2M
        case "ancestral":
            return lambda: ancestral_step
        case "consistency":
            return lambda: consistency_step
        case _:
            assert_never(name)


def _in_pictures(
    settings: TaskSettings, projection: Projection, field: GaussianField, result: Synchronized
) -> JointPictures:
    again = projection.project(result.canonical)
    consistency = psnr(_picture(result.own_clean), _picture(again)).mean()
    deviation = float(torch.stack([field.covariance(0, 0)[c, c] for c in range(_CHANNELS)]).mean().sqrt())
    # The field's own mean is known; about the views' own mean a short sequence would seem fainter than it is.
    differences = result.instances.double().cpu() - field.mean[:, None, None]
    contrast = float(differences.square().mean().sqrt()) / max(deviation, 1e-12)
    return JointPictures(
        settings,
        _picture(result.canonical).numpy(),
        _picture(result.instances).numpy(),
        result.coverage,
        float(consistency),
        contrast,
    )


def _picture(values: torch.Tensor) -> torch.Tensor:
    """From -1..1 to 0..1, on the CPU."""
    return (values.float().cpu() * 0.5 + 0.5).clamp(0, 1)


def _preview(canonical: torch.Tensor) -> np.ndarray:
    """The canonical picture; of a stack its widest picture."""
    return _picture(canonical if canonical.ndim == 3 else canonical[0]).numpy()
