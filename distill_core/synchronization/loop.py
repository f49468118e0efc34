"""The one loop of all joint reverse processes: from noise to views that agree, and what they agree on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Watched
from distill_core.diffusion.samplers import SamplerStep
from distill_core.progress import Progress
from distill_core.synchronization.projections import average, coverage, noise_of_views
from distill_core.synchronization.steps import JointProcess, join_noisy, synchronized_step
from distill_core.synchronization.strategies import NoiseKind


@dataclass(frozen=True)
class Synchronized:
    """What a joint process ends with.

    Attributes:
        canonical: [C, ...] the canonical sample: the state itself, or the average of the final views.
        instances: [V, C, h, w] the final views: the state itself, or the views of the canonical sample.
        own_clean: [V, C, h, w] each view's own last clean prediction, before any averaging.
        coverage: share of the canonical elements that a view sees, in 0..1.
    """

    canonical: Tensor
    instances: Tensor
    own_clean: Tensor
    coverage: float


def synchronize(
    process: JointProcess,
    times: Tensor,
    make_step: Callable[[], SamplerStep],
    generator: torch.Generator,
    *,
    noise: NoiseKind = "shared",
    synchronized_times: tuple[float, float] = (1.0, 0.0),
    start: Tensor | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Synchronized:
    """Run all views down a grid of times.

    Args:
        process: what is joined, and how.
        times: [steps + 1] falling times, see `distill_core.diffusion.time_grids`.
        make_step: makes the sampler's step; called again where synchronization begins or ends.
        generator: of all noise.
        noise: whether views begin with one canonical noise or each with its own, fresh noise of the sampler included.
            A canonical state has one noise either way.
        synchronized_times: first and last time; steps that begin between them are synchronized, the others are taken by
            every view alone.
        start: the state at the first time, [1, C, ...] or [V, C, h, w] as the first step wants it; noise of the
            schedule's strength if not given.
        device: where to compute.
        dtype: of the samples.
        progress: told of each step; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of the canonical clean prediction, for the progress.

    Returns:
        The canonical sample and its views at the last time.
    """
    projection = process.projection
    alone = replace(process, strategy=None)
    watched = Watched(process.denoiser)
    first, last = synchronized_times
    times = times.to(device)

    def process_at(time: Tensor) -> JointProcess:
        return process if last <= float(time) <= first else alone

    current = process_at(times[0])
    if start is None:
        start = process.denoiser.schedule.sigma(times[0]) * _noise(current, noise, generator, start=True).to(device)
    state = start.to(device, dtype)
    step = make_step()
    for index in range(len(times) - 1):
        time, next_time = times[index], times[index + 1]
        following = process_at(time)
        if following != current:
            state = _moved_over(state, current, following, watched, time)
            current, step = following, make_step()
        fresh = _noise(current, noise, generator, start=False).to(device, dtype)
        state = synchronized_step(current, watched, step, state, time, next_time, fresh)
        if progress is not None:
            clean = None if preview is None else preview(average(projection.unproject(watched.clean)))
            progress.advance(1, clean)
    views = projection.project(state[0]) if current.state_is_canonical else state
    votes = projection.unproject(views)
    canonical = state[0] if current.state_is_canonical else average(votes)
    return Synchronized(canonical, views, watched.clean, coverage(votes))


def _noise(process: JointProcess, kind: NoiseKind, generator: torch.Generator, *, start: bool) -> Tensor:
    """Standard normal noise of the shape that the step wants, or of the state's if it is what the state starts with."""
    strategy, projection = process.strategy, process.projection
    if process.state_is_canonical and (start or (strategy is not None and strategy.quantity != "noisy")):
        return projection.canonical_noise(generator)[None]
    return noise_of_views(projection, kind, generator)


def _moved_over(state: Tensor, before: JointProcess, after: JointProcess, watched: Watched, time: Tensor) -> Tensor:
    """The state in the space of another process."""
    if before.state_is_canonical == after.state_is_canonical:
        return state
    if before.state_is_canonical:
        return before.projection.project(state[0])
    # Views that went their own ways have noise of their own, whatever becomes of averaged noise later.
    return join_noisy(replace(after, keep_variance=True), state, watched.clean, time)[None]
