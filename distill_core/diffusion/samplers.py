"""Sampler steps of one signature, and the loop that takes them.

Letters: a = alpha, s = sigma, k = s / a at a time; x the noisy sample, c the clean prediction, n the noise it implies.
The probability-flow equation is d(x / a) / dk = n under every schedule.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser, Watched
from distill_core.diffusion.noise import NoiseSource
from distill_core.diffusion.schedules import Schedule, noise_in, noise_ratio, per_sample
from distill_core.progress import Progress


@runtime_checkable  # the shape checks of the tests ask
class SamplerStep(Protocol):
    """From one time to an earlier one."""

    def __call__(
        self,
        denoiser: Denoiser[Any],
        noisy: Tensor,
        time: Tensor,
        next_time: Tensor,
        condition: Any,
        noise: Tensor | None,
        /,
    ) -> Tensor:
        """Return the samples at `next_time`.

        Args:
            denoiser: Predicts the clean samples.
            noisy: [B, ...] samples at `time`.
            time: [B].
            next_time: [B], at most `time`.
            condition: What the denoiser is told.
            noise: [B, ...] fresh standard normal noise; deterministic steps leave it alone.
        """
        ...


def ddim_update(schedule: Schedule, noisy: Tensor, clean: Tensor, time: Tensor, next_time: Tensor) -> Tensor:
    """DDIM as a function of the clean prediction: a' c + s' n, n recomputed from the c that is used.

    It is exact for constant n: Euler's step in x / a and k (Song et al., 2021, eq. 12).

    Args:
        schedule: Of the samples.
        noisy: [B, ...] at `time`.
        clean: [B, ...] the prediction, averaged or guided as it may be.
        time: [B], above 0.
        next_time: [B].

    Returns:
        [B, ...] the samples at `next_time`.
    """
    alpha, sigma = (per_sample(factor(next_time), noisy) for factor in (schedule.alpha, schedule.sigma))
    return alpha * clean + sigma * noise_in(schedule, noisy, clean, time)


def ddim_step(
    denoiser: Denoiser[Any], noisy: Tensor, time: Tensor, next_time: Tensor, condition: Any, noise: Tensor | None = None
) -> Tensor:
    """One evaluation; first order. Under `VarianceExploding` and `Flow` this is Euler's step in sigma."""
    return ddim_update(denoiser.schedule, noisy, denoiser(noisy, time, condition), time, next_time)


def heun_step(
    denoiser: Denoiser[Any], noisy: Tensor, time: Tensor, next_time: Tensor, condition: Any, noise: Tensor | None = None
) -> Tensor:
    """Two evaluations; second order (Karras et al., 2022, algorithm 1, in x / a and k).

    Where the step begins at a = 0 or ends at s = 0 the slope at that end is not defined, and DDIM's step is taken.
    """
    schedule = denoiser.schedule
    clean = denoiser(noisy, time, condition)
    predicted = ddim_update(schedule, noisy, clean, time, next_time)
    start, end = noise_ratio(schedule, time), noise_ratio(schedule, next_time)
    second_order = torch.isfinite(start) & (end > 0)
    if not second_order.any():
        return predicted
    # Elsewhere a time at which both slopes exist stands in; its result is not taken.
    safe_time = torch.where(second_order, next_time, torch.full_like(next_time, 0.5))
    later = denoiser(predicted, safe_time, condition)
    turn = noise_in(schedule, predicted, later, safe_time) - noise_in(schedule, noisy, clean, time)
    length = torch.where(second_order, schedule.alpha(next_time) * (end - start), torch.zeros_like(start))
    return predicted + 0.5 * per_sample(length, noisy) * turn


class DPMSolver2M:
    """DPM-Solver++ (2M): one evaluation, second order, a memory of one step (Lu et al., 2022, algorithm 2).

    Letters: l = -log k, h the step in l. A new one for every run of a sampler. The first step, and one that ends
    without noise, is DDIM's.
    """

    def __init__(self) -> None:
        self._before: tuple[Tensor, Tensor] | None = None

    def __call__(
        self,
        denoiser: Denoiser[Any],
        noisy: Tensor,
        time: Tensor,
        next_time: Tensor,
        condition: Any,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Take the step."""
        schedule = denoiser.schedule
        clean = denoiser(noisy, time, condition)
        logarithm, next_logarithm = (-noise_ratio(schedule, at).log() for at in (time, next_time))
        ahead = clean
        if self._before is not None:
            clean_before, logarithm_before = self._before
            share = 0.5 * (next_logarithm - logarithm) / (logarithm - logarithm_before)
            # 0 where the step before came from infinite noise, not taken where this one ends without any.
            ahead = clean + per_sample(torch.where(torch.isfinite(share), share, 0.0), noisy) * (clean - clean_before)
        self._before = (clean, logarithm)
        return ddim_update(schedule, noisy, ahead, time, next_time)


def ancestral_step(
    denoiser: Denoiser[Any], noisy: Tensor, time: Tensor, next_time: Tensor, condition: Any, noise: Tensor | None = None
) -> Tensor:
    """DDPM's step: the clean prediction, part of the noise it implies, and fresh noise for the rest (Ho et al., 2020).

    In x / a the noise kept is (k'^2 / k) n and the fresh noise k' sqrt(1 - k'^2 / k^2), k and k' the ratios before and
    after: the posterior of a clean sample that is known. It is the step of Song et al. (2021, eq. 16) with eta = 1.

    Raises:
        ValueError: the step ends above time 0 and there is no noise.
    """
    schedule = denoiser.schedule
    clean = denoiser(noisy, time, condition)
    if noise is None:
        if bool((next_time > 0).any()):
            raise ValueError("an ancestral step that ends above time 0 needs noise, got none")
        return ddim_update(schedule, noisy, clean, time, next_time)
    shrink = noise_ratio(schedule, next_time) / noise_ratio(schedule, time)
    # At time 0 the rest of the noise is what the schedule leaves there, and nothing fresh comes to it.
    shrink = torch.where(next_time > 0, shrink, 1.0)
    alpha, sigma = (per_sample(factor(next_time), noisy) for factor in (schedule.alpha, schedule.sigma))
    implied = noise_in(schedule, noisy, clean, time)
    mixed = per_sample(shrink, noisy) * implied + per_sample((1 - shrink.square()).clamp(min=0).sqrt(), noisy) * noise
    return alpha * clean + sigma * mixed


def consistency_step(
    denoiser: Denoiser[Any], noisy: Tensor, time: Tensor, next_time: Tensor, condition: Any, noise: Tensor | None = None
) -> Tensor:
    """Multistep consistency sampling: jump to the end of the trajectory, put part of the noise back.

    The end of the trajectory lies at time 0, whose own noise ratio k_0 counts: fresh noise has the standard deviation
    sqrt(s^2 - (a k_0)^2), which is 0 when the next time is 0 (Song et al., 2023, algorithm 1).

    Raises:
        ValueError: the step ends above time 0 and there is no noise.
    """
    schedule = denoiser.schedule
    end = denoiser(noisy, time, condition)
    if noise is None:
        if bool((next_time > 0).any()):
            raise ValueError("a consistency step that ends above time 0 needs noise, got none")
        return end
    alpha, sigma = schedule.alpha(next_time), schedule.sigma(next_time)
    floor = alpha * noise_ratio(schedule, torch.zeros_like(next_time))
    fresh = torch.where(next_time > 0, (sigma.square() - floor.square()).clamp(min=0).sqrt(), 0.0)
    # At time 0 the end is the sample, whatever the rounding of alpha.
    scale = torch.where(next_time > 0, alpha, 1.0)
    return per_sample(scale, end) * end + per_sample(fresh, end) * noise


def sample(
    denoiser: Denoiser[Any],
    condition: Any,
    times: Tensor,
    step: SamplerStep,
    noise: NoiseSource,
    *,
    start: Tensor | None = None,
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Tensor:
    """Walk a grid of times from noise to samples.

    Args:
        denoiser: Predicts the clean samples.
        condition: What it is told.
        times: [steps + 1] falling times, see `time_grids`.
        step: How to get from one to the next.
        noise: Standard normal noise [B, ...]; it decides how many samples there are, and where.
        start: [B, ...] samples at the first time; noise of the schedule's strength if not given.
        progress: Told of each step; raises `Cancelled` to stop.
        preview: Makes a picture [3, H, W] in 0..1 of the clean prediction, for the progress.

    Returns:
        [B, ...] samples at the last time.
    """
    watched = Watched(denoiser)
    fresh = noise(denoiser.sample_shape)
    times = times.to(fresh.device)
    noisy = start if start is not None else denoiser.schedule.sigma(times[0]).to(fresh.dtype) * fresh
    for index in range(len(times) - 1):
        time, next_time = (at.to(noisy.dtype).expand(noisy.shape[0]) for at in times[index : index + 2])
        # Whatever the sampler, nothing is added to a clean sample.
        added = noise(denoiser.sample_shape) if times[index + 1] > 0 else None
        noisy = step(watched, noisy, time, next_time, condition, added)
        if progress is not None:
            progress.advance(1, preview(watched.clean) if preview is not None else None)
    return noisy
