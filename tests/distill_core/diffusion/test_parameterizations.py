"""Every parameterization of one exact linear denoiser gives that denoiser back."""

import pytest
import torch
from torch import Tensor

from distill_core.diffusion.parameterizations import (
    BoundaryScaled,
    CleanPrediction,
    FlowPrediction,
    NoisePrediction,
    Rescheduled,
    VelocityPrediction,
    boundary_scalings,
)
from distill_core.diffusion.schedules import Flow, VarianceExploding, VariancePreserving, noise_in, per_sample
from tests.distill_core.diffusion.gaussian import GaussianDenoiser

SCHEDULES = [VarianceExploding(), VariancePreserving(), Flow()]
TIME = torch.tensor([0.05, 0.3, 0.7, 0.95], dtype=torch.float64)
NOISY = torch.tensor([[-1.0, 0.2, 3.0]], dtype=torch.float64).repeat(4, 1)


def said_noise(exact: GaussianDenoiser):
    return lambda noisy, time, condition: noise_in(exact.schedule, noisy, exact(noisy, time), time)


def said_velocity(exact: GaussianDenoiser):
    def network(noisy: Tensor, time: Tensor, condition: None) -> Tensor:
        alpha, sigma = (per_sample(f(time), noisy) for f in (exact.schedule.alpha, exact.schedule.sigma))
        clean = exact(noisy, time)
        return alpha * noise_in(exact.schedule, noisy, clean, time) - sigma * clean

    return network


def said_flow(exact: GaussianDenoiser):
    def network(noisy: Tensor, time: Tensor, condition: None) -> Tensor:
        clean = exact(noisy, time)
        return noise_in(exact.schedule, noisy, clean, time) - clean

    return network


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize(
    ("wrapper", "said"),
    [
        (CleanPrediction, lambda exact: exact),
        (NoisePrediction, said_noise),
        (VelocityPrediction, said_velocity),
        (FlowPrediction, said_flow),
    ],
)
def test_each_parameterization_returns_the_clean_prediction(schedule, wrapper, said):
    exact = GaussianDenoiser(schedule)
    if wrapper is NoisePrediction and isinstance(schedule, Flow):
        with pytest.raises(ValueError, match="alpha above 0"):
            wrapper(said(exact), schedule, (3,))
        return
    denoiser = wrapper(said(exact), schedule, (3,))
    # The noise ratio reaches 300: float64 loses three digits of fifteen.
    torch.testing.assert_close(denoiser(NOISY, TIME, None), exact(NOISY, TIME), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("own", SCHEDULES, ids=repr)
@pytest.mark.parametrize("foreign", SCHEDULES, ids=repr)
def test_a_denoiser_reads_noisy_samples_of_another_schedule(own, foreign):
    translated = Rescheduled(GaussianDenoiser(own), foreign)
    torch.testing.assert_close(
        translated(NOISY, TIME, None), GaussianDenoiser(foreign)(NOISY, TIME), atol=1e-9, rtol=1e-9
    )
    assert translated.sample_shape == (3,)


def test_a_denoiser_reads_pure_noise_of_a_schedule_that_ends_without_signal():
    ones = torch.ones(1, dtype=torch.float64)
    translated = Rescheduled(GaussianDenoiser(VariancePreserving(1e9)), Flow())
    # Pure noise says nothing of the sample: the prediction is the mean.
    torch.testing.assert_close(translated(NOISY[:1], ones, None), torch.full((1, 3), 0.7, dtype=torch.float64))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_boundary_holds_exactly_for_any_network(schedule, dtype):
    def network(noisy: Tensor, time: Tensor, condition: None) -> Tensor:
        return 1e3 * torch.ones_like(noisy)

    consistency = BoundaryScaled(network, schedule, (3,), 0.6)
    noisy = torch.randn(7, 3, dtype=dtype)
    assert torch.equal(consistency(noisy, torch.zeros(7, dtype=dtype), None), noisy)
    assert not torch.equal(consistency(noisy, torch.full((7,), 0.1, dtype=dtype), None), noisy)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_scalings_give_the_network_unit_variance_in_and_out(schedule):
    data = 0.6
    time = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = schedule.alpha(time), schedule.sigma(time)
    skip, out, scale = boundary_scalings(schedule, time, data)
    torch.testing.assert_close(scale.square() * (alpha.square() * data**2 + sigma.square()), torch.ones_like(time))
    # What is asked of the network is (clean - skip x) / out, of variance 1 for white data up to the shift of k by k_0.
    asked = (1 - skip * alpha).square() * data**2 + (skip * sigma).square()
    later = time > 0.3
    torch.testing.assert_close((asked / out.square())[later], torch.ones_like(time[later]), atol=0.02, rtol=0)


def test_scalings_are_the_published_ones():
    # Song et al. (2023), appendix C: sigma_data 0.5, epsilon 0.002.
    schedule, data, low = VarianceExploding(), 0.5, 0.002
    time = torch.linspace(0.01, 1, 9, dtype=torch.float64)
    t = schedule.sigma(time)
    skip, out, scale = boundary_scalings(schedule, time, data)
    torch.testing.assert_close(skip, data**2 / ((t - low) ** 2 + data**2))
    torch.testing.assert_close(out, data * (t - low) / (data**2 + t**2).sqrt())
    torch.testing.assert_close(scale, 1 / (data**2 + t**2).sqrt())
