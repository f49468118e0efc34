"""Closed forms for Gaussian data N(mean, deviation^2): the exact denoiser and the exact consistency function."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill_core.diffusion.schedules import Schedule, noise_ratio, per_sample


@dataclass(frozen=True)
class GaussianDenoiser:
    """E[clean | noisy]: y = x / alpha has variance deviation^2 + k^2; times alpha, so that alpha may be 0."""

    schedule: Schedule
    mean: float = 0.7
    deviation: float = 0.5
    sample_shape: tuple[int, ...] = (3,)

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        alpha, sigma = (per_sample(f(time), noisy) for f in (self.schedule.alpha, self.schedule.sigma))
        gain = alpha * self.deviation**2 / (alpha.square() * self.deviation**2 + sigma.square())
        return self.mean + gain * (noisy - alpha * self.mean)


@dataclass(frozen=True)
class GaussianConsistency:
    """Where the trajectory through a noisy sample ends, at time 0: y' = m + sqrt((d^2 + k_0^2) / (d^2 + k^2)) (y-m)."""

    schedule: Schedule
    mean: float = 0.7
    deviation: float = 0.5
    sample_shape: tuple[int, ...] = (3,)

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        return self.at(noisy, time, torch.zeros_like(time))

    def at(self, noisy: Tensor, time: Tensor, next_time: Tensor) -> Tensor:
        """Where the trajectory is at another time."""
        alpha, k = self.schedule.alpha(time), noise_ratio(self.schedule, time)
        next_alpha, next_k = self.schedule.alpha(next_time), noise_ratio(self.schedule, next_time)
        shrink = torch.sqrt((self.deviation**2 + next_k.square()) / (self.deviation**2 + k.square()))
        y = noisy / per_sample(alpha, noisy) - self.mean
        return per_sample(next_alpha, noisy) * (self.mean + per_sample(shrink, noisy) * y)
