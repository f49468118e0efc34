"""At which times a generator is trained, and how much an error there counts."""

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.schedules import Schedule, noise_ratio


def times_of_sets(
    times: Float[Tensor, " sets"], pure_noise_share: float, views_per_set: int, generator: torch.Generator
) -> Float[Tensor, " batch"]:
    """Put a share of the sets at time 1, and give the views of a set one time, as they have when they are sampled.

    Args:
        times: [S] a time for each set.
        pure_noise_share: Share of the sets that are moved to time 1, which is where one-step generation starts.
        views_per_set: Views of a set.
        generator: On the device of the times.

    Returns:
        [S x views_per_set] times of the views.
    """
    pure = torch.rand(times.shape, generator=generator, device=times.device) < pure_noise_share
    return torch.where(pure, 1.0, times).repeat_interleave(views_per_set)


def lognormal_times(
    schedule: Schedule, sets: int, mean: float, deviation: float, generator: torch.Generator
) -> Float[Tensor, " sets"]:
    """Times whose noise ratio's natural logarithm is normal (Karras et al., 2022, table 1).

    Args:
        schedule: The schedule.
        sets: How many.
        mean: Of the logarithm.
        deviation: Standard deviation of the logarithm.
        generator: Its device is that of the times.

    Returns:
        [S] in 0..1.
    """
    normal = torch.randn(sets, generator=generator, device=generator.device)
    return schedule.time_of((mean + deviation * normal).exp())


def error_weight(
    schedule: Schedule, time: Float[Tensor, " batch"], sigma_data: float, cap: float
) -> Float[Tensor, " batch"]:
    """Factor on the error of a clean prediction that makes errors at all noise ratios k comparable.

    sqrt(1 + (sigma_data / k)^2), the inverse of the deviation that is left of the clean sample once the noisy one is
    known (Karras et al., 2022: 1 / c_out), in units of its value at pure noise.

    Args:
        schedule: The schedule.
        time: [B].
        sigma_data: Standard deviation of the clean samples.
        cap: Largest factor.

    Returns:
        [B] 1 at pure noise, rising to `cap` as the noise falls.
    """
    return (1 + (sigma_data / noise_ratio(schedule, time)).square()).sqrt().clamp(max=cap)
