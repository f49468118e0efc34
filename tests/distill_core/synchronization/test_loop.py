"""Laws of joint processes. Letters: V views, K voices on an element, z canonical, w instances."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distill_core.diffusion.guidance import ClassifierFreeGuidance
from distill_core.diffusion.noise import NoiseSource
from distill_core.diffusion.samplers import DPMSolver2M, ancestral_step, consistency_step, ddim_step, heun_step, sample
from distill_core.diffusion.schedules import Flow, Schedule, VariancePreserving, per_sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import Cancelled
from distill_core.synchronization.ambiguous import ambiguous_views
from distill_core.synchronization.ambiguous_names import AMBIGUOUS_VIEWS
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.pixel_copies import PixelCopies
from distill_core.synchronization.projections import Projection, average
from distill_core.synchronization.sequences import handover, sequence_windows
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import (
    STRATEGIES,
    STRATEGY_NAMES,
    SyncStrategy,
    strategy_named,
)

SAMPLERS = {
    "ddim": lambda: ddim_step,
    "heun": lambda: heun_step,
    "dpm-solver": DPMSolver2M,
    "consistency": lambda: consistency_step,
    "ancestral": lambda: ancestral_step,
}
STEPS = 6


class Pixelwise:
    """A nonlinear denoiser that treats every pixel and its negative alike: it commutes with signed permutations."""

    def __init__(self, shape: tuple[int, ...], schedule: Schedule | None = None) -> None:
        self.sample_shape = shape
        self.schedule: Schedule = VariancePreserving(20.0) if schedule is None else schedule

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        # The exact denoiser of values 1 and -1 (the two-point oracle): tanh(a x / s^2).
        alpha, sigma = (per_sample(factor(time), noisy) for factor in (self.schedule.alpha, self.schedule.sigma))
        return torch.tanh(alpha * noisy / sigma.square())


class Position:
    """A nonlinear denoiser to which every place of the window is another."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.sample_shape = shape
        self.schedule: Schedule = VariancePreserving(20.0)
        self._mix = torch.linspace(-1, 1, int(np.prod(shape)), dtype=torch.float64).reshape(shape)

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        return torch.tanh(noisy * self._mix + noisy.roll(1, -1) + (0 if condition is None else condition))


def joined(
    projection: Projection,
    denoiser: Any,
    strategy: SyncStrategy | None,
    *,
    steps: int = STEPS,
    sampler: str = "ddim",
    condition: Any = None,
    keep_variance: bool = False,
    **more: Any,
) -> Synchronized:
    process = JointProcess(projection, denoiser, condition, strategy, keep_variance)
    generator = torch.Generator().manual_seed(7)
    return synchronize(process, uniform_times(steps), SAMPLERS[sampler], generator, **{"dtype": torch.float64, **more})


def canonical_source(projection: Projection) -> NoiseSource:
    """The noise that the loop draws, as plain sampling takes it: once for the start, once a step."""
    generator = torch.Generator().manual_seed(7)
    return lambda shape: projection.canonical_noise(generator)[None].double()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_on_permutations_every_strategy_is_plain_sampling(name, sampler):
    projection = ambiguous_views(2, 8, AMBIGUOUS_VIEWS, seed=1)
    denoiser = Pixelwise((2, 8, 8))
    result = joined(projection, denoiser, strategy_named(name), sampler=sampler)
    plain = sample(denoiser, None, uniform_times(STEPS), SAMPLERS[sampler](), canonical_source(projection))[0]
    torch.testing.assert_close(result.canonical, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.instances, projection.project(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_on_overlapping_windows_with_one_noise_all_strategies_agree(sampler):
    """Views that are copies of one noise: averages commute with steps that are affine in (x, clean)."""
    projection = panorama_windows((1, 6, 20), (6, 8), (6, 4))
    results = [joined(projection, Position((1, 6, 8)), strategy, sampler=sampler) for strategy in STRATEGIES]
    for strategy, result in zip(STRATEGIES, results, strict=True):
        # Heun predicts twice a step, and noisy samples are averaged once: these two agree with one another.
        other = results[2] if sampler == "heun" and strategy.quantity == "noisy" else results[0]
        torch.testing.assert_close(result.canonical, other.canonical, atol=1e-9, rtol=0)
        torch.testing.assert_close(result.instances, other.instances, atol=1e-9, rtol=0)
    apart = joined(projection, Position((1, 6, 8)), None, sampler=sampler)
    assert float((apart.canonical - results[0].canonical).abs().max()) > 0.05


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_the_order_of_views_changes_nothing(strategy):
    first = sequence_windows(2, 30, 10, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    second = PixelCopies(first.canonical_shape, (2, 1, 10), first.index[order], weights=handover(10, 5))
    told = torch.linspace(-1, 1, 5, dtype=torch.float64).reshape(5, 1, 1, 1)
    results = [
        joined(projection, Position((2, 1, 10)), strategy, condition=condition)
        for projection, condition in ((first, told), (second, told[order]))
    ]
    torch.testing.assert_close(results[0].canonical, results[1].canonical, atol=1e-10, rtol=0)
    torch.testing.assert_close(results[0].instances[order], results[1].instances, atol=1e-10, rtol=0)


def test_steps_outside_the_synchronized_times_are_taken_alone():
    projection = panorama_windows((1, 6, 20), (6, 8), (6, 4))
    denoiser = Position((1, 6, 8))
    apart = joined(projection, denoiser, None)
    for strategy in STRATEGIES:
        never = joined(projection, denoiser, strategy, synchronized_times=(2.0, 1.5))
        torch.testing.assert_close(never.instances, apart.instances)
        early = joined(projection, denoiser, strategy, synchronized_times=(1.0, 0.5))
        whole = joined(projection, denoiser, strategy)
        # The views end on their own: near what they agreed on, no longer the same.
        gap = (projection.project(early.canonical) - early.instances).abs().max()
        assert 1e-3 < float(gap)
        assert float((whole.instances - projection.project(whole.canonical)).abs().max()) < 1e-9
        late = joined(projection, denoiser, strategy, synchronized_times=(0.5, 0.0))
        if strategy != SyncStrategy("instance", "noise"):  # which keeps what views disagree about in their samples
            assert float((late.instances - projection.project(late.canonical)).abs().max()) < 1e-9


def test_a_generator_of_one_step_is_joined_like_any_other():
    projection = panorama_windows((1, 6, 20), (6, 8), (6, 4))
    denoiser = Position((1, 6, 8))
    one = joined(projection, denoiser, SyncStrategy("instance", "clean"), steps=1, sampler="consistency")
    noise = projection.initial_noise(torch.Generator().manual_seed(7)).double()
    start = denoiser.schedule.sigma(torch.ones(1, dtype=torch.float64)) * noise
    agreed = average(projection.unproject(denoiser(start, torch.ones(5))))
    torch.testing.assert_close(one.canonical, agreed)
    torch.testing.assert_close(one.own_clean, denoiser(start, torch.ones(5)))


def test_guidance_is_a_denoiser_like_any_other():
    projection = panorama_windows((1, 6, 20), (6, 8), (6, 4))
    plain = Position((1, 6, 8))
    told = torch.full((1,), 0.3, dtype=torch.float64)
    guided = ClassifierFreeGuidance(plain, 1.0, lambda condition: 0 * condition)
    strategy = SyncStrategy("instance", "clean")
    torch.testing.assert_close(
        joined(projection, guided, strategy, condition=told).canonical,
        joined(projection, plain, strategy, condition=told).canonical,
    )
    stronger = joined(projection, replace(guided, scale=5.0), strategy, condition=told)
    assert float(stronger.canonical.mean()) > float(
        joined(projection, plain, strategy, condition=told).canonical.mean()
    )


def test_progress_sees_every_step_and_can_stop_the_next():
    projection = panorama_windows((1, 6, 20), (6, 8), (6, 4))

    class Stops:
        def __init__(self) -> None:
            self.previews: list[np.ndarray | None] = []

        def stage(self, name: str, total: int | None) -> None: ...

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            self.previews.append(preview)
            if len(self.previews) == 3:
                raise Cancelled

    for strategy in (*STRATEGIES, None):
        stops = Stops()
        with pytest.raises(Cancelled):
            joined(
                projection, Position((1, 6, 8)), strategy, progress=stops, preview=lambda canonical: canonical.numpy()
            )
        assert [preview.shape for preview in stops.previews if preview is not None] == [(1, 6, 20)] * 3


def test_noise_cannot_be_averaged_where_there_is_no_signal():
    projection = ambiguous_views(1, 8, ["identity", "flip"])
    with pytest.raises(ValueError, match="alpha above 0"):
        joined(projection, Pixelwise((1, 8, 8), Flow()), SyncStrategy("instance", "noise"))
    flow = joined(projection, Pixelwise((1, 8, 8), Flow()), SyncStrategy("canonical", "clean"))
    assert bool(torch.isfinite(flow.canonical).all())


def test_a_denoiser_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 6, 8\)"):
        JointProcess(panorama_windows((1, 6, 20), (6, 8), (6, 4)), Position((1, 8, 8)), None, None)
