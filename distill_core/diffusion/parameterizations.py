"""What a network says, turned into the clean prediction: each wrapper is a Denoiser.

Letters: a = alpha, s = sigma at the sample's time, c = clean, n = noise, x = a c + s n.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import Schedule, noise_ratio, per_sample

Network = Callable[[Tensor, Tensor, Any], Tensor]
"""(noisy [B, ...], time [B], condition) -> [B, ...] in its own parameterization."""


def _factors(schedule: Schedule, time: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    return per_sample(schedule.alpha(time), like), per_sample(schedule.sigma(time), like)


@dataclass(frozen=True)
class CleanPrediction:
    """The network says the clean sample."""

    network: Network
    schedule: Schedule
    sample_shape: tuple[int, ...]

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return what the network says."""
        return self.network(noisy, time, condition)


@dataclass(frozen=True)
class NoisePrediction:
    """The network says the noise: c = (x - s n) / a. Needs alpha above 0 at every time (`Flow` ends at 0)."""

    network: Network
    schedule: Schedule
    sample_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse a schedule under which pure noise says nothing of the clean sample."""
        if float(self.schedule.alpha(torch.ones(()))) <= 0:
            raise ValueError(f"noise prediction needs alpha above 0 at time 1, got 0 from {self.schedule}")

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction."""
        alpha, sigma = _factors(self.schedule, time, noisy)
        return (noisy - sigma * self.network(noisy, time, condition)) / alpha


@dataclass(frozen=True)
class VelocityPrediction:
    """The network says v = a n - s c (Salimans and Ho, 2022); c = (a x - s v) / (a^2 + s^2).

    Under a variance-preserving schedule the divisor is 1.
    """

    network: Network
    schedule: Schedule
    sample_shape: tuple[int, ...]

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction."""
        alpha, sigma = _factors(self.schedule, time, noisy)
        said = self.network(noisy, time, condition)
        return (alpha * noisy - sigma * said) / (alpha.square() + sigma.square())


@dataclass(frozen=True)
class FlowPrediction:
    """The network says n - c (rectified flow); c = (x - s u) / (a + s), whose divisor is 1 under `Flow`."""

    network: Network
    schedule: Schedule
    sample_shape: tuple[int, ...]

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction."""
        alpha, sigma = _factors(self.schedule, time, noisy)
        return (noisy - sigma * self.network(noisy, time, condition)) / (alpha + sigma)


class BoundaryScalings(NamedTuple):
    """Factors [B] of clean = skip x + out F(input x); at time 0 skip is 1 / alpha and out is 0, exactly."""

    skip: Tensor
    out: Tensor
    input: Tensor


def boundary_scalings(schedule: Schedule, time: Float[Tensor, " batch"], sigma_data: float) -> BoundaryScalings:
    """Scalings under which the network sees and says values of unit variance, exact at time 0.

    Consistency models' scalings (Song et al., 2023, appendix C) in y = x / alpha and k = sigma / alpha:
    skip = d^2 / ((k - k_0)^2 + d^2), out = (k - k_0) d / sqrt(k^2 + d^2), input = 1 / sqrt(k^2 + d^2),
    d = `sigma_data`, k_0 = k at time 0. They are multiplied out, so that alpha may be 0.

    Args:
        schedule: The schedule.
        time: [B] in 0..1.
        sigma_data: Standard deviation of the clean samples.

    Returns:
        The factors of the noisy sample x itself.
    """
    alpha, sigma = schedule.alpha(time), schedule.sigma(time)
    start = noise_ratio(schedule, torch.zeros_like(time))
    # Written as a choice: two roundings of the same power need not agree, and the boundary must hold exactly.
    excess = torch.where(time > 0, sigma - start * alpha, torch.zeros_like(sigma))
    spread = (sigma.square() + (alpha * sigma_data).square()).sqrt()
    skip = sigma_data**2 * alpha / (excess.square() + (alpha * sigma_data).square())
    return BoundaryScalings(torch.where(time > 0, skip, 1 / alpha), excess * sigma_data / spread, 1 / spread)


@dataclass(frozen=True)
class BoundaryScaled:
    """The network says F in clean = skip x + out F(input x, time): `boundary_scalings`.

    With a `VarianceExploding` schedule of sigma_min near 0 these are Karras' preconditioning; with any schedule the
    result is a consistency function's form: at time 0 it returns its input.
    """

    network: Network
    schedule: Schedule
    sample_shape: tuple[int, ...]
    sigma_data: float

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction."""
        skip, out, scale = (
            per_sample(factor, noisy) for factor in boundary_scalings(self.schedule, time, self.sigma_data)
        )
        return skip * noisy + out * self.network(scale * noisy, time, condition)


@dataclass(frozen=True)
class Rescheduled:
    """A denoiser read under another schedule: the same noise ratio, the sample scaled to match.

    A noise ratio beyond the denoiser's own range is read as its largest or smallest.
    """

    denoiser: Denoiser[Any]
    schedule: Schedule

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.denoiser.sample_shape

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction of samples of `schedule`."""
        own = self.denoiser.schedule
        own_time = own.time_of(noise_ratio(self.schedule, time))
        # The quotient of the lengths of (alpha, sigma) equals that of the alphas, and stands where alpha is 0.
        scale = torch.hypot(own.alpha(own_time), own.sigma(own_time)) / torch.hypot(
            self.schedule.alpha(time), self.schedule.sigma(time)
        )
        return self.denoiser(per_sample(scale, noisy) * noisy, own_time, condition)
