"""The one trainer: batches, optimizer, averaged weights, checkpoints. It knows no method's name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from distill_core.distillation.pace import Pace, TrainingStep
from distill_core.distillation.precision import autocast
from distill_core.distillation.prefetch import Prefetch
from distill_core.distillation.settings import TrainingSettings
from distill_core.distillation.training_log import TrainingLog
from distill_core.distillation.training_state import STATE_FILE, TrainingState
from distill_core.distillation.update_guard import UpdateGuard
from distill_core.distillation.view_source import BatchSource
from distill_core.errors import Cancelled, UserError
from distill_core.progress import Progress

Network = TypeVar("Network", bound=nn.Module)
Student = TypeVar("Student", bound=nn.Module, contravariant=True)
Batch = TypeVar("Batch", contravariant=True)


class TrainingDiverged(UserError):
    """A loss or gradient is not finite."""


@runtime_checkable  # the shape checks of the tests ask
class Objective(Protocol[Student, Batch]):
    """What is minimised."""

    def __call__(
        self, student: Student, batch: Batch, step: TrainingStep, generator: torch.Generator, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, a scalar, and figures to log, scalars too.

        Args:
            student: The network.
            batch: As the training's source prepares it.
            step: Where the training is.
            generator: On the network's device, seeded by (seed, step): the only source of randomness.
        """
        ...


@dataclass(frozen=True)
class TrainingResult(Generic[Network]):
    """A finished training.

    Args:
        average: The network with averaged weights, in evaluation mode.
        steps: Optimizer steps in all.
        seconds: Time in all, interrupted runs included.
    """

    average: Network
    steps: int
    seconds: float


def train(
    student: Network,
    objective: Objective[Network, Any],
    source: BatchSource[Any],
    settings: TrainingSettings,
    output_dir: Path,
    progress: Progress,
    *,
    recipe: Mapping[str, Any] | None = None,
    evaluate: Callable[[Network], Mapping[str, float]] | None = None,
) -> TrainingResult[Network]:
    """Train a network, or go on where the same call was interrupted.

    Args:
        student: The network, float32, on the device where it is trained; changed in place.
        objective: What is minimised.
        source: Batches.
        settings: Length, optimizer, checkpoints.
        output_dir: Folder of the state and the log; made if missing.
        progress: Stage "training".
        recipe: JSON values that say what makes this training what it is; it only goes on with the same.
        evaluate: Figures of the averaged network, logged now and then and at the end.

    Returns:
        The averaged network.

    Raises:
        TrainingDiverged: a loss or gradient is not finite; the last state stays.
        UserError: the folder holds the state of another training.
        Cancelled: the caller or SIGTERM asked for the end; the state is saved.
        KeyboardInterrupt: Ctrl-C; the state is saved.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    device = next(student.parameters()).device
    state = TrainingState(student, settings, recipe or {})
    state.restore(output_dir)
    pace = Pace(settings, state.step, state.seconds)
    if settings.compile_network:
        student.compile()
    progress.stage("training", pace.units_left)
    with (
        UpdateGuard() as guard,
        TrainingLog(output_dir, state.step) as log,
        Prefetch(source.draw, state.step, settings.data_threads) as ahead,
    ):
        try:
            while not pace.finished:
                pace.begin_step()
                batch = _prepared(source, ahead.take(), device)
                pace.end_waiting()
                figures = _gradient(student, objective, batch, pace.step, settings)
                _check_finite(figures, state.step, output_dir)
                with guard.update():
                    _update(state, pace)
                    if pace.log_due:
                        log.write(state.step - 1, figures | pace.figures())
                if evaluate is not None and pace.evaluation_due:
                    log.write(state.step - 1, evaluate(state.average.network))
                if pace.checkpoint_due:
                    state.save(output_dir)
                progress.advance(pace.new_units())
        except (KeyboardInterrupt, Cancelled):
            with guard.update():
                state.save(output_dir)
            raise
        state.save(output_dir)
    return TrainingResult(state.average.network, state.step, state.seconds)


@torch.no_grad()
def _prepared(source: BatchSource[Any], drawn: Any, device: torch.device) -> Any:
    return source.prepare(drawn, device)


def _gradient(
    student: Network, objective: Objective[Network, Any], batch: Any, step: TrainingStep, settings: TrainingSettings
) -> dict[str, float]:
    """Leave the clipped gradient in the student and return the figures of the step."""
    student.train()
    student.zero_grad(set_to_none=True)
    device = next(student.parameters()).device
    with autocast(device, settings.precision):
        loss, figures = objective(student, batch, step, step_generator(settings.seed, step.index, device))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(student.parameters(), settings.gradient_clip)
    named = {"loss": loss, "gradient_norm": norm, **figures}
    # One transfer, since each would wait for the device.
    values = torch.stack([value.detach().float() for value in named.values()]).tolist()
    return dict(zip(named, values, strict=True))


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Return the generator of one step: independent of all other steps, so that resuming needs no state."""
    number = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(number >> 1)


def _check_finite(figures: Mapping[str, float], step: int, folder: Path) -> None:
    for name in ("loss", "gradient_norm"):
        if not math.isfinite(figures[name]):
            path = folder / STATE_FILE
            last = f"the last good state is {path}" if path.exists() else "no state was saved yet"
            raise TrainingDiverged(
                f"Expected a finite {name.replace('_', ' ')} at step {step}, got {figures[name]}; {last}: try a lower "
                "--learning-rate in another --output-dir, or look at the data of this step."
            )


def _update(state: TrainingState[Any], pace: Pace) -> None:
    state.optimizer.step(pace.learning_rate)
    state.average.update(state.student, state.step)
    pace.end_step()
    state.step, state.seconds = pace.steps, pace.seconds
