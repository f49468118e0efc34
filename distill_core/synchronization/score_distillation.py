"""Score distillation: whatever can be rendered is moved until a denoiser finds its pictures likely.

Letters: x the pictures, e the noise put into them, c the clean prediction and n the noise that it implies, a = alpha,
s = sigma, k = s / a. The gradient is E[w (n - e) dx / d theta] (Poole et al., DreamFusion, ICLR 2023, eq. 3): that of
the training loss without the derivative of the denoiser itself. Since the noisy picture is a x + s e,

    n - e = (a / s) (x - c),      w = k^2 / (1 + k^2),

where w is DreamFusion's sigma^2 under a variance-preserving schedule. Both depend on k alone, and so does the gradient:
the same under every schedule that has the same noise ratio.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser, Watched
from distill_core.diffusion.schedules import add_noise, per_sample
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.projections import Projection, coverage

Renderer = Callable[[torch.Generator], tuple[Tensor, Any]]
"""Draws views: instances [B, C, h, w], differentiable in what is optimized, and what the denoiser is told of them."""

ViewDraw = Callable[[torch.Generator], tuple[Tensor, Any]]
"""Draws some of a projection's views: their indices [B], and what the denoiser is told of them."""

DREAMFUSION_TIMES = (0.02, 0.98)
"""First and last time that is drawn."""

_RATE, _LAST_RATE_SHARE = 0.05, 0.02
"""Of Adam, in values of -1..1 a step, and what is left of it at the end: a hundred steps cross half of their range."""


def score_gradient(
    denoiser: Denoiser[Any],
    clean: Float[Tensor, "batch channels height width"],
    noise: Float[Tensor, "batch channels height width"],
    time: Float[Tensor, " batch"],
    condition: Any,
) -> Float[Tensor, "batch channels height width"]:
    """Return w (n - e), one draw of what the pictures shall move against.

    Guidance is the denoiser's: `ClassifierFreeGuidance` is u + scale (c - u), scale 1 the plain prediction. (The other
    convention in use, c + scale (c - u), is guided by scale + 1 as counted here.)

    Args:
        denoiser: of the pictures.
        clean: x, the pictures as they are.
        noise: e, standard normal.
        time: of each picture, where sigma is above 0.
        condition: what the denoiser is told.
    """
    schedule = denoiser.schedule
    with torch.no_grad():
        predicted = denoiser(add_noise(schedule, clean, noise, time), time, condition)
        alpha, sigma = (factor(time) for factor in (schedule.alpha, schedule.sigma))
        # w a / s, written so that neither end of a schedule divides by zero.
        factor = alpha * sigma / (alpha.square() + sigma.square())
        return per_sample(factor, clean) * (clean - predicted)


def gradient_loss(
    pictures: Float[Tensor, "batch channels height width"], gradient: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Return |x - (x - g)|^2 / 2, the target held fixed: its derivative in the pictures is g, a mean over the batch.

    Args:
        pictures: x, with the history that leads to what is optimized.
        gradient: g.
    """
    target = (pictures - gradient).detach()
    return 0.5 * (pictures - target).square().sum() / len(pictures)


def distill_scores(
    render: Renderer,
    optimizer: torch.optim.Optimizer,
    denoiser: Denoiser[Any],
    generator: torch.Generator,
    *,
    steps: int,
    times: tuple[float, float] = DREAMFUSION_TIMES,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> None:
    """Optimize what a renderer shows: a picture, a panorama or texture seen through its projection, splats.

    Args:
        render: draws some views of it.
        optimizer: holds what is optimized.
        denoiser: of the views, guided as it may be.
        generator: of times and noise, and of the renderer's draws.
        steps: of the optimizer.
        times: between which the time is drawn, evenly, in the schedule's own time. All views of a step have one time,
            since those that attend to one another must.
        scheduler: of the optimizer's rate; the gradients stay noisy to the end, and a rate that falls lets them settle.
        progress: told of each step; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of the rendered views, for the progress.

    Raises:
        ValueError: times out of order or range.
    """
    first, last = times
    if not 0 < first <= last <= 1:
        raise ValueError(f"expected times with 0 < first <= last <= 1, got {first} and {last}")
    for _ in range(steps):
        pictures, condition = render(generator)
        drawn = torch.rand((), generator=generator, device=generator.device).to(pictures)
        noise = torch.randn(pictures.shape, generator=generator, device=generator.device).to(pictures)
        time = (first + (last - first) * drawn).expand(len(pictures))
        optimizer.zero_grad()
        gradient_loss(pictures, score_gradient(denoiser, pictures.detach(), noise, time, condition)).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if progress is not None:
            progress.advance(1, None if preview is None else preview(pictures.detach()))


def distill_canonical(
    projection: Projection,
    denoiser: Denoiser[Any],
    draw: ViewDraw,
    generator: torch.Generator,
    *,
    steps: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Synchronized:
    """Move a canonical sample from grey (0) to where a denoiser finds its views likely: a picture, a texture, splats.

    Args:
        projection: of the views; its `project` must be differentiable.
        denoiser: of the views.
        draw: says which views a step moves.
        generator: of views, times and noise.
        steps: of the optimizer, Adam with a rate that falls.
        device: where to compute.
        progress: told of each step; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of the canonical sample, for the progress.

    Returns:
        The canonical sample, its views, and what the denoiser last said of each view (0 for views never drawn).
    """
    canonical = torch.zeros(projection.canonical_shape, device=device, requires_grad=True)
    watched = Watched(denoiser)
    said = torch.zeros(projection.instances_shape, device=device)
    drawn = torch.zeros(0, dtype=torch.long, device=device)

    def render(random: torch.Generator) -> tuple[Tensor, Any]:
        nonlocal drawn
        _keep(said, drawn, watched)
        views, condition = draw(random)
        drawn = views.to(device)
        return projection.project(canonical)[drawn], condition

    optimizer = torch.optim.Adam([canonical], lr=_RATE)
    distill_scores(
        render,
        optimizer,
        watched,
        generator,
        steps=steps,
        scheduler=torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, _LAST_RATE_SHARE, steps),
        progress=progress,
        preview=None if preview is None else lambda pictures: preview(canonical.detach()),
    )
    _keep(said, drawn, watched)
    result = canonical.detach()
    instances = projection.project(result)
    return Synchronized(result, instances, said, coverage(projection.unproject(instances)))


def _keep(said: Tensor, views: Tensor, watched: Watched) -> None:
    """Remember what was said of the views drawn last."""
    if len(views):
        said[views] = watched.clean.to(said)
