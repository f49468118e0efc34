from typing import Any

import pytest
import torch

from distill_core.diffusion.schedules import Schedule, noise_ratio
from distill_core.diffusion.time_grids import uniform_times
from distill_core.diffusion.timestep_schedule import TimestepSchedule, student_times

diffusers = pytest.importorskip("diffusers", reason="needs the extra 'pretrained'")


def published(**changes: Any) -> Any:
    values: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", **changes}
    return diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False, **values)


@pytest.mark.parametrize("zero", [False, True])
def test_at_timesteps_it_is_the_published_schedule(zero: bool):
    scheduler = published(rescale_betas_zero_snr=zero)
    schedule = TimestepSchedule(scheduler.alphas_cumprod)
    assert isinstance(schedule, Schedule)
    # In single precision, as times reach a denoiser.
    times = (torch.arange(1000) + 1).float() / 1000
    torch.testing.assert_close(schedule.timesteps(times), torch.arange(1000.0))
    # Their table is in single precision: a product of a thousand factors.
    torch.testing.assert_close(schedule.alpha(times), scheduler.alphas_cumprod.sqrt(), atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.sigma(times), (1 - scheduler.alphas_cumprod).sqrt(), atol=1e-6, rtol=0)
    assert float(schedule.alpha(torch.zeros(()))) == 1
    assert float(schedule.sigma(torch.zeros(()))) == 0
    assert (float(schedule.alpha(torch.ones(()))) == 0) == zero


@pytest.mark.parametrize("steps", [1, 4, 10, 50])
def test_equal_steps_of_time_are_trailing_timesteps(steps: int):
    scheduler = published()
    scheduler.set_timesteps(steps)
    schedule = TimestepSchedule(scheduler.alphas_cumprod)
    assert schedule.timesteps(uniform_times(steps)[:-1]).tolist() == scheduler.timesteps.tolist()


@pytest.mark.parametrize("zero", [False, True])
def test_between_timesteps_it_keeps_the_variance_and_inverts(zero: bool):
    schedule = TimestepSchedule(published(rescale_betas_zero_snr=zero).alphas_cumprod)
    times = torch.linspace(0, 1, 3777, dtype=torch.float64)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones_like(times))
    ratios = noise_ratio(schedule, times)
    assert bool((ratios[1:] > ratios[:-1]).all())
    # Times that miss a timestep by less than single precision are taken for it.
    torch.testing.assert_close(schedule.time_of(ratios), times, atol=2e-6, rtol=0)
    assert schedule.time_of(torch.tensor([0.0, 1e9])).tolist() == [0, 1 if not zero else pytest.approx(1, abs=1e-6)]


@pytest.mark.parametrize("table", [[0.5], [0.5, 0.6], [1.0, 0.5], [0.5, -0.1], [0.5, float("nan")]])
def test_other_tables_are_refused(table: list[float]):
    with pytest.raises(ValueError, match="falling"):
        TimestepSchedule(torch.tensor(table))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_students_visit_the_timesteps_of_their_own_scheduler(steps: int):
    scheduler = diffusers.LCMScheduler(original_inference_steps=50)
    scheduler.set_timesteps(steps)
    schedule = TimestepSchedule(scheduler.alphas_cumprod)
    times = student_times(steps)
    assert schedule.timesteps(times[:-1]).tolist() == scheduler.timesteps.tolist()
    assert float(times[-1]) == 0
    with pytest.raises(ValueError, match="steps"):
        student_times(51)
