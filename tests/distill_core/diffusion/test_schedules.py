import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_core.diffusion.schedules import (
    Flow,
    VarianceExploding,
    VariancePreserving,
    add_noise,
    noise_in,
    noise_ratio,
)
from distill_core.diffusion.time_grids import karras_times, log_ratio_times, uniform_times

SCHEDULES = [VarianceExploding(), VarianceExploding(0.01, 20.0, 3.0), VariancePreserving(), Flow()]
TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_noise_grows_with_time_from_clean_to_noise(schedule):
    ratio = noise_ratio(schedule, TIMES)
    assert (ratio[1:] > ratio[:-1]).all()
    assert ratio[0] < 0.011
    assert ratio[-1] > 19.9
    assert schedule.alpha(TIMES[:1]) == 1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_time_of_inverts_the_noise_ratio(schedule):
    torch.testing.assert_close(schedule.time_of(noise_ratio(schedule, TIMES)), TIMES, atol=1e-12, rtol=0)


@pytest.mark.parametrize("schedule", [VarianceExploding(), VariancePreserving()], ids=repr)
def test_ratios_outside_the_schedule_are_its_ends(schedule):
    assert schedule.time_of(torch.tensor([0.0, 1e9])).tolist() == pytest.approx([0, 1])


def test_variance_preserving_preserves_variance():
    schedule = VariancePreserving()
    variance = schedule.alpha(TIMES).square() + schedule.sigma(TIMES).square()
    torch.testing.assert_close(variance, torch.ones_like(TIMES))


@given(st.floats(0.001, 1.0), st.sampled_from(SCHEDULES))
def test_noise_in_inverts_add_noise(time, schedule):
    at = torch.tensor([time, time / 2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    noisy = add_noise(schedule, clean, noise, at)
    torch.testing.assert_close(noise_in(schedule, noisy, clean, at), noise, atol=1e-9, rtol=1e-9)


def test_karras_grid_is_the_published_one():
    # Karras et al. (2022), equation 5, written out.
    steps, low, high, rho = 18, 0.002, 80.0, 7.0
    levels = [(high ** (1 / rho) + i / steps * (low ** (1 / rho) - high ** (1 / rho))) ** rho for i in range(steps + 1)]
    own = VarianceExploding(low, high, rho)
    torch.testing.assert_close(own.sigma(uniform_times(steps)), torch.tensor(levels, dtype=torch.float64))
    torch.testing.assert_close(karras_times(own, steps), uniform_times(steps))


@pytest.mark.parametrize("schedule", [VarianceExploding(), VariancePreserving()], ids=repr)
@pytest.mark.parametrize("grid", [lambda s, n: uniform_times(n), karras_times, log_ratio_times])
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_grids_fall_from_noise_to_zero(schedule, grid, steps):
    times = grid(schedule, steps)
    assert times.shape == (steps + 1,)
    assert (times[1:] < times[:-1]).all()
    assert times[-1] == 0
    assert noise_ratio(schedule, times[0]) >= 79


def test_log_ratio_steps_are_equal_in_the_logarithm():
    schedule = VariancePreserving(math.e**4)
    logarithms = noise_ratio(schedule, log_ratio_times(schedule, 8, ratio_min=math.e**-4)[:-1]).log()
    torch.testing.assert_close(logarithms, torch.arange(4.0, -4.0, -1.0, dtype=torch.float64))


def test_impossible_grids_are_refused():
    with pytest.raises(ValueError, match="at least one step, got 0"):
        uniform_times(0)
    with pytest.raises(ValueError, match="finite noise ratio"):
        log_ratio_times(Flow(), 4)
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        VarianceExploding(1.0, 0.5)
