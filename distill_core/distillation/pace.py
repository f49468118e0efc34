"""How far a training is, in steps or in minutes, and what is due."""

import math
import time
from dataclasses import dataclass

from distill_core.distillation.settings import TrainingSettings

_WARMUP_FRACTION = 0.05
"""A short training warms up over this share of itself rather than over all the warm-up steps."""


@dataclass(frozen=True)
class TrainingStep:
    """Where a training is.

    Args:
        index: Steps done before this one.
        fraction: Share of the whole training that is done, 0..1, in steps or in minutes.
    """

    index: int
    fraction: float


class Pace:
    """The clock of one run of a training.

    Args:
        settings: Its length and intervals.
        steps: Steps done in earlier runs.
        seconds: Time spent in earlier runs.
    """

    def __init__(self, settings: TrainingSettings, steps: int, seconds: float) -> None:
        self._settings = settings
        self.steps = steps
        self._origin = time.monotonic() - seconds
        self._last_checkpoint = self._last_evaluation = self._step_began = self._wait_ended = time.monotonic()
        self._units_told = self._units

    @property
    def seconds(self) -> float:
        """Time spent in all runs."""
        return time.monotonic() - self._origin

    @property
    def fraction(self) -> float:
        """Share of the training that is done, 0..1."""
        if self._settings.num_steps is not None:
            return min(1.0, self.steps / self._settings.num_steps)
        assert self._settings.max_seconds is not None  # one of the two always is
        return min(1.0, self.seconds / self._settings.max_seconds)

    @property
    def finished(self) -> bool:
        """Whether the training has its length."""
        return self.fraction >= 1.0

    def begin_step(self) -> None:
        """Fix the fraction and the learning rate of the step that begins."""
        self._step_began = time.monotonic()
        self.step = TrainingStep(self.steps, self.fraction)
        warmup = min(self._settings.warmup_steps / (self.steps + 1), _WARMUP_FRACTION / max(self.step.fraction, 1e-9))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step.fraction))
        self.learning_rate = self._settings.learning_rate * cosine / max(1.0, warmup)

    def end_waiting(self) -> None:
        """The batch is there."""
        self._wait_ended = time.monotonic()

    def end_step(self) -> None:
        """Count the step."""
        self.steps += 1

    def figures(self) -> dict[str, float]:
        """Return what the log says of the step's pace."""
        now = time.monotonic()
        return {
            "learning_rate": self.learning_rate,
            "data_seconds": self._wait_ended - self._step_began,
            "step_seconds": now - self._step_began,
            "seconds": now - self._origin,
        }

    @property
    def log_due(self) -> bool:
        """Whether the finished step is logged."""
        return (self.steps - 1) % self._settings.log_every_steps == 0 or self.finished

    @property
    def checkpoint_due(self) -> bool:
        """Whether the state is to be saved; answered once with yes."""
        due = time.monotonic() - self._last_checkpoint >= self._settings.checkpoint_seconds
        if due:
            self._last_checkpoint = time.monotonic()
        return due

    @property
    def evaluation_due(self) -> bool:
        """Whether the network is to be evaluated; answered once with yes, and always at the end."""
        due = time.monotonic() - self._last_evaluation >= 60 * self._settings.evaluate_every_minutes
        if due:
            self._last_evaluation = time.monotonic()
        return due or self.finished

    @property
    def _units(self) -> int:
        return self.steps if self._settings.num_steps is not None else int(self.seconds)

    @property
    def units_left(self) -> int:
        """Steps or seconds that this run has before it."""
        whole = self._settings.num_steps or int(self._settings.max_seconds or 0)
        return max(0, whole - self._units)

    def new_units(self) -> int:
        """Return the steps or seconds since the last call."""
        new = self._units - self._units_told
        self._units_told = self._units
        return new
