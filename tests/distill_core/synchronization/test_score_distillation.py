"""Score distillation of Gaussians. Letters: m the prior's mean, d its deviation, a = alpha, s = sigma, e the noise."""

import numpy as np
import pytest
import torch
from torch import Tensor

from distill_core.diffusion.guidance import ClassifierFreeGuidance
from distill_core.diffusion.schedules import Flow, VarianceExploding, VariancePreserving, noise_ratio
from distill_core.errors import Cancelled
from distill_core.progress import SilentProgress
from distill_core.synchronization.gaussian_field import GaussianField
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.score_distillation import (
    distill_canonical,
    distill_scores,
    gradient_loss,
    score_gradient,
)
from tests.distill_core.diffusion.gaussian import GaussianDenoiser

SCHEDULES = [VariancePreserving(), Flow(), VarianceExploding()]


def mean_gradient(denoiser, x: Tensor, time: Tensor) -> Tensor:
    """Over e and -e: exact, since the prediction is affine in the noise."""
    e = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return (score_gradient(denoiser, x, e, time, None) + score_gradient(denoiser, x, -e, time, None)) / 2


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_the_mean_gradient_of_a_gaussian_is_its_closed_form(schedule):
    denoiser = GaussianDenoiser(schedule, sample_shape=(1, 2, 2))
    time = torch.tensor([0.02, 0.3, 0.7, 0.98], dtype=torch.float64)
    x = torch.randn(4, 1, 2, 2, dtype=torch.float64)
    a, s, d = schedule.alpha(time), schedule.sigma(time), denoiser.deviation
    # x - E c = (x - m) s^2 / (a^2 d^2 + s^2), times w a / s with w = s^2 / (a^2 + s^2).
    slope = a * s**3 / (a**2 + s**2) / (a**2 * d**2 + s**2)
    expected = slope[:, None, None, None] * (x - denoiser.mean)
    torch.testing.assert_close(mean_gradient(denoiser, x, time), expected)
    # It vanishes at the mean, and there alone.
    assert bool((slope > 0).all())
    at_mean = torch.full_like(x, denoiser.mean)
    torch.testing.assert_close(mean_gradient(denoiser, at_mean, time), torch.zeros_like(x), atol=1e-14, rtol=0)


def test_the_gradient_depends_on_the_noise_ratio_alone():
    x, e = torch.randn(2, 3, 1, 2, 2, dtype=torch.float64).unbind()
    ratio = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
    gradients = []
    for schedule in SCHEDULES:
        time = schedule.time_of(ratio)
        torch.testing.assert_close(noise_ratio(schedule, time), ratio)
        gradients.append(score_gradient(GaussianDenoiser(schedule), x, e, time, None))
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


def test_a_fields_mean_is_where_its_mean_gradient_vanishes():
    field = GaussianField(torch.randn(3, 16, 16, dtype=torch.float64) * 0.3 + 0.2, (8, 8), 4, tolerance=1e-10)
    mean = field.mean[:, None, None].expand(1, 3, 8, 8)
    time = torch.tensor([0.5], dtype=torch.float64)
    # The equation is solved to a share of the noisy window.
    assert float(mean_gradient(field, mean, time).abs().max()) < 1e-8
    away = mean + torch.randn(mean.shape, dtype=torch.float64)
    assert float((mean_gradient(field, away, time) * (away - mean)).sum()) > 0.1


def test_guidance_strengthens_what_the_condition_says():
    class Told(GaussianDenoiser):
        def __call__(self, noisy, time, condition=None):
            return GaussianDenoiser(self.schedule, mean=condition)(noisy, time)

    schedule = VariancePreserving()
    x, time = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    e = torch.randn(x.shape, dtype=torch.float64)

    def gradient(scale: float) -> Tensor:
        guided = ClassifierFreeGuidance(Told(schedule), scale, lambda condition: 0.0)
        return score_gradient(guided, x, e, time, 1.0)

    plain, without = (score_gradient(Told(schedule), x, e, time, told) for told in (1.0, 0.0))
    torch.testing.assert_close(gradient(1.0), plain)
    torch.testing.assert_close(gradient(7.0), without + 7 * (plain - without))


def test_the_loss_has_the_gradient_asked_for():
    x = torch.randn(3, 1, 2, 2, requires_grad=True)
    g = torch.randn(3, 1, 2, 2)
    gradient_loss(x * 2, g).backward()
    torch.testing.assert_close(x.grad, 2 * g / 3)


def test_a_panorama_seen_through_windows_becomes_the_fields_mean():
    field = GaussianField(torch.randn(3, 16, 16) * 0.2 + torch.tensor([0.5, 0.0, -0.5])[:, None, None], (8, 8), 4)
    windows = panorama_windows((3, 8, 16), (8, 8), (8, 4))
    panorama = torch.zeros(3, 8, 16, requires_grad=True)
    before = float((panorama.detach() - field.mean[:, None, None]).square().mean())

    def render(generator: torch.Generator) -> tuple[Tensor, None]:
        return windows.project(panorama), None

    steps = 80
    optimizer = torch.optim.SGD([panorama], lr=0.5)
    distill_scores(render, optimizer, field, torch.Generator().manual_seed(0), steps=steps)
    # Scattered by the last steps' noise, of which a field this smooth takes little.
    assert float((panorama.detach() - field.mean[:, None, None]).square().mean()) < 0.05 * before


def test_a_caller_can_cancel_and_sees_previews():
    class Stops(SilentProgress):
        seen = 0

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            assert preview is not None
            self.seen += 1
            if self.seen == 3:
                raise Cancelled

    picture = torch.zeros(1, 3, 4, 4, requires_grad=True)
    stops = Stops()
    with pytest.raises(Cancelled):
        distill_scores(
            lambda generator: (picture, None),
            torch.optim.SGD([picture], lr=0.1),
            GaussianDenoiser(VariancePreserving()),
            torch.Generator().manual_seed(0),
            steps=10,
            progress=stops,
            preview=lambda pictures: pictures[0].numpy(),
        )
    assert stops.seen == 3


@pytest.mark.parametrize("times", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_times_out_of_order_are_refused(times):
    picture = torch.zeros(1, 3, 4, 4, requires_grad=True)
    with pytest.raises(ValueError, match="expected times"):
        distill_scores(
            lambda generator: (picture, None),
            torch.optim.SGD([picture], lr=0.1),
            GaussianDenoiser(VariancePreserving()),
            torch.Generator(),
            steps=1,
            times=times,
        )


def test_a_canonical_sample_moves_where_views_are_drawn_and_remembers_what_was_said():
    """Windows that do not overlap, of which only the first two are ever drawn."""
    windows = panorama_windows((1, 8, 24), (8, 8), (8, 8))
    denoiser = GaussianDenoiser(VariancePreserving(), 0.4, 0.1, (1, 8, 8))
    result = distill_canonical(
        windows,
        denoiser,
        lambda draws: (torch.randint(2, (1,), generator=draws), None),
        torch.Generator().manual_seed(0),
        steps=80,
    )
    moved = result.canonical[..., :16]
    assert abs(float(moved.mean()) - 0.4) < 0.05
    assert not bool(result.canonical[..., 16:].any())
    assert abs(float(result.own_clean[:2].mean()) - 0.4) < 0.05
    assert not bool(result.own_clean[2].any())
    assert result.coverage == 1
