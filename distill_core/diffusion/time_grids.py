"""Times that a sampler visits: [steps + 1], falling, the last one where it stops."""

import torch
from torch import Tensor

from distill_core.diffusion.schedules import Schedule, VarianceExploding, noise_ratio


def uniform_times(steps: int, *, start: float = 1.0, stop: float = 0.0) -> Tensor:
    """Equal steps of time; under `VarianceExploding` these are Karras' levels.

    The first step starts at `start` itself: of the spacings that published samplers use this is the "trailing" one
    ("leading" never sees pure noise, although sampling starts from it; Lin et al., 2024).

    Args:
        steps: At least 1.
        start: First time, at most 1.
        stop: Last time, at least 0.

    Returns:
        [steps + 1] float64.
    """
    _check(steps)
    return torch.linspace(start, stop, steps + 1, dtype=torch.float64)


def karras_times(
    schedule: Schedule, steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Tensor:
    """Steps that are equal in the 1/rho-th power of the noise ratio (Karras et al., 2022, eq. 5), the last to time 0.

    Args:
        schedule: Any schedule.
        steps: At least 1.
        sigma_min: Noise ratio that counts as clean.
        sigma_max: Noise ratio of the first time.
        rho: How much finer the steps are at low noise.

    Returns:
        [steps + 1] float64.
    """
    times = schedule.time_of(VarianceExploding(sigma_min, sigma_max, rho).sigma(uniform_times(steps)))
    return torch.cat([times[:-1], times.new_zeros(1)])


def log_ratio_times(schedule: Schedule, steps: int, *, ratio_min: float = 0.002) -> Tensor:
    """Steps from time 1 that are equal in the logarithm of the noise ratio, as DPM-Solver takes them, the last to 0.

    Args:
        schedule: Any schedule whose noise ratio is finite at time 1.
        steps: At least 1.
        ratio_min: Noise ratio that counts as clean.

    Returns:
        [steps + 1] float64.
    """
    largest = noise_ratio(schedule, torch.ones((), dtype=torch.float64))
    if not torch.isfinite(largest):
        raise ValueError(f"expected a finite noise ratio at time 1, got {schedule}")
    times = schedule.time_of(largest * (ratio_min / largest) ** (1 - uniform_times(steps)))
    return torch.cat([times[:-1], times.new_zeros(1)])


def _check(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"expected at least one step, got {steps}")
