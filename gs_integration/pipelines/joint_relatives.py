"""One run of views that are to agree: the joint process, or one of its relatives on the same task."""

from collections.abc import Callable
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.time_grids import uniform_times
from distill_core.metrics import random_feature_distance
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.perceptual_guidance import PerceptualGuidance, to_pictures
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.score_distillation import distill_canonical
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import strategy_named
from distill_core.synchronization.view_updates import update_views
from gs_integration.pipelines.joint_denoisers import ViewDenoiser
from gs_integration.pipelines.synchronization_settings import JointSettings


def run_joint(
    settings: JointSettings,
    projection: Projection,
    denoised: ViewDenoiser,
    make_step: Callable[[], SamplerStep],
    device: torch.device,
    progress: Progress,
) -> Synchronized:
    """Make views that agree.

    Args:
        settings: how.
        projection: of the views.
        denoised: what denoises the views, and what it is told.
        make_step: makes the sampler's step.
        device: where to compute.
        progress: begins the stage "views", a step each; previews show the canonical sample.
    """
    denoiser, condition = denoised.denoiser, denoised.condition

    def preview(canonical: Tensor) -> np.ndarray:
        # Of a stack its widest picture.
        first = canonical[None] if canonical.ndim == 3 else canonical[:1]
        return (denoised.preview(first)[0].float().cpu() * 0.5 + 0.5).clamp(0, 1).numpy()

    times, generator = uniform_times(settings.steps), torch.Generator().manual_seed(settings.seed)
    views = projection.instances_shape[0]
    progress.stage("views", settings.steps * (views if settings.relative == "view-updates" else 1))
    match settings.relative:
        case "none" | "perceptual":
            guided = settings.relative == "perceptual"
            process = JointProcess(
                projection, denoiser, condition, strategy_named(settings.strategy), settings.keep_variance
            )
            # What is guided needs gradients, which inference mode rules out.
            with torch.no_grad() if guided else torch.inference_mode():
                return synchronize(
                    process,
                    times,
                    (lambda: _guided(make_step(), settings, denoised)) if guided else make_step,
                    generator,
                    noise=settings.noise,
                    synchronized_times=(settings.sync_from, settings.sync_until),
                    device=device,
                    progress=progress,
                    preview=preview,
                )
        case "view-updates":
            with torch.inference_mode():
                return update_views(
                    projection,
                    denoiser,
                    lambda trimap: condition,
                    times,
                    make_step,
                    generator,
                    noise=settings.noise,
                    device=device,
                    progress=progress,
                    preview=preview,
                )
        case "score-distillation":
            every = torch.arange(views)
            return distill_canonical(
                projection,
                denoiser,
                lambda draws: (every, condition),
                generator,
                steps=settings.steps,
                device=device,
                progress=progress,
                preview=preview,
            )
        case _:
            assert_never(settings.relative)


def _guided(step: SamplerStep, settings: JointSettings, denoised: ViewDenoiser) -> PerceptualGuidance:
    return PerceptualGuidance(
        step,
        random_feature_distance,
        weight=settings.perceptual_weight,
        decode=lambda clean: to_pictures(denoised.to_pictures(clean, False)),
    )
