"""Noise schedules: noisy = alpha(time) clean + sigma(time) noise, time 0 clean, time 1 noise.

Letters: k = sigma / alpha, the noise ratio, under which every schedule follows the same trajectories: with
y = noisy / alpha the probability-flow equation is dy / dk = noise, whatever the schedule (Karras et al., 2022, eq. 4).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@runtime_checkable  # the shape checks of the tests ask
class Schedule(Protocol):
    """What a schedule answers; tensors of any shape in, the same shape out. The noise ratio grows with time."""

    def alpha(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the factor of the clean sample at times in 0..1."""
        ...

    def sigma(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the factor of the noise at times in 0..1."""
        ...

    def time_of(self, noise_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time at which sigma / alpha is `noise_ratio`; outside the schedule's range 0 or 1."""
        ...


@dataclass(frozen=True)
class VarianceExploding:
    """alpha = 1; sigma runs from `sigma_min` to `sigma_max`, its 1/rho-th power linear in time (Karras et al., 2022).

    Equal steps of time are Karras' grid of noise levels. Time 0 keeps noise of `sigma_min`.

    Args:
        sigma_min: Noise at time 0, above 0.
        sigma_max: Noise at time 1.
        rho: How much finer the steps are at low noise.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        """Refuse levels out of order."""
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"expected 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")

    def alpha(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return ones."""
        return torch.ones_like(time)

    def sigma(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the noise level at times in 0..1."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (low + time * (high - low)) ** self.rho

    def time_of(self, noise_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time of a noise level, clamped to 0..1."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return ((noise_ratio ** (1 / self.rho) - low) / (high - low)).clamp(0, 1)


@dataclass(frozen=True)
class VariancePreserving:
    """alpha = cos, sigma = sin of time's quarter turn, cut off at a largest noise ratio (the cosine schedule).

    Args:
        largest_noise_ratio: sigma / alpha at time 1. It stays finite, so that what the network says can be turned
            into a clean sample at every time.
    """

    largest_noise_ratio: float = 500.0

    def _angle(self, time: Tensor) -> Tensor:
        return time * math.atan(self.largest_noise_ratio)

    def alpha(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the cosine."""
        return torch.cos(self._angle(time))

    def sigma(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the sine."""
        return torch.sin(self._angle(time))

    def time_of(self, noise_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time of a noise ratio, clamped to 0..1."""
        return (torch.atan(noise_ratio) / math.atan(self.largest_noise_ratio)).clamp(0, 1)


@dataclass(frozen=True)
class Flow:
    """alpha = 1 - time, sigma = time: straight lines from the clean sample to pure noise (rectified flow)."""

    def alpha(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return 1 - time."""
        return 1 - time

    def sigma(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time."""
        return time.clone()

    def time_of(self, noise_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return k / (1 + k), which is 1 for an infinite ratio."""
        return 1 - 1 / (1 + noise_ratio)


def per_sample(values: Shaped[Tensor, " batch"], like: Tensor) -> Tensor:
    """Shape one value a sample so that it multiplies a batch.

    Args:
        values: [B] numbers or truth values.
        like: [B, ...] what it shall multiply.

    Returns:
        [B, 1, ...] with as many axes as `like`.
    """
    return values.reshape(-1, *[1] * (like.ndim - 1))


def noise_ratio(schedule: Schedule, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return sigma / alpha at some times (infinite where alpha is 0)."""
    return schedule.sigma(time) / schedule.alpha(time)


def add_noise(
    schedule: Schedule,
    clean: Float[Tensor, "batch ..."],
    noise: Float[Tensor, "batch ..."],
    time: Float[Tensor, " batch"],
) -> Float[Tensor, "batch ..."]:
    """Return alpha clean + sigma noise.

    Args:
        schedule: The schedule.
        clean: [B, ...] clean samples.
        noise: [B, ...] standard normal noise.
        time: [B] in 0..1.
    """
    return per_sample(schedule.alpha(time), clean) * clean + per_sample(schedule.sigma(time), clean) * noise


def noise_in(
    schedule: Schedule,
    noisy: Float[Tensor, "batch ..."],
    clean: Float[Tensor, "batch ..."],
    time: Float[Tensor, " batch"],
) -> Float[Tensor, "batch ..."]:
    """Return the noise that a clean prediction implies: (noisy - alpha clean) / sigma.

    Args:
        schedule: The schedule.
        noisy: [B, ...] noisy samples.
        clean: [B, ...] the prediction that is actually used, averaged or guided as it may be.
        time: [B] in 0..1 where sigma is above 0.
    """
    return (noisy - per_sample(schedule.alpha(time), noisy) * clean) / per_sample(schedule.sigma(time), noisy)
