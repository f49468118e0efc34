import math

import numpy as np
import pytest
import torch

from distill_core.diffusion.guidance import ClassifierFreeGuidance
from distill_core.diffusion.noise import seeded_noise
from distill_core.diffusion.parameterizations import CleanPrediction
from distill_core.diffusion.samplers import DPMSolver2M, ancestral_step, consistency_step, ddim_step, heun_step, sample
from distill_core.diffusion.schedules import Flow, VarianceExploding, VariancePreserving
from distill_core.diffusion.time_grids import karras_times, log_ratio_times, uniform_times
from distill_core.errors import Cancelled
from tests.distill_core.diffusion.gaussian import GaussianConsistency, GaussianDenoiser

# Gentle ends, so that the order shows before float64's rounding does.
MILD = VarianceExploding(0.05, 5.0, 3.0)


def many(shape):
    return torch.randn(4000, *shape, dtype=torch.float64)


def end_error(schedule, make_step, times):
    """Distance of a sampler's end from the closed form."""
    denoiser, exact = GaussianDenoiser(schedule), GaussianConsistency(schedule)
    start = torch.tensor([[-2.0, 0.4, 6.0]], dtype=torch.float64)
    end = sample(denoiser, None, times, make_step(), lambda shape: torch.zeros(1, 3, dtype=torch.float64), start=start)
    return float((end - exact.at(start, times[:1], times[-1:])).abs().max())


@pytest.mark.parametrize("schedule", [MILD, VariancePreserving(5.0), Flow()], ids=repr)
@pytest.mark.parametrize(
    ("make_step", "order"),
    [(lambda: ddim_step, 1), (lambda: heun_step, 2), (DPMSolver2M, 2)],
    ids=["ddim", "heun", "2m"],
)
def test_samplers_converge_at_their_order(schedule, make_step, order):
    # Between 0.8 and 0.2 every schedule is smooth in time, and sigma and alpha are above 0.
    steps = [128, 256, 512]
    errors = [end_error(schedule, make_step, uniform_times(n, start=0.8, stop=0.2)) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    # The next order's share is still felt where two errors of the second order nearly cancel (2M, preserving: 1.91).
    assert -slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        (VarianceExploding(), uniform_times(400)),
        (VariancePreserving(), log_ratio_times(VariancePreserving(), 400)),
        (VariancePreserving(), karras_times(VariancePreserving(), 400)),
    ],
    ids=["exploding", "preserving", "preserving, Karras' levels"],
)
@pytest.mark.parametrize("make_step", [lambda: heun_step, DPMSolver2M], ids=["heun", "2m"])
def test_whole_runs_end_on_the_closed_form(schedule, times, make_step):
    # 400 steps of second order; the last one, of first order, is as long as the noise that is left.
    assert end_error(schedule, make_step, times) < 5e-3


@pytest.mark.parametrize("make_step", [lambda: ddim_step, lambda: heun_step, DPMSolver2M], ids=["ddim", "heun", "2m"])
def test_pure_noise_and_no_noise_are_legal_ends(make_step):
    denoiser = GaussianDenoiser(Flow())
    end = sample(denoiser, None, uniform_times(60), make_step(), many)
    # Mean 0.7 and deviation 0.5 of 12,000 numbers: standard errors 0.0046 and 0.0032, and a bias of the first order.
    assert float(end.mean()) == pytest.approx(0.7, abs=0.02)
    assert float(end.std()) == pytest.approx(0.5, abs=0.03)


def test_multistep_consistency_draws_from_the_data_and_ends_without_noise():
    exact = GaussianConsistency(MILD)
    end = sample(exact, None, uniform_times(3), consistency_step, many)
    # At time 0 the schedule keeps noise of sigma_min.
    assert float(end.mean()) == pytest.approx(0.7, abs=0.03)
    assert float(end.std()) == pytest.approx(math.hypot(0.5, 0.05), abs=0.02)


@pytest.mark.parametrize("schedule", [VarianceExploding(), VariancePreserving(), Flow()], ids=repr)
def test_last_consistency_step_adds_no_noise(schedule):
    denoiser = GaussianDenoiser(schedule)
    noisy = torch.randn(5, 3)
    time, zero = torch.full((5,), 0.6), torch.zeros(5)
    end = consistency_step(denoiser, noisy, time, zero, None, torch.full((5, 3), 1e9))
    assert torch.equal(end, denoiser(noisy, time))
    assert torch.equal(consistency_step(denoiser, noisy, time, zero, None), end)


def test_consistency_step_puts_back_the_noise_of_the_next_time():
    schedule = VarianceExploding()
    noise = torch.randn(20000, 3)
    time = torch.full((20000,), 0.9)
    step = consistency_step(lambda_denoiser(schedule), torch.zeros(20000, 3), time, time / 3, None, noise)
    expected = math.sqrt(float(schedule.sigma(torch.tensor(0.3))) ** 2 - 0.002**2)
    # The mean of 60,000 squares is known to a part in 173, its root to a part in 346.
    assert float(step.std()) == pytest.approx(expected, rel=0.012)


def lambda_denoiser(schedule):
    class Zero:
        sample_shape = (3,)

        def __init__(self):
            self.schedule = schedule

        def __call__(self, noisy, time, condition):
            return torch.zeros_like(noisy)

    return Zero()


def test_consistency_step_above_time_0_asks_for_noise():
    time = torch.ones(1)
    with pytest.raises(ValueError, match="needs noise"):
        consistency_step(GaussianDenoiser(Flow()), torch.zeros(1, 3), time, time / 2, None)


def test_a_samples_noise_does_not_depend_on_its_batch():
    denoiser = GaussianConsistency(MILD)
    together = sample(denoiser, None, uniform_times(3), consistency_step, seeded_noise([5, 6, 7]))
    alone = sample(denoiser, None, uniform_times(3), consistency_step, seeded_noise([6]))
    assert torch.equal(together[1:2], alone)


def test_sampling_tells_of_each_step_and_can_be_cancelled():
    class Watcher:
        def __init__(self, patience):
            self.pictures, self.patience = [], patience

        def stage(self, name, total):
            pass

        def advance(self, n=1, preview=None):
            self.pictures.append(preview)
            if len(self.pictures) == self.patience:
                raise Cancelled("enough")

    def run(watcher):
        shape = lambda shape: torch.zeros(1, *shape)  # noqa: E731
        return sample(
            GaussianDenoiser(MILD),
            None,
            uniform_times(6),
            ddim_step,
            shape,
            progress=watcher,
            preview=lambda clean: clean.numpy(),
        )

    patient, impatient = Watcher(None), Watcher(2)
    run(patient)
    assert [picture.shape for picture in patient.pictures] == [(1, 3)] * 6
    with pytest.raises(Cancelled):
        run(impatient)
    assert len(impatient.pictures) == 2


class TwoGaussians:
    """N(1, 0.3^2) with the condition, N(0, 1) without."""

    sample_shape = (1,)

    def __init__(self, schedule):
        self.schedule = schedule
        self._with, self._without = GaussianDenoiser(schedule, 1.0, 0.3), GaussianDenoiser(schedule, 0.0, 1.0)

    def __call__(self, noisy, time, condition):
        return self._with(noisy, time) if condition else self._without(noisy, time)


def test_guidance_of_1_and_0_are_the_plain_predictions():
    denoiser = TwoGaussians(VarianceExploding())
    noisy, time = torch.randn(4, 1), torch.rand(4)
    for scale, condition in ((1.0, True), (0.0, False)):
        guided = ClassifierFreeGuidance(denoiser, scale, lambda _: False)
        torch.testing.assert_close(guided(noisy, time, True), denoiser(noisy, time, condition))
    assert guided.sample_shape == (1,)


def test_guided_trajectory_ends_where_the_guided_equation_does():
    # From x = T = 20 under u + 3 (c - u): an independent Runge-Kutta solution of dx/dt = (x - D(x, t)) / t gives 1.203.
    schedule = VarianceExploding(1e-4, 20.0, 7.0)
    guided = ClassifierFreeGuidance(TwoGaussians(schedule), 3.0, lambda _: False)
    start = torch.full((1, 1), 20.0, dtype=torch.float64)
    noise = lambda shape: torch.zeros(1, 1, dtype=torch.float64)  # noqa: E731
    end = sample(guided, True, uniform_times(300), heun_step, noise, start=start)
    assert float(end) == pytest.approx(1.203, abs=1e-3)


def test_the_ancestral_step_is_ddpms_posterior():
    """Ho et al., 2020, equations 6 and 7, for a variance-preserving schedule and a clean sample that is known."""
    schedule = VariancePreserving()
    known = torch.tensor([[0.4], [-1.2], [0.1]], dtype=torch.float64)
    denoiser = CleanPrediction(lambda noisy, time, condition: known, schedule, (1,))
    time, next_time = (torch.full((3,), at, dtype=torch.float64) for at in (0.7, 0.4))
    noisy, noise = torch.randn(3, 1, dtype=torch.float64), torch.randn(3, 1, dtype=torch.float64)
    alpha, next_alpha = float(schedule.alpha(time[0])), float(schedule.alpha(next_time[0]))
    kept = (alpha / next_alpha) ** 2
    bar, next_bar = 1 - alpha**2, 1 - next_alpha**2
    mean = next_alpha * (1 - kept) / bar * known + kept**0.5 * next_bar / bar * noisy
    deviation = ((1 - kept) * next_bar / bar) ** 0.5
    torch.testing.assert_close(
        ancestral_step(denoiser, noisy, time, next_time, None, noise), mean + deviation * noise, atol=1e-12, rtol=1e-10
    )
    zeros = torch.zeros_like(time)
    torch.testing.assert_close(ancestral_step(denoiser, noisy, time, zeros, None, noise), known)
    torch.testing.assert_close(ancestral_step(denoiser, noisy, time, zeros, None, None), known)
    with pytest.raises(ValueError, match="needs noise"):
        ancestral_step(denoiser, noisy, time, next_time, None, None)
