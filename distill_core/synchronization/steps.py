"""One step of a joint reverse process, for every strategy, projection and sampler.

Letters: z the canonical sample, w the instances, f project, A the average of what is unprojected, c the clean
prediction of an instance, n the noise it implies, a = alpha, s = sigma at the step's time.

A sampler step asks a denoiser for the clean prediction and does all the rest with it, the implied noise included. So
agreeing on clean predictions or on noise is a matter of the denoiser that the sampler is handed (`JointDenoiser`), and
agreeing on the next noisy sample is one of what becomes of the sampler's result. Case numbers are those of Kim et
al., SyncTweedies (NeurIPS 2024); case 6 is MultiDiffusion (Bar-Tal et al., ICML 2023).
"""

from dataclasses import dataclass
from typing import Any, assert_never

import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser, Watched
from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.schedules import Schedule, per_sample
from distill_core.synchronization.projections import Projection, average, average_noise
from distill_core.synchronization.strategies import Quantity, SyncStrategy


@dataclass(frozen=True)
class JointProcess:
    """What is joined, and how.

    Args:
        projection: views of the canonical space.
        denoiser: of the views; guided ones and one-step generators are denoisers too.
        condition: what the denoiser is told of the V views.
        strategy: None lets every view go its own way.
        keep_variance: whether averaged noisy samples get the variance back that averaging took from their noise.

    Raises:
        ValueError: the denoiser's samples have another shape than the views.
    """

    projection: Projection
    denoiser: Denoiser[Any]
    condition: Any
    strategy: SyncStrategy | None
    keep_variance: bool = False

    def __post_init__(self) -> None:
        """Check that denoiser and views fit."""
        if tuple(self.denoiser.sample_shape) != tuple(self.projection.instances_shape[1:]):
            raise ValueError(
                f"expected a denoiser of samples {tuple(self.projection.instances_shape[1:])} as the views are, got "
                f"one of {tuple(self.denoiser.sample_shape)}"
            )

    @property
    def state_is_canonical(self) -> bool:
        """Whether the state is [1, C, ...], the canonical sample; else it is [V, C, h, w], the instances."""
        return self.strategy is not None and self.strategy.space == "canonical"


class JointDenoiser:
    """Predictions that agree: cases 1, 2, 4 and 5, as a denoiser of the state.

    Averaged clean predictions are c' = f A c, or A c for a canonical state. Averaged noise n' = f A n implies the clean
    prediction c' = (w - s n') / a = f A c + (w - f A w) / a: the same, and what the views disagree about in their
    noisy samples, magnified. With a = 0 that has no meaning.

    Args:
        process: gives the projection.
        denoiser: of the instances.
        quantity: what is averaged.
    """

    def __init__(self, process: JointProcess, denoiser: Denoiser[Any], quantity: Quantity) -> None:
        self._projection = process.projection
        self._canonical = process.state_is_canonical
        self._denoiser = denoiser
        self._noise = quantity == "noise"
        self.schedule: Schedule = denoiser.schedule
        projection = process.projection
        self.sample_shape = projection.canonical_shape if self._canonical else projection.instances_shape[1:]

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the clean prediction of the state [1 or V, ...] at times [1 or V]."""
        projection = self._projection
        instances = projection.project(noisy[0]) if self._canonical else noisy
        clean = self._denoiser(instances, time[:1].expand(len(instances)), condition)
        agreed = average(projection.unproject(clean))
        joined = agreed[None] if self._canonical else projection.project(agreed)
        if not self._noise:
            return joined
        alpha = self.schedule.alpha(time)
        if bool((alpha <= 0).any()):
            raise ValueError(f"averaging noise needs alpha above 0 at every time, got 0 from {self.schedule}")
        return joined + self._disagreement(noisy, instances) / per_sample(alpha, noisy)

    def _disagreement(self, noisy: Tensor, instances: Tensor) -> Tensor:
        votes = self._projection.unproject(instances)
        if self._canonical:
            # What no view sees has no noise of its own to disagree with.
            return torch.where(votes.weights > 0, noisy - average(votes)[None], 0)
        return noisy - self._projection.project(average(votes))


def synchronized_step(
    process: JointProcess,
    denoiser: Denoiser[Any],
    step: SamplerStep,
    state: Tensor,
    time: Tensor,
    next_time: Tensor,
    noise: Tensor | None,
) -> Tensor:
    """Take the state from one time to an earlier one.

    Args:
        process: what is joined, and how.
        denoiser: that of the process, or one that watches it.
        step: of any sampler; one with a memory must have been made for this strategy.
        state: [1, C, ...] canonical or [V, C, h, w] instances, as the strategy says.
        time: [] of the state.
        next_time: [], at most `time`.
        noise: fresh standard normal noise for samplers that take it: of the state's shape, and of the instances' for
            canonical-noisy.

    Returns:
        The state at `next_time`.
    """
    projection, strategy = process.projection, process.strategy
    if strategy is None:
        return step(denoiser, state, *_times(time, next_time, state), process.condition, noise)
    match strategy.quantity:
        case "clean" | "noise":
            joint = JointDenoiser(process, denoiser, strategy.quantity)
            return step(joint, state, *_times(time, next_time, state), process.condition, noise)
        case "noisy":
            watched = Watched(denoiser)
            instances = projection.project(state[0]) if process.state_is_canonical else state
            times = _times(time, next_time, instances)
            moved = step(watched, instances, *times, process.condition, noise)
            agreed = join_noisy(process, moved, watched.clean, next_time)
            return agreed[None] if process.state_is_canonical else projection.project(agreed)
        case _:
            assert_never(strategy.quantity)


def join_noisy(process: JointProcess, noisy: Tensor, clean: Tensor, time: Tensor) -> Tensor:
    """Average noisy instances: A w, or a A c + s (A n with its variance kept).

    Args:
        process: gives the projection, the schedule, and whether variance is kept.
        noisy: [V, C, h, w] at `time`.
        clean: [V, C, h, w] what is taken for their clean part.
        time: [].

    Returns:
        [C, ...] the canonical noisy sample.
    """
    schedule = process.denoiser.schedule
    alpha, sigma = (factor(time).to(noisy.dtype) for factor in (schedule.alpha, schedule.sigma))
    if not process.keep_variance or float(time) <= 0 or float(sigma) <= 0:
        return average(process.projection.unproject(noisy))
    noise = average_noise(process.projection, (noisy - alpha * clean) / sigma)
    return alpha * average(process.projection.unproject(clean)) + sigma * noise


def _times(time: Tensor, next_time: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Both times once a sample."""
    return tuple(at.to(samples.dtype).expand(len(samples)) for at in (time, next_time))  # type: ignore[return-value]
