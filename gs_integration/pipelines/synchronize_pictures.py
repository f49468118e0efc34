"""Pictures made of views that agree: panorama, 360 degrees, ambiguous picture, zoom, sequence."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from distill_core.metrics import psnr
from distill_core.progress import Progress
from distill_core.synchronization.ambiguous import ambiguous_views
from distill_core.synchronization.equirectangular import (
    EquirectangularProjection,
    panorama_cameras,
    rings_of_directions,
)
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.sequences import sequence_windows
from distill_core.synchronization.zoom import ZoomStack
from gs_integration.pipelines.devices import torch_device
from gs_integration.pipelines.joint_denoisers import (
    TaskSettings,
    ViewDenoiser,
    field_denoiser,
    in_latents,
    is_field,
    load_joint_model,
    prompted_denoiser,
)
from gs_integration.pipelines.joint_relatives import run_joint
from gs_integration.pipelines.sampler_names import sampler_named
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)

_CHANNELS = 3


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
        contrast: standard deviation of the views over that of the denoiser's own field; None where there is no field.
    """

    settings: BaseModel
    canonical: np.ndarray
    views: np.ndarray
    coverage: float
    consistency: float
    contrast: float | None

    def findings(self) -> dict[str, object]:
        """What the report says of the job."""
        return {
            "views": len(self.views),
            "coverage": round(self.coverage, 4),
            "consistency_psnr": self.consistency,
            "contrast": None if self.contrast is None else round(self.contrast, 4),
        }


def synchronize_pictures(settings: TaskSettings, progress: Progress) -> JointPictures:
    """Run a task.

    Args:
        settings: of the task.
        progress: stages "picture" (or "checkpoint"), "views"; previews show the canonical picture.

    Raises:
        UserError: the checkpoint or the device cannot be used, or sizes do not fit it.
    """
    joint = settings.joint
    device = torch_device(joint.device)
    if is_field(joint):
        progress.stage("picture", None)
        projection = projection_of(settings, _CHANNELS)
        views = field_denoiser(joint.checkpoint, projection.instances_shape[2:])
    else:
        progress.stage("checkpoint", None)
        model = load_joint_model(joint, device)
        projection = projection_of(in_latents(settings, model.codec.pixels_a_latent), model.codec.channels)
        views = prompted_denoiser(model, settings, projection.instances_shape[2:])
    result = run_joint(joint, projection, views, sampler_named(joint.sampler), device, progress)
    return _in_pictures(settings, projection, views, result)


def projection_of(settings: TaskSettings, channels: int) -> Projection:
    """Return the views of a task.

    Args:
        settings: of the task, sizes in pixels or latents.
        channels: of the samples.
    """
    side = settings.window_px
    match settings:
        case PanoramaSettings():
            shape = (channels, settings.height_px, settings.width_px)
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
            return EquirectangularProjection(channels, settings.height_px, cameras)
        case AmbiguousSettings():
            return ambiguous_views(channels, side, settings.views, seed=settings.joint.seed)
        case ZoomSettings():
            return ZoomStack(settings.levels, channels, side, settings.magnification)
        case SequenceSettings():
            return sequence_windows(
                channels, settings.num_frames, side, settings.overlap_frames, closed=settings.closed
            )
        case _:
            assert_never(settings)


def _in_pictures(
    settings: TaskSettings, projection: Projection, views: ViewDenoiser, result: Synchronized
) -> JointPictures:
    closed = isinstance(settings, Panorama360Settings) or getattr(settings, "closed", False)
    with torch.inference_mode():
        own, again, shown = (
            _picture(views.to_pictures(samples, False))
            for samples in (result.own_clean, projection.project(result.canonical), result.instances)
        )
        whole = result.canonical if result.canonical.ndim == 4 else result.canonical[None]
        canonical = _picture(views.to_pictures(whole, closed))
    return JointPictures(
        settings,
        (canonical if result.canonical.ndim == 4 else canonical[0]).numpy(),
        shown.numpy(),
        result.coverage,
        float(psnr(own, again).mean()),
        _contrast(views, result),
    )


def _contrast(views: ViewDenoiser, result: Synchronized) -> float | None:
    field = views.field
    if field is None:
        return None
    deviation = float(torch.stack([field.covariance(0, 0)[c, c] for c in range(_CHANNELS)]).mean().sqrt())
    # The field's own mean is known; about the views' own mean a short sequence would seem fainter than it is.
    differences = result.instances.double().cpu() - field.mean[:, None, None]
    return float(differences.square().mean().sqrt()) / max(deviation, 1e-12)


def _picture(values: Tensor) -> Tensor:
    """From -1..1 to 0..1, on the CPU."""
    return (values.float().cpu() * 0.5 + 0.5).clamp(0, 1)
