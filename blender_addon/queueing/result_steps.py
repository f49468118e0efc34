"""Results brought into the scene a step at a time, each step only while the scene admits it. No bpy here."""

import time
from collections.abc import Callable, Sequence

from .job_requests import JobError, JobState, LocalRequest, StepEnd, Steps


class ResultSteps:
    """The one result that is being applied.

    Args:
        hold: says why a result cannot be applied now; "" if it can.
        ended: is told of each job after its last step: how it ended, and the error if it failed.
    """

    def __init__(
        self, hold: Callable[[JobState], str], ended: Callable[[JobState, str, Exception | None], None]
    ) -> None:
        self._hold, self._ended = hold, ended
        self._state: JobState | None = None
        self._steps: Steps = iter(())

    @property
    def begun(self) -> bool:
        """Whether a result is half applied, and the next step can be done at once."""
        return self._state is not None and not self._state.sentence

    def go_on(self, jobs: Sequence[JobState], until: float) -> None:
        """Go on with the result that is being applied, or begin with the next one that can be.

        Args:
            jobs: all of them, the oldest first.
            until: when to stop, in seconds of the monotonic clock; the last step may end later.
        """
        step_end: StepEnd | None = None
        while step_end is not StepEnd.LET_BLENDER_DRAW:
            state = self._state or self._next(jobs)
            if state is None:
                return
            if state.state == "applying" and (reason := self._reason(state)):
                state.sentence = reason  # the person does something else between two steps
                return
            state.state, state.sentence = "applying", ""
            try:
                step_end = next(self._steps)
            except StopIteration:
                self._end(state, "done", None)
            except Exception as error:  # a defect must not stop the timer, and is shown with what to do
                self._end(state, "failed", error)
            # What is done with a finished result, a step of undo, must not meet the next one's first steps.
            if state.ended or time.monotonic() >= until:
                return

    def start_over(self) -> None:
        """Take back what is half applied, because the scene is about to be replaced; the result waits again."""
        state, self._state = self._state, None
        if state is not None:
            state.state, state.stage, state.sentence = "held", "", ""
            _close(self._steps)

    def _next(self, jobs: Sequence[JobState]) -> JobState | None:
        """The first result that can be applied; of the others the reasons are noted."""
        held = [state for state in jobs if state.state == "held"]
        for state in held:
            state.sentence = self._reason(state)
        begun = next((state for state in held if not state.sentence), None)
        if begun is not None:
            self._state, self._steps = begun, _steps_of(begun)
            begun.stage, begun.total = "scene", None
        return begun

    def _reason(self, state: JobState) -> str:
        return self._hold(state) if state.request.changes_scene else ""

    def _end(self, state: JobState, ended: str, error: Exception | None) -> None:
        self._state, self._steps = None, iter(())
        self._ended(state, ended, error)


def _steps_of(state: JobState) -> Steps:
    """The steps of a result; what fails before the first step fails in it."""
    if isinstance(state.request, LocalRequest):
        yield from state.request.apply(state.findings)
    else:
        assert state.folder is not None
        yield from state.request.apply(state.folder / "results", state.findings)


def _close(steps: Steps) -> None:
    """Let steps that were not finished tidy up."""
    try:
        getattr(steps, "close", lambda: None)()
    except (JobError, ReferenceError, RuntimeError):
        pass  # what they would take back is gone already, or they went on after they were closed
