"""What is asked of the queue, where it stands, and how work of the add-on itself is told to stop. No bpy here."""

import collections
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from .job_folders import InputFile

_ENDED_STATES = ("done", "failed", "cancelled")
_SECONDS_OF_A_PRESS = 0.6


class StepEnd(Enum):
    """What a step of a result may yield instead of None."""

    LET_BLENDER_DRAW = "draw"
    """The next step comes once Blender has drawn what this one changed."""


Steps = Iterator[StepEnd | None]


class JobError(Exception):
    """What a person can mend, in one sentence: what was expected, what came, what to do."""


class Cancelled(Exception):
    """Raised inside the work of a local job that was cancelled."""


@dataclass(frozen=True, eq=False)
class JobRequest:
    """What the worker shall do, and what becomes of its result.

    Args:
        task: one of the tasks that the worker names.
        label: what the job is called before the person.
        settings: of the task; plain JSON values.
        files: what the task needs, by name: paths, their content, or what makes their content.
        apply: takes the folder of the result's files and the findings, and changes the scene in steps of a few
            milliseconds, one a `yield` (None or a `StepEnd`). Raises JobError where the scene no longer admits it.
        preview: shows a picture, [H, W, 3] bytes, row 0 on top, while the job runs; takes a few milliseconds at most.
        button: bl_idname of the operator that asked, whose button cancels meanwhile.
        changes_scene: whether the result waits until the scene can be changed; one that is not of the scene never does.
    """

    task: str
    label: str
    settings: Mapping[str, Any]
    files: Mapping[str, InputFile]
    apply: Callable[[Path, Mapping[str, Any]], Steps]
    preview: Callable[[np.ndarray], None] | None = None
    button: str = ""
    changes_scene: bool = True


@dataclass(frozen=True, eq=False)
class LocalRequest:
    """Work of the add-on itself that takes long.

    Args:
        label: what the job is called before the person.
        work: runs in a thread of its own, without bpy; returns findings. Raises JobError for what a person can mend.
        apply: takes the findings, and changes the scene in short steps, one a `yield`.
        button: bl_idname of the operator that asked, whose button cancels meanwhile.
        changes_scene: whether the result waits until the scene can be changed; one that is not of the scene never does.
        without_worker: whether it begins once the worker has ended, which is asked to.
    """

    label: str
    work: "Callable[[LocalProgress], Mapping[str, Any]]"
    apply: Callable[[Mapping[str, Any]], Steps]
    button: str = ""
    changes_scene: bool = True
    without_worker: bool = False


@dataclass(eq=False)
class JobState:
    """Where a job stands.

    Attributes:
        number: counts the jobs of this session.
        request: what was asked.
        state: preparing (files are read), waiting, running, storing (files are written), held (the result waits, the
            sentence says for what), applying; at the end done, failed or cancelled.
        stage: what the worker does, in its words.
        step: finished steps of the stage.
        total: steps of the stage, None if not known.
        seconds_left: of the stage, None if not known.
        cancelling: it was asked to stop and has not yet.
        sentence: one line for the person, of an error or of what the result waits for.
        findings: what the result says in words and numbers.
        folder: with `inputs` and `results`; None before it is made.
        began: when it was asked, later when its work began, in seconds of the monotonic clock.
        seconds: from then until its result was there, or to its end; 0 before.
        turned: when its button last turned into another, which it does at its beginning and at its end.
    """

    number: int
    request: JobRequest | LocalRequest
    state: str = "preparing"
    stage: str = ""
    step: int = 0
    total: int | None = None
    seconds_left: float | None = None
    cancelling: bool = False
    sentence: str = ""
    findings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    turned: float = field(default_factory=time.monotonic)

    @property
    def just_turned(self) -> bool:
        """Whether a press may still be meant for what its button was a moment ago."""
        return time.monotonic() - self.turned < _SECONDS_OF_A_PRESS

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in _ENDED_STATES

    @property
    def factor(self) -> float:
        """Share of the stage that is finished, 0 to 1."""
        return min(1.0, self.step / self.total) if self.total else 0.0


class LocalProgress:
    """What the work of a local job says, and how it hears that it should stop."""

    def __init__(self, state: JobState, log: "collections.deque[str]") -> None:
        self._state, self._log = state, log
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._cancelled.set()

    def check(self) -> None:
        """Return if the work shall go on.

        Raises:
            Cancelled: the job was cancelled.
        """
        if self._cancelled.is_set():
            raise Cancelled

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage.

        Args:
            name: what happens now.
            total: its steps, None if not known.

        Raises:
            Cancelled: the job was cancelled.
        """
        self.check()
        self._state.stage, self._state.step, self._state.total = name, 0, total

    def advance(self, n: int = 1) -> None:
        """Report finished steps.

        Args:
            n: how many.

        Raises:
            Cancelled: the job was cancelled.
        """
        self.check()
        self._state.step += n

    def log(self, line: str) -> None:
        """Add to the log.

        Args:
            line: without its end.
        """
        self._log.append(line)
