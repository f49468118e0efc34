"""Other ways from a view generator to a texture than the joint process: views painted in turn, or distilled scores.

Both ask the generator for one or a few views at a time, as straight colours of the known surface (`SurfaceColours`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.schedules import Schedule
from distill_core.models.condition import ViewCondition
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.projections import average
from distill_core.synchronization.score_distillation import distill_canonical
from distill_core.synchronization.strategies import NoiseKind
from distill_core.synchronization.view_updates import Trimap, UpdateSettings, update_views
from gs_integration.texturing.texture_denoising import ChanneledTexture, SurfaceColours
from gs_integration.texturing.texture_projection import TextureProjection

_UPDATES = UpdateSettings(refine_margin=0.2, grow_px=0)
"""TEXTure's margin of the cosine. What is generated does not grow into what is painted, as it does there to blend: here
the generator is told what is painted, and a silhouette's pixels would overwrite what another view saw straight."""

_VIEWS_A_STEP = 2
"""Views of one step of score distillation: each has a time and noise of its own, so few views often are worth more
than many seldom."""


@dataclass(frozen=True)
class SurfaceViews:
    """What a view generator is told of the views of a surface.

    Args:
        projection: of the surface.
        network: of premultiplied RGBA pictures in -1..1, on some device.
        condition: of all V views, one set.
        known: [V, 4, h, w] straight colour, 0..1, times trust, and trust: what takes the place of predictions.
    """

    projection: TextureProjection
    network: Denoiser[ViewCondition]
    condition: ViewCondition
    known: Float[Tensor, "views 4 height width"] | None

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return self.condition.source.device

    def colours(self, views: Sequence[int], generator: torch.Generator) -> SurfaceColours:
        """Return the denoiser of some of the views.

        Args:
            views: indices.
            generator: of the noise beside the surface.
        """
        chosen = list(views)
        known = None if self.known is None else self.known[chosen]
        return SurfaceColours(self.network, self.projection.alpha[chosen].to(self.device), generator, known)

    def told(self, views: Sequence[int]) -> ViewCondition:
        """Return what the generator is told of some of the views.

        Args:
            views: indices.
        """
        return self.condition.select_views(torch.tensor(list(views), device=self.device), len(views))


@dataclass(frozen=True)
class _Chosen:
    """Views that are denoised together: their denoiser, and what it is told."""

    colours: SurfaceColours
    told: ViewCondition


class _ChosenColours:
    """A denoiser of whichever views the condition brings with it."""

    def __init__(self, network: Denoiser[ViewCondition]) -> None:
        self.schedule: Schedule = network.schedule
        self.sample_shape = (3, *network.sample_shape[1:])

    def __call__(self, noisy: Tensor, time: Tensor, condition: _Chosen) -> Tensor:
        """Return the clean colours [B, 3, h, w], -1..1."""
        return condition.colours(noisy, time, condition.told)


def painted_surface(
    surface: SurfaceViews,
    times: Tensor,
    make_step: Callable[[], SamplerStep],
    generator: torch.Generator,
    *,
    order: Sequence[int],
    noise: NoiseKind = "shared",
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Synchronized:
    """Paint one view after another into what the earlier ones left (Richardson et al., TEXTure, 2023).

    Texels remember the cosine at which they were painted. The generator is told what is painted as it is told the
    picture's own pixels: as colours of its guide.

    Args:
        surface: and what the generator is told of it.
        times: [steps + 1] falling times of each view.
        make_step: makes the sampler's step, anew for every view.
        generator: of all noise.
        order: of the views.
        noise: whether the views see one noise on the surface or have noise of their own.
        progress: told of each step of each view; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of the texture painted so far, -1..1.
    """
    parts = {view: surface.colours([view], generator) for view in order}
    return update_views(
        ChanneledTexture(surface.projection.with_cosine_power(1.0)),
        _ChosenColours(surface.network),
        lambda trimap: _Chosen(parts[trimap.view], with_painted(surface.told([trimap.view]), trimap)),
        times,
        make_step,
        generator,
        settings=_UPDATES,
        order=order,
        noise=noise,
        device=surface.device,
        progress=progress,
        preview=preview,
    )


def distilled_surface(
    surface: SurfaceViews,
    steps: int,
    generator: torch.Generator,
    *,
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Synchronized:
    """Move the texture itself until the generator finds its views likely (Poole et al., DreamFusion, ICLR 2023).

    Args:
        surface: and what the generator is told of it.
        steps: of the optimizer, two views each; every view has its turn before one has its second.
        generator: of views, times and noise.
        progress: told of each step; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of the texture, -1..1.
    """
    num_views = len(surface.projection.cameras)
    together = min(_VIEWS_A_STEP, num_views)
    waiting: list[int] = []

    def draw(draws: torch.Generator) -> tuple[Tensor, Any]:
        if len(waiting) < together:
            order = torch.randperm(num_views, generator=draws, device=draws.device).tolist()
            waiting.extend(view for view in order if view not in waiting)
        views = [waiting.pop(0) for _ in range(together)]
        return torch.tensor(views), _Chosen(surface.colours(views, draws), surface.told(views))

    texture = ChanneledTexture(surface.projection)
    result = distill_canonical(
        texture,
        _ChosenColours(surface.network),
        draw,
        generator,
        steps=steps,
        device=surface.device,
        progress=progress,
        preview=preview,
    )
    # A texture finer than the views has texels between their pixels' samples, which never moved: all take what the
    # views show.
    return replace(result, canonical=average(texture.unproject(result.instances)))


def nearest_first(cameras: Sequence[Camera], source: Camera) -> list[int]:
    """Return the order of views by how far they look from where the picture was taken: the sides take turns.

    Args:
        cameras: of the views, around the origin.
        source: of the picture.
    """
    towards = source.position / np.linalg.norm(source.position)
    cosines = [float(camera.position @ towards / np.linalg.norm(camera.position)) for camera in cameras]
    # Views at equal angles on both sides differ by rounding alone.
    return sorted(range(len(cameras)), key=lambda view: (-round(cosines[view], 6), view))


def with_painted(condition: ViewCondition, trimap: Trimap) -> ViewCondition:
    """Return what the generator is told of one view, with what is painted there among the known colours.

    Args:
        condition: of the view.
        trimap: of the view; `known` holds straight colours in -1..1.
    """
    guide = condition.guide
    painted = (~trimap.generate).to(guide.mask)
    known = (trimap.known * 0.5 + 0.5).clamp(0, 1).to(guide.colour)
    present = guide.present.clone()
    present[:, 0] = present[:, 0].maximum(painted.amax())
    return replace(
        condition,
        guide=replace(
            guide,
            colour=guide.colour * (1 - painted) + known[None] * painted * guide.mask,
            seen=guide.seen * (1 - painted) + painted * guide.mask,
            present=present,
        ),
    )
