"""Regions with a condition each. The denoiser's condition is the value of a two-point or Gaussian pixel."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distill_core.diffusion.samplers import ddim_step, sample
from distill_core.diffusion.schedules import Schedule, VariancePreserving, per_sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.synchronization.ambiguous import ambiguous_views
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.region_control import Region, RegionDenoiser, synchronize_regions
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import STRATEGIES, SyncStrategy

TIMES = uniform_times(10)
WINDOWS = panorama_windows((2, 8, 20), (8, 8), (8, 4))


class Told:
    """Gaussian pixels about the mean that the condition says, nonlinearly drawn to it; it keeps what it was asked."""

    def __init__(self, shape: tuple[int, ...] = (2, 8, 8)) -> None:
        self.sample_shape = shape
        self.schedule: Schedule = VariancePreserving(20.0)
        self.asked: list[tuple[Any, float, Tensor]] = []

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        self.asked.append((condition, float(time[0]), noisy))
        alpha, sigma = (per_sample(factor(time), noisy) for factor in (self.schedule.alpha, self.schedule.sigma))
        return condition + 0.3 * torch.tanh(alpha * (noisy - alpha * condition) / sigma.square())


class Blurring(Told):
    """What it says of a pixel depends on the whole row."""

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        return super().__call__(noisy, time, condition) + 0.3 * noisy.mean(dim=3, keepdim=True)


def halves(*, colour: Tensor | None = None) -> list[Region]:
    left = torch.zeros(1, 8, 20)
    left[..., :10] = 1
    return [Region(left, -0.5, colour), Region(1 - left, 0.8, colour)]


def ran(regions: list[Region], denoiser: Told, projection: Projection = WINDOWS, **options) -> Synchronized:
    generator = torch.Generator().manual_seed(0)
    return synchronize_regions(projection, denoiser, regions, TIMES, lambda: ddim_step, generator, **options)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_one_region_everywhere_is_no_region(strategy):
    denoiser = Blurring()
    result = ran([Region(torch.ones(1, 8, 20), 0.4, torch.ones(2))], denoiser, strategy=strategy)
    process = JointProcess(WINDOWS, denoiser, 0.4, strategy)
    plain = synchronize(process, TIMES, lambda: ddim_step, torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.canonical, plain.canonical)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_where_pixels_do_not_meet_each_region_is_its_own_plain_sample(strategy):
    denoiser = Told()
    result = ran(halves(colour=torch.tensor([0.9, -0.9])), denoiser, strategy=strategy)
    noise = WINDOWS.canonical_noise(torch.Generator().manual_seed(0))[None]
    left, right = (sample(denoiser, told, TIMES, ddim_step, lambda shape: noise)[0] for told in (-0.5, 0.8))
    expected = torch.cat([left[..., :10], right[..., 10:]], 2)
    torch.testing.assert_close(result.canonical, expected, atol=1e-5, rtol=1e-5)


def test_at_first_a_region_sees_a_plain_colour_under_the_canvas_noise():
    colour = torch.tensor([0.9, -0.9])
    regions = halves(colour=colour)
    denoiser = Blurring()
    ran(regions, denoiser)
    noise = WINDOWS.initial_noise(torch.Generator().manual_seed(0))
    schedule = denoiser.schedule
    steps = [asked for asked in denoiser.asked if asked[0] == 0.8]
    outside = (WINDOWS.project(regions[1].mask.expand(2, 8, 20)) == 0).float()
    assert bool(outside.any())
    for index, (_, time, noisy) in enumerate(steps):
        at = torch.tensor(time)
        plain = schedule.alpha(at) * colour[:, None, None] + schedule.sigma(at) * noise
        difference = float(((noisy - plain) * outside).abs().max())
        assert (difference < 1e-5) == (index < 4), index
    # The other region's own half is the canvas at the same time, in the very same steps.
    for (_, _, left), (_, _, right) in zip(
        steps[4:], [one for one in denoiser.asked if one[0] == -0.5][4:], strict=True
    ):
        assert torch.equal(left, right)


def test_what_lies_outside_cannot_reach_into_a_region_while_colours_stand():
    def inside(other: float, share: float) -> Tensor:
        regions = halves(colour=torch.zeros(2))
        regions[0] = Region(regions[0].mask, other, regions[0].colour)
        return ran(regions, Blurring(), bootstrap_share=share).canonical[..., 10:]

    assert torch.equal(inside(-0.5, 1.0), inside(3.0, 1.0))
    assert float((inside(-0.5, 0.0) - inside(3.0, 0.0)).abs().max()) > 0.1


def test_overlapping_masks_share_by_their_weights():
    first, second = torch.rand(2, 1, 8, 20) + 0.1
    regions = [Region(first, 1.0), Region(second, -1.0)]

    class Constant(Told):
        def __call__(self, noisy, time, condition=None):
            return torch.full_like(noisy, condition)

    result = ran(regions, Constant())
    torch.testing.assert_close(result.canonical, ((first - second) / (first + second)).expand(2, 8, 20))


def test_views_that_turn_and_negate_see_turned_regions():
    projection = ambiguous_views(2, 8, ["identity", "rotate-90", "negate"])
    mask = torch.zeros(1, 8, 8)
    mask[:, :3] = 1
    denoiser = Told()
    ran([Region(mask, 1.0), Region(1 - mask, -1.0)], denoiser, projection, strategy=SyncStrategy("instance", "clean"))
    regional = RegionDenoiser(
        denoiser, projection, [Region(mask, 1.0), Region(1 - mask, -1.0)], torch.zeros(3, 2, 8, 8), 0.5
    )
    said = regional(torch.zeros(3, 2, 8, 8), torch.full((3,), 0.99))
    expected = (2 * mask - 1).expand(2, 8, 8)
    views = torch.stack([expected, expected.rot90(1, (1, 2)), expected])
    assert bool((said.sign() == views).all())


def test_regions_that_leave_something_bare_are_refused():
    with pytest.raises(ValueError, match="without one"):
        ran(halves()[:1], Told())
    with pytest.raises(ValueError, match="at least one region"):
        ran([], Told())
