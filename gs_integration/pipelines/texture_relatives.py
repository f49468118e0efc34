"""Which way leads from a view generator to a texture, where it is not the joint process."""

from collections.abc import Callable
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.time_grids import uniform_times
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized
from gs_integration.pipelines.texture_settings import RelativeMethod, TextureSettings
from gs_integration.texturing.texture_methods import SurfaceViews, distilled_surface, nearest_first, painted_surface


def num_view_steps(settings: TextureSettings, num_views: int) -> int:
    """Return how many steps the views of a texture take.

    Args:
        settings: method and steps.
        num_views: how many there are.
    """
    match settings.method:
        case "synchronized":
            return settings.generator.steps
        case "view-updates":
            return settings.generator.steps * num_views
        case "score-distillation":
            return settings.distillation_steps
        case _:
            assert_never(settings.method)


def relative_views(
    method: RelativeMethod,
    surface: SurfaceViews,
    source: Camera,
    settings: TextureSettings,
    make_step: Callable[[], SamplerStep],
    generator: torch.Generator,
    progress: Progress,
    preview: Callable[[Tensor], np.ndarray],
) -> Synchronized:
    """Make the views of a surface by one of the joint process's relatives.

    Args:
        method: which one.
        surface: and what the generator is told of it.
        source: of the picture; the first views to be painted are those next to it.
        settings: steps, noise.
        make_step: makes the sampler's step.
        generator: of all noise.
        progress: one step a step of the method, with a preview.
        preview: makes a picture [3, H, W] in 0..1 of a texture in -1..1.
    """
    match method:
        case "view-updates":
            with torch.inference_mode():
                return painted_surface(
                    surface,
                    uniform_times(settings.generator.steps),
                    make_step,
                    generator,
                    order=nearest_first(surface.projection.cameras, source),
                    noise=settings.noise,
                    progress=progress,
                    preview=preview,
                )
        case "score-distillation":
            # The texture has a gradient, which inference mode rules out; the networks have none.
            with torch.inference_mode(mode=False), torch.enable_grad():
                return distilled_surface(
                    surface, settings.distillation_steps, generator, progress=progress, preview=preview
                )
        case _:
            assert_never(method)
