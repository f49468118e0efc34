"""Joint processes of Gaussian fields: everything is linear in the noise, so covariances are matrices, not estimates.

A sequence of 28 frames is made from windows of 14 that share 10. All channels are separate copies of one field; each
begins with another unit vector for its noise, and so one run gives the whole linear map from noise to sequence.
"""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from distill_core.diffusion.samplers import SamplerStep, ancestral_step, ddim_step
from distill_core.diffusion.schedules import Schedule
from distill_core.diffusion.time_grids import uniform_times
from distill_core.synchronization.gaussian_field import GaussianField
from distill_core.synchronization.loop import synchronize
from distill_core.synchronization.pixel_copies import PixelCopies
from distill_core.synchronization.projections import Projection, Votes
from distill_core.synchronization.sequences import sequence_windows
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import STRATEGIES, SyncStrategy, strategy_named

STEPS = 40
FRAMES, WINDOW, OVERLAP = 28, 14, 10
INNER = slice(4, -4)
"""Frames that more than one window sees."""


class EveryChannel:
    """A field's exact denoiser on each of many channels; the prediction's matrix is asked of it once a time."""

    def __init__(self, field: GaussianField, channels: int) -> None:
        self._field = field
        self.schedule: Schedule = field.schedule
        self.sample_shape = (channels, *field.sample_shape[1:])

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        return noisy @ _matrix(self._field, float(time[0]))


@cache
def _matrix(field: GaussianField, time: float) -> Tensor:
    """[window, window] the linear part of a field's prediction, which multiplies from the right."""
    units = torch.eye(WINDOW, dtype=torch.float64).reshape(WINDOW, 1, 1, WINDOW)
    asked = torch.cat([torch.zeros_like(units[:1]), units])
    said = field(asked, torch.full((WINDOW + 1,), time, dtype=torch.float64)).reshape(WINDOW + 1, WINDOW)
    return said[1:] - said[0]


@pytest.fixture(scope="module")
def field() -> GaussianField:
    """Values that are correlated over a few frames."""
    white = torch.randn(1, 1, 400, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    smooth = (white + white.roll(1, 2) + white.roll(2, 2)) / 3**0.5
    return GaussianField(smooth, (1, WINDOW), 4, tolerance=1e-8)


def joint_map(
    field: GaussianField,
    strategy: SyncStrategy | None,
    *,
    independent: bool,
    windows: PixelCopies | None = None,
    keep_variance: bool = False,
) -> Tensor:
    """[frames, noise] what the joint process makes of noise: one noise for all windows, or each window's own."""
    canonical = strategy is not None and strategy.space == "canonical"
    windows = windows or sequence_windows(1, FRAMES, WINDOW, OVERLAP)
    views, frames = windows.instances_shape[0], windows.canonical_shape[-1]
    size = views * WINDOW if independent else frames
    projection = PixelCopies((size, 1, frames), (size, 1, WINDOW), windows.index, weights=windows._weights)
    units = torch.eye(size, dtype=torch.float64)
    if independent:
        start = units.reshape(size, views, 1, WINDOW).transpose(0, 1)
    else:
        start = units[None, :, None] if canonical else projection.project(units[:, None])
    result = run(projection, field, strategy, ddim_step, start=start, keep_variance=keep_variance)
    return result[:, 0].T


def run(
    projection: Projection,
    field: GaussianField,
    strategy: SyncStrategy | None,
    step: SamplerStep,
    *,
    start: Tensor | None = None,
    **more: Any,
) -> Tensor:
    """[C, 1, frames] the canonical sample that a joint process ends with."""
    keep = more.pop("keep_variance", False)
    process = JointProcess(projection, EveryChannel(field, projection.instances_shape[1]), None, strategy, keep)
    if start is not None:
        start = field.schedule.sigma(torch.ones((), dtype=torch.float64)) * start
    generator = torch.Generator().manual_seed(0)
    times = uniform_times(STEPS)
    result = synchronize(process, times, lambda: step, generator, start=start, dtype=torch.float64, **more)
    return result.canonical


def true_covariance(field: GaussianField, frames: int = FRAMES) -> Tensor:
    values = torch.stack([field.covariance(0, lag)[0, 0] for lag in range(frames)])
    return values[(torch.arange(frames)[:, None] - torch.arange(frames)[None]).abs()]


def solver_error(field: GaussianField) -> float:
    """How far the sampler's own steps are from the field's covariance, in one window that nothing is joined to."""
    window = PixelCopies((1, 1, WINDOW), (1, 1, WINDOW), torch.arange(WINDOW)[None])
    alone = joint_map(field, None, independent=False, windows=window)
    return float((alone @ alone.T - true_covariance(field, WINDOW)).abs().max())


@pytest.mark.parametrize("space", ["instance", "canonical"])
def test_agreeing_on_clean_predictions_the_sequence_has_the_fields_covariance_across_borders(field, space):
    truth = true_covariance(field)
    linear = joint_map(field, SyncStrategy(space, "clean"), independent=False)
    error = float((linear @ linear.T - truth).abs().max())
    # The sampler's own error, and what a window does not know of the frames beyond its border.
    assert error < solver_error(field) + 0.05 * float(truth[0, 0])


def test_windows_that_go_their_own_ways_share_nothing_across_their_borders(field):
    apart = sequence_windows(1, 2 * WINDOW, WINDOW, 0)
    truth = true_covariance(field)
    linear = joint_map(field, None, independent=True, windows=apart)
    covariance = linear @ linear.T
    assert float(truth[WINDOW - 1, WINDOW]) > 0.3 * float(truth[0, 0])
    assert float(covariance[WINDOW - 1, WINDOW].abs()) < 1e-9


def test_independent_noise_makes_averaged_noise_explode_and_averaged_samples_fade(field):
    power = float(true_covariance(field)[0, 0])
    kept = {}
    for name in ("instance-noise", "instance-clean", "instance-noisy", "none"):
        linear = joint_map(field, strategy_named(name), independent=True)
        kept[name] = float((linear @ linear.T).diagonal()[INNER].mean()) / power
    assert kept["instance-noise"] > 5
    # A linear denoiser cannot give back the variance that averaging took, by whatever quantity (sum of w^2 < 1 / 2).
    assert max(kept["instance-noisy"], kept["instance-clean"], kept["none"]) < 0.5
    repaired = joint_map(field, SyncStrategy("instance", "noisy"), independent=True, keep_variance=True)
    # Divided by sqrt(q + (1 - q) r) once, at the start; from then on the views share their noise and r is nearly 1.
    assert float((repaired @ repaired.T).diagonal()[INNER].mean()) / power == pytest.approx(1, rel=0.1)


def test_fresh_noise_of_each_view_fades_what_is_averaged_and_one_canonical_noise_does_not(field):
    power = float(true_covariance(field)[0, 0])
    samples = 600
    projection = sequence_windows(samples, FRAMES, WINDOW, OVERLAP)
    single = PixelCopies((samples, 1, WINDOW), (samples, 1, WINDOW), torch.arange(WINDOW)[None])
    alone = float(run(single, field, None, ancestral_step).var(dim=0).mean()) / power
    kept = {}
    for strategy in STRATEGIES:
        made = run(projection, field, strategy, ancestral_step, noise="independent")
        kept[strategy.name] = float(made.var(dim=0)[0, INNER].mean()) / power
    # 600 samples of 20 frames, of which about 7 are independent: a variance is known to sqrt(2 / 4200), 2 %.
    assert kept["canonical-clean"] == pytest.approx(alone, rel=0.1)
    assert max(kept[name] for name in ("instance-clean", "instance-noisy", "canonical-noisy")) < 0.6 * alone
    assert kept["instance-noise"] > 5


class Blend:
    """Every pixel of the view is the mean of elements of its own: splats, in small."""

    def __init__(self, channels: int, elements: int) -> None:
        self.canonical_shape = (channels, elements, WINDOW)
        self.instances_shape = (1, channels, 1, WINDOW)

    def project(self, canonical: Tensor) -> Tensor:
        return canonical.mean(dim=1, keepdim=True)[None]

    def unproject(self, instances: Tensor) -> Votes:
        ones = torch.ones(1, *self.canonical_shape[1:], dtype=instances.dtype)
        return Votes(instances[0].expand(self.canonical_shape), ones, ones)

    def canonical_noise(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self.canonical_shape, generator=generator)

    def initial_noise(self, generator: torch.Generator) -> Tensor:
        return self.project(self.canonical_noise(generator)) * self.canonical_shape[1] ** 0.5


@pytest.mark.parametrize("elements", [2, 8])
def test_where_a_view_blends_many_elements_only_the_instance_keeps_its_noise(field, elements):
    """n to 1: f A is the identity, so case 2 is plain sampling; case 5 projects noise, and blending takes it away."""
    blend = Blend(3, elements)
    noise = blend.initial_noise(torch.Generator().manual_seed(0)).double()
    single = PixelCopies((3, 1, WINDOW), (3, 1, WINDOW), torch.arange(WINDOW)[None])
    plain = run(single, field, None, ddim_step, start=noise)
    faint = run(single, field, None, ddim_step, start=noise / elements**0.5)
    case_two = run(blend, field, SyncStrategy("instance", "clean"), ddim_step)
    case_five = run(blend, field, SyncStrategy("canonical", "clean"), ddim_step)
    torch.testing.assert_close(blend.project(case_two)[0], plain, atol=1e-6, rtol=0)
    torch.testing.assert_close(blend.project(case_five)[0], faint, atol=1e-6, rtol=0)
    # Linear, without a mean: the picture is fainter by just as much.
    torch.testing.assert_close(faint, plain / elements**0.5, atol=1e-6, rtol=0)
