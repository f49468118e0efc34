"""Views drawn to an anchor. Letters: g the gain of a linear prediction, d the deviation of the data."""

import pytest
import torch
from torch import Tensor

from distill_core.diffusion.samplers import DPMSolver2M, ddim_step
from distill_core.diffusion.schedules import VariancePreserving
from distill_core.diffusion.time_grids import uniform_times
from distill_core.metrics import random_feature_distance
from distill_core.synchronization.gaussian_field import GaussianField
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.perceptual_guidance import PerceptualGuidance, to_pictures
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import SyncStrategy, strategy_named
from tests.distill_core.diffusion.gaussian import GaussianDenoiser

MULTI_DIFFUSION = SyncStrategy("canonical", "noisy")


def brightness_distance(pictures: Tensor, wanted: Tensor) -> Tensor:
    return (pictures - wanted).mean(dim=(1, 2, 3)).square()


@pytest.fixture(scope="module")
def field() -> GaussianField:
    """Smooth over half of a window, so that windows differ as a whole."""
    white = torch.randn(3, 48, 48, generator=torch.Generator().manual_seed(0))
    kernel = torch.ones(3, 1, 9, 9) / 16
    return GaussianField(torch.nn.functional.conv2d(white[None], kernel, padding="same", groups=3)[0], (16, 16), 8)


def run(
    field: GaussianField,
    make_step,
    *,
    strategy: SyncStrategy | None = MULTI_DIFFUSION,
    stride: int = 16,
    steps: int = 6,
) -> Synchronized:
    windows = panorama_windows((3, 16, 64), (16, 16), (16, stride))
    process = JointProcess(windows, field, None, strategy)
    with torch.no_grad():
        return synchronize(process, uniform_times(steps), make_step, torch.Generator().manual_seed(2))


def difference(result: Synchronized, distance) -> float:
    pictures = to_pictures(result.instances)
    return float(distance(pictures, pictures[[len(pictures) // 2]].expand_as(pictures)).mean())


def test_the_gradient_of_a_linear_prediction_is_its_closed_form():
    denoiser = GaussianDenoiser(VariancePreserving())
    views, time = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.full((4,), 0.6, dtype=torch.float64)
    alpha, sigma, d = denoiser.schedule.alpha(time[0]), denoiser.schedule.sigma(time[0]), denoiser.deviation
    g, size = alpha * d**2 / (alpha**2 * d**2 + sigma**2), 2 * 3 * 3
    means = views.mean(dim=(1, 2, 3))
    for anchor in (None, 0):
        guidance = PerceptualGuidance(ddim_step, brightness_distance, anchor=anchor)
        # Pictures are c / 2 + 1 / 2, and c has the slope g: the distance is (g / 2)^2 (mean - mean of the anchor)^2.
        slope = 2 * (g / 2) ** 2 * (means - means[2 if anchor is None else anchor]) / size
        expected = slope[:, None, None, None].expand_as(views)
        torch.testing.assert_close(guidance.gradient(denoiser, views, time, None), expected)


def test_the_weight_decays_and_the_step_follows():
    denoiser = GaussianDenoiser(VariancePreserving())
    guidance = PerceptualGuidance(ddim_step, brightness_distance, weight=30.0, decay=0.5)
    views = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    time, next_time = (torch.full((3,), at, dtype=torch.float64) for at in (0.6, 0.5))
    for weight in (30.0, 15.0, 7.5):
        moved = views - weight * guidance.gradient(denoiser, views, time, None)
        expected = ddim_step(denoiser, moved, time, next_time, None)
        torch.testing.assert_close(guidance(denoiser, views, time, next_time, None), expected)


@pytest.mark.parametrize("make", [lambda: ddim_step, DPMSolver2M], ids=["ddim", "dpm-solver"])
@pytest.mark.parametrize("strategy", ["canonical-noisy", "instance-clean", "none"])
def test_without_weight_it_is_the_plain_step(field, make, strategy):
    chosen = strategy_named(strategy)
    guided = run(
        field, lambda: PerceptualGuidance(make(), brightness_distance, weight=0.0), strategy=chosen, stride=8, steps=3
    )
    assert torch.equal(guided.canonical, run(field, make, strategy=chosen, stride=8, steps=3).canonical)


@pytest.mark.parametrize(
    ("distance", "weight", "most"), [(brightness_distance, 1500.0, 0.5), (random_feature_distance, 20.0, 0.95)]
)
def test_views_that_share_nothing_become_more_alike(field, distance, weight, most):
    plain = run(field, lambda: ddim_step)
    guided = run(field, lambda: PerceptualGuidance(ddim_step, distance, weight=weight))
    assert difference(guided, distance) < most * difference(plain, distance)
    # The anchor is what it would have been, up to the residual at which the field stops solving for all its windows.
    torch.testing.assert_close(guided.instances[2], plain.instances[2], atol=5e-4, rtol=0)


def test_where_there_is_nothing_to_draw_together_it_is_refused(field):
    with pytest.raises(ValueError, match="at least two views"):
        run(
            field,
            lambda: PerceptualGuidance(ddim_step, brightness_distance),
            strategy=SyncStrategy("canonical", "clean"),
        )
    guidance = PerceptualGuidance(ddim_step, brightness_distance)
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode"):
        guidance.gradient(field, torch.zeros(2, 3, 16, 16), torch.full((2,), 0.5), None)
