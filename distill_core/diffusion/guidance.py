"""Classifier-free guidance as wrappers that are themselves Denoisers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import Schedule

Condition = TypeVar("Condition")


@dataclass(frozen=True)
class ClassifierFreeGuidance(Generic[Condition]):
    """u + scale (c - u): c the prediction with the condition, u without it (Ho and Salimans, 2022).

    Clean predictions and noise predictions are guided alike, since one is an affine function of the other. A guided
    trajectory is followed by a sampler, or taught as a teacher's; guiding a one-step student is not the same
    (its two endpoints are not one step of anything).

    Args:
        denoiser: Trained with conditions dropped at random.
        scale: 1 is the plain prediction, 0 the one without condition.
        without: Returns the condition with everything dropped that guidance shall strengthen.
    """

    denoiser: Denoiser[Condition]
    scale: float
    without: Callable[[Condition], Condition]

    @property
    def schedule(self) -> Schedule:
        """The schedule of the guided denoiser."""
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.denoiser.sample_shape

    def __call__(self, noisy: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the guided clean prediction, for the price of two."""
        with_condition = self.denoiser(noisy, time, condition)
        without_condition = self.denoiser(noisy, time, self.without(condition))
        return without_condition + self.scale * (with_condition - without_condition)


@dataclass(frozen=True)
class InstructionGuidance(Generic[Condition]):
    """u + picture (p - u) + instruction (c - p): c with instruction and picture, p with the picture alone, u with none.

    For denoisers that edit a picture by an instruction (Brooks et al., InstructPix2Pix, CVPR 2023, eq. 3).

    Args:
        denoiser: Trained with either condition, and both, dropped at random.
        instruction_scale: 1 is the plain prediction; Instruct-NeRF2NeRF takes 12.
        picture_scale: How closely to keep to the picture; Instruct-NeRF2NeRF takes 1.5.
        without_instruction: Returns the condition with the picture alone.
        without_both: Returns the condition with neither.
    """

    denoiser: Denoiser[Condition]
    instruction_scale: float
    picture_scale: float
    without_instruction: Callable[[Condition], Condition]
    without_both: Callable[[Condition], Condition]

    @property
    def schedule(self) -> Schedule:
        """The schedule of the guided denoiser."""
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.denoiser.sample_shape

    def __call__(self, noisy: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the guided clean prediction, for the price of three."""
        told, seen, neither = (
            self.denoiser(noisy, time, each)
            for each in (condition, self.without_instruction(condition), self.without_both(condition))
        )
        return neither + self.picture_scale * (seen - neither) + self.instruction_scale * (told - seen)
