"""The schedule of networks that were trained at whole timesteps 0..N - 1, read at times between them.

Letters: A_i the cumulative product of published schedules at timestep i, so that alpha = sqrt(A), sigma = sqrt(1 - A).

Time 1 is the last timestep, time j / N is timestep j - 1, and time 0, one before the first timestep, is clean. Equal
steps of time are then the "trailing" spacing of published samplers. Between timesteps the angle atan(sigma / alpha) is
linear, which keeps alpha^2 + sigma^2 = 1 and stands where alpha ends at 0 (zero terminal SNR, Lin et al., 2024).
"""

import torch
from jaxtyping import Float
from torch import Tensor


class TimestepSchedule:
    """Variance-preserving noise as a table.

    Args:
        alphas_cumprod: [N] A, falling, between 1 and 0; N at least 2. Only the last may be 0.

    Raises:
        ValueError: values out of order or range.
    """

    def __init__(self, alphas_cumprod: Float[Tensor, " timesteps"]) -> None:
        table = alphas_cumprod.detach().cpu().double()
        if (
            len(table) < 2
            or not bool((table[1:] < table[:-1]).all())
            or not 0 <= float(table[-1]) < float(table[0]) < 1
        ):
            raise ValueError(f"expected at least 2 falling values between 1 and 0, got {table}")
        angles = torch.atan2((1 - table).sqrt(), table.sqrt())
        self._angles = torch.cat([angles.new_zeros(1), angles])

    def __repr__(self) -> str:
        return f"TimestepSchedule({self.num_timesteps} timesteps to alpha {self.alpha(torch.ones(())).item():.3g})"

    @property
    def num_timesteps(self) -> int:
        """N."""
        return len(self._angles) - 1

    def alpha(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the factor of the clean sample at times in 0..1."""
        angles = self._angles_at(time)
        # The cosine of a rounded right angle is not 0, and whoever divides by alpha asks whether it is.
        return torch.where(angles >= torch.pi / 2, 0.0, torch.cos(angles)).to(time)

    def sigma(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the factor of the noise at times in 0..1."""
        return torch.sin(self._angles_at(time)).to(time)

    def time_of(self, noise_ratio: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the time of a noise ratio, clamped to 0..1."""
        wanted = torch.atan(noise_ratio.cpu().double()).clamp(0, float(self._angles[-1]))
        above = torch.searchsorted(self._angles, wanted.contiguous()).clamp(1, self.num_timesteps)
        low, high = self._angles[above - 1], self._angles[above]
        return ((above - 1 + (wanted - low) / (high - low)) / self.num_timesteps).to(noise_ratio)

    def timesteps(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the nearest timestep, a whole number in 0..N - 1, the only ones that networks have seen."""
        return ((time * self.num_timesteps).round() - 1).clamp(0, self.num_timesteps - 1)

    def _angles_at(self, time: Tensor) -> Tensor:
        place = (time.cpu().double() * self.num_timesteps).clamp(0, self.num_timesteps)
        # Single precision of a time misses its timestep by a ten-thousandth.
        whole = place.round()
        place = torch.where((place - whole).abs() < 1e-3, whole, place)
        below = place.floor().long().clamp(max=self.num_timesteps - 1)
        share = place - below
        return self._angles[below] * (1 - share) + self._angles[below + 1] * share


def student_times(steps: int, *, points: int = 50) -> Tensor:
    """Times at which latent consistency models were taught, spread over so many steps, the last to 0.

    Their teacher's solver took `points` equal steps, and the student knows no other times (Luo et al., 2023).

    Args:
        steps: 1 to `points`.
        points: of the teacher.

    Returns:
        [steps + 1] float64, falling.
    """
    if not 1 <= steps <= points:
        raise ValueError(f"expected 1 to {points} steps, got {steps}")
    skipped = (torch.arange(steps + 1) * points) // steps
    return 1 - skipped.double() / points
