"""Consistency distillation: every point of a trajectory is taught to lead where its earlier neighbour leads.

f(x_t, t) is pulled towards f(x_r, r), r < t, which is not trained by that pull (no gradient); f(x, 0) = x anchors the
chain. The gap between neighbours goes from wide to narrow while the training runs: wide gaps carry the data up to
pure noise in few links, narrow ones remove the error of the wide steps (Song et al., 2023; Song and Dhariwal, 2024).
"""

from dataclasses import dataclass
from typing import Protocol, assert_never, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.guidance import ClassifierFreeGuidance
from distill_core.diffusion.samplers import SamplerStep, ddim_step, heun_step
from distill_core.diffusion.schedules import Schedule, add_noise, per_sample
from distill_core.distillation.denoising import error_by_time
from distill_core.distillation.dropping import drop_parts
from distill_core.distillation.noise_levels import error_weight, times_of_sets
from distill_core.distillation.pace import TrainingStep
from distill_core.distillation.settings import ConsistencySettings
from distill_core.distillation.view_source import ViewBatch
from distill_core.models.condition import ViewCondition

_HUBER_SOFTNESS = 0.00054
"""Of the pseudo-Huber distance, in units of a sample's root-mean-square error (Song and Dhariwal, 2024)."""


@runtime_checkable  # the shape checks of the tests ask
class Pairs(Protocol):
    """How the neighbour of a noisy sample is found."""

    def __call__(
        self, noisy: Tensor, clean: Tensor, noise: Tensor, time: Tensor, next_time: Tensor, condition: ViewCondition, /
    ) -> Tensor:
        """Return the samples [B, ...] at `next_time` of the trajectories through `noisy`.

        Args:
            noisy: [B, ...] alpha clean + sigma noise at `time`.
            clean: [B, ...].
            noise: [B, ...].
            time: [B].
            next_time: [B], below `time`.
            condition: What is known.
        """
        ...


@dataclass(frozen=True)
class TeacherPairs:
    """One sampler step of a frozen teacher: consistency distillation.

    Args:
        teacher: A denoiser, guided or not, with the student's schedule.
        step: A deterministic step.
    """

    teacher: Denoiser[ViewCondition]
    step: SamplerStep

    def __call__(
        self, noisy: Tensor, clean: Tensor, noise: Tensor, time: Tensor, next_time: Tensor, condition: ViewCondition
    ) -> Tensor:
        """Take the step."""
        return self.step(self.teacher, noisy, time, next_time, condition, None).float()


@dataclass(frozen=True)
class DataPairs:
    """The same picture under the same noise, less of it: consistency training.

    Args:
        schedule: The student's.
    """

    schedule: Schedule

    def __call__(
        self, noisy: Tensor, clean: Tensor, noise: Tensor, time: Tensor, next_time: Tensor, condition: ViewCondition
    ) -> Tensor:
        """Return the picture at less noise; at time 0 the picture itself, without the schedule's last noise."""
        neighbour = add_noise(self.schedule, clean, noise, next_time)
        return torch.where(per_sample(next_time > 0, clean), neighbour, clean)


def pairs_of(settings: ConsistencySettings, teacher: Denoiser[ViewCondition]) -> Pairs:
    """Return the pairs that the settings ask for.

    Args:
        settings: Which pairs, solver and guidance.
        teacher: Frozen; of `DataPairs` only its schedule is used.
    """
    match settings.solver:
        case "ddim":
            step: SamplerStep = ddim_step
        case "heun":
            step = heun_step
        case _:
            assert_never(settings.solver)
    match settings.pairs:
        case "teacher" if settings.teacher_guidance != 1:
            without = ViewCondition.without_source
            return TeacherPairs(ClassifierFreeGuidance(teacher, settings.teacher_guidance, without), step)
        case "teacher":
            return TeacherPairs(teacher, step)
        case "data":
            return DataPairs(teacher.schedule)
        case _:
            assert_never(settings.pairs)


def steps_at(settings: ConsistencySettings, fraction: float) -> int:
    """Return the number of steps that a whole trajectory is cut into at a moment of the training.

    Args:
        settings: Steps of the first stage, and how many stages there are.
        fraction: Share of the training that is done, 0..1.
    """
    stage = min(int(fraction * settings.num_stages), settings.num_stages - 1)
    return settings.first_stage_steps * 2**stage


def earlier_times(time: Float[Tensor, " batch"], steps: int) -> Float[Tensor, " batch"]:
    """Return the neighbours' times, one step before but not before 0; strictly below every time above 0.

    Args:
        time: [B].
        steps: Of a whole trajectory.
    """
    return (time - 1 / steps).clamp(min=0)


@dataclass(frozen=True)
class Consistency:
    """The objective.

    Args:
        settings: Stages, weights, dropping.
        pairs: Where neighbours come from.
        sigma_data: Standard deviation of the pictures' values in -1..1.
    """

    settings: ConsistencySettings
    pairs: Pairs
    sigma_data: float

    def __call__(
        self, student: Denoiser[ViewCondition], batch: ViewBatch, step: TrainingStep, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts.

        Args:
            student: What learns; it begins with the teacher's weights.
            batch: Views and what is known of them.
            step: Its fraction decides the gap between neighbours.
            generator: Of times, noise and dropping.
        """
        settings, schedule, clean = self.settings, student.schedule, batch.clean
        steps = steps_at(settings, step.fraction)
        time = self._times(clean.shape[0] // batch.views_per_set, batch.views_per_set, generator)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        condition = drop_parts(batch.condition, settings.dropping, generator)
        noisy, next_time = add_noise(schedule, clean, noise, time), earlier_times(time, steps)
        with torch.no_grad():
            neighbour = self.pairs(noisy, clean, noise, time, next_time, condition)
            target = student(neighbour, next_time, condition).float()
        predicted = student(noisy, time, condition).float()
        weight = error_weight(schedule, time, self.sigma_data, settings.weight_cap)
        consistency = (weight * pseudo_huber(predicted - target)).mean()
        seen = (0.5 * (predicted - clean).abs() * condition.guide.seen).mean()
        figures = {"consistency": consistency, "seen_error": seen, **error_by_time(predicted, clean, time)}
        return consistency + settings.seen_weight * seen, figures

    def _times(self, sets: int, views_per_set: int, generator: torch.Generator) -> Tensor:
        # 1 - rand is above 0: a sample at time 0 has no earlier neighbour.
        times = 1 - torch.rand(sets, generator=generator, device=generator.device)
        return times_of_sets(times, self.settings.pure_noise_share, views_per_set, generator)


def pseudo_huber(difference: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """Root-mean-square of each sample's difference, made smooth at 0.

    Args:
        difference: [B, ...].

    Returns:
        [B] sqrt(mean square + c^2) - c.
    """
    mean_square = difference.flatten(1).square().mean(1)
    return (mean_square + _HUBER_SOFTNESS**2).sqrt() - _HUBER_SOFTNESS
