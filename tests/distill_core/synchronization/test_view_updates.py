"""Views painted one after another. Letters: m the weight of a view, c(j) the covariance at j pixels."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distill_core.diffusion.samplers import ancestral_step, ddim_step, sample
from distill_core.diffusion.schedules import Schedule, VariancePreserving, per_sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import Cancelled
from distill_core.progress import SilentProgress
from distill_core.synchronization.ambiguous import ambiguous_views
from distill_core.synchronization.equirectangular import (
    EquirectangularProjection,
    panorama_cameras,
    rings_of_directions,
)
from distill_core.synchronization.gaussian_field import GaussianField
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.pixel_copies import PixelCopies
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.sequences import sequence_windows
from distill_core.synchronization.view_updates import (
    Painting,
    Trimap,
    UpdateSettings,
    divide,
    update_views,
    view_weight,
)

TIMES = uniform_times(8)


class Pixelwise:
    """Nonlinear, every pixel alone: the exact denoiser of values 1 and -1. It keeps what it was asked."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sample_shape = shape
        self.schedule: Schedule = VariancePreserving(20.0)
        self.asked: list[Tensor] = []

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        self.asked.append(noisy)
        alpha, sigma = (per_sample(factor(time), noisy) for factor in (self.schedule.alpha, self.schedule.sigma))
        return torch.tanh(alpha * noisy / sigma.square())


def updated(projection: Projection, denoiser, *, step=ddim_step, **options) -> Synchronized:
    generator = torch.Generator().manual_seed(0)
    return update_views(projection, denoiser, lambda trimap: None, TIMES, lambda: step, generator, **options)


def nothing(projection: Projection) -> Painting:
    canonical = torch.zeros(projection.canonical_shape)
    return Painting(canonical, canonical[:1])


def test_without_neighbours_views_are_plain_samples():
    windows = panorama_windows((2, 8, 24), (8, 8), (8, 8))
    denoiser = Pixelwise((2, 8, 8))
    result = updated(windows, denoiser)
    noise = windows.initial_noise(torch.Generator().manual_seed(0))
    plain = sample(denoiser, None, TIMES, ddim_step, lambda shape: noise)
    torch.testing.assert_close(result.instances, plain)
    assert result.coverage == 1


def test_where_pixels_do_not_meet_overlapping_windows_are_one_plain_sample():
    windows = panorama_windows((2, 8, 24), (8, 8), (8, 4))
    denoiser = Pixelwise((2, 8, 8))
    result = updated(windows, denoiser)
    noise = windows.canonical_noise(torch.Generator().manual_seed(0))[None]
    plain = sample(denoiser, None, TIMES, ddim_step, lambda shape: noise)
    torch.testing.assert_close(result.canonical, plain[0])


@pytest.mark.parametrize("step", [ddim_step, ancestral_step])
def test_what_is_kept_stays_to_the_bit(step):
    windows = panorama_windows((3, 8, 28), (8, 8), (8, 5))
    field = GaussianField(torch.randn(3, 16, 16), (8, 8), 4)
    trimaps: list[Trimap] = []
    generator = torch.Generator().manual_seed(0)
    result = update_views(
        windows, field, trimaps.append, TIMES, lambda: step, generator, noise="independent", order=[2, 0, 1, 3, 4]
    )
    assert [trimap.view for trimap in trimaps] == [2, 0, 1, 3, 4]
    assert [int(trimap.keep.sum()) for trimap in trimaps] == [0, 0, 6 * 8, 3 * 8, 3 * 8]
    for trimap in trimaps:
        keep = trimap.keep.expand(3, 8, 8)
        assert torch.equal(result.own_clean[trimap.view][keep], trimap.known[keep])
    # Weights are equal, so nothing is ever refined, and each window's picture stands in the panorama as it was painted.
    for trimap in trimaps:
        assert torch.equal(result.instances[trimap.view], result.own_clean[trimap.view])


def test_borders_continue():
    white = torch.randn(3, 1, 400, generator=torch.Generator().manual_seed(1))
    smooth = torch.stack([white.roll(frames, 2) for frames in range(9)]).sum(0) / 3
    field = GaussianField(smooth, (1, 32), 16)

    def jump(overlap: int) -> float:
        """Mean square of the step across the borders of what was painted at once, over that of all other steps."""
        frames = 32 + 15 * (32 - overlap)
        windows = sequence_windows(3, frames, 32, overlap)
        canonical = updated(windows, field, step=ancestral_step, noise="independent").canonical
        squares = canonical.diff(dim=2).square().mean(dim=(0, 1))
        borders = torch.arange(32, frames, 32 - overlap) - 1
        return float(squares[borders].mean() / squares.mean())

    # 15 borders of 3 channels: the mean of 45 squares is known to a fifth of itself.
    assert jump(16) < 2
    # Windows that share nothing step by twice the variance: 2 c(0) for 2 (c(0) - c(1)), here about six times as much.
    assert jump(0) > 3


def test_a_better_view_refines_and_a_worse_one_keeps():
    weights = torch.tensor([[0.3], [0.6], [0.7]]).expand(3, 64)
    projection = PixelCopies((1, 8, 8), (1, 8, 8), torch.arange(64).expand(3, 64), weights=weights)
    for view in range(3):
        weight = view_weight(projection, torch.zeros(1, 8, 8), view)
        torch.testing.assert_close(weight, weights[view].reshape(1, 8, 8))
    seen: list[Trimap] = []
    generator = torch.Generator().manual_seed(0)
    denoiser = Pixelwise((1, 8, 8))
    result = update_views(projection, denoiser, seen.append, TIMES, lambda: ddim_step, generator, noise="independent")
    assert seen[0].generate.all()
    assert seen[1].refine.all()
    assert seen[2].keep.all()
    # A vote is a product and an average a quotient, each rounded.
    torch.testing.assert_close(result.canonical, result.own_clean[1])
    torch.testing.assert_close(result.own_clean[2], result.own_clean[1])
    assert not torch.equal(result.own_clean[1], result.own_clean[0])


def test_refined_pixels_are_held_on_a_checkerboard_for_half_of_the_steps():
    weights = torch.tensor([[0.3], [0.6]]).expand(2, 64)
    projection = PixelCopies((1, 8, 8), (1, 8, 8), torch.arange(64).expand(2, 64), weights=weights)
    denoiser = Pixelwise((1, 8, 8))
    result = updated(projection, denoiser, noise="independent", settings=UpdateSettings(checker_px=2))
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))[1]
    squares = torch.tensor([[True, False], [False, True]]).repeat_interleave(2, 0).repeat_interleave(2, 1).repeat(2, 2)
    for index, asked in enumerate(denoiser.asked[8:]):
        alpha, sigma = (factor(TIMES[index]) for factor in (denoiser.schedule.alpha, denoiser.schedule.sigma))
        held = (asked[0] - (alpha * result.own_clean[0] + sigma * noise)).abs() < 1e-5
        assert bool(held[0][squares].all()) == (index < 4)
        assert not held[0][~squares].all() or index == 0


def test_growing_repaints_a_border_of_what_is_known():
    windows = panorama_windows((1, 8, 12), (8, 8), (8, 4))
    half = torch.zeros(1, 8, 12)
    half[..., :8] = 1
    painting = Painting(half, half)
    assert divide(windows, painting, 1, UpdateSettings()).keep.sum(1).tolist() == [4] * 8
    assert divide(windows, painting, 1, UpdateSettings(grow_px=1)).keep.sum(1).tolist() == [3] * 8


def test_signs_and_turns_do_not_matter():
    projection = ambiguous_views(1, 8, ["identity", "negate", "rotate-90"])
    for view in range(3):
        torch.testing.assert_close(view_weight(projection, torch.zeros(1, 8, 8), view), torch.ones(1, 8, 8))
    denoiser = Pixelwise((1, 8, 8))
    result = updated(projection, denoiser)
    # One picture, painted by the first view; the others find it painted.
    assert torch.equal(result.own_clean[1], -result.own_clean[0])
    assert torch.equal(result.own_clean[2], result.own_clean[0].rot90(1, (1, 2)))


def test_interpolated_views_paint_what_they_see():
    cameras = panorama_cameras(rings_of_directions([4], [0.0]), side=12, field_of_view_degrees=100.0)
    projection = EquirectangularProjection(1, 16, cameras)
    result = update_views(
        projection,
        Pixelwise((1, 12, 12)),
        lambda trimap: None,
        TIMES,
        lambda: lambda denoiser, noisy, time, next_time, condition, noise: torch.ones_like(noisy),
        torch.Generator().manual_seed(0),
    )
    votes = projection.unproject(torch.ones(projection.instances_shape))
    assert result.coverage == pytest.approx(float((votes.weights > 0).double().mean()))
    torch.testing.assert_close(result.canonical, (votes.weights > 0).float())
    assert divide(projection, nothing(projection), 2, UpdateSettings()).generate.all()


def test_a_caller_can_cancel_and_sees_previews():
    class Stops(SilentProgress):
        previews = 0

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            assert preview is not None
            self.previews += 1
            if self.previews == 10:
                raise Cancelled

    stops = Stops()
    windows = panorama_windows((1, 8, 12), (8, 8), (8, 4))
    with pytest.raises(Cancelled):
        updated(windows, Pixelwise((1, 8, 8)), progress=stops, preview=lambda canonical: canonical.numpy())
    assert stops.previews == 10
