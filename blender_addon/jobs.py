"""The one queue of jobs and the one timer that drives it; what other modules call to get something done."""

import time
import traceback
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import bpy
from bpy.app.handlers import persistent

from . import preferences, references
from .queueing.job_queue import JobQueue
from .queueing.job_requests import JobRequest, JobState, LocalRequest

_SECONDS_BETWEEN_TICKS = 0.05
_SECONDS_BETWEEN_LOOKS = 1.0
"""While nothing is asked for, the worker is only looked after."""
_SECONDS_BETWEEN_REDRAWS = 0.2
_APPLIED_STATES = ("held", "applying")

queue: JobQueue
longest_tick_seconds = 0.0
"""Of all ticks since it was last set to zero: what the add-on costs Blender's main thread."""
longest_undo_seconds = 0.0
"""Of those steps of undo that Blender kept for a result: a tick does it and nothing besides."""

_files: "WeakKeyDictionary[JobState, str]" = WeakKeyDictionary()
"""Which file was open when a job was asked for."""
_unsaved, _saving = 0, ""
_apply_here: set[JobState] = set()
_waiting: list[tuple[Callable[[], bool], Callable[[], None]]] = []
_finished: list[JobState] = []
_drawn: tuple[float, tuple[Any, ...]] = (0.0, ())


def submit(request: JobRequest | LocalRequest) -> JobState:
    """Queue a job and return at once.

    Args:
        request: what to do.
    """
    return _watched(queue.submit(request))


def start(operator: bpy.types.Operator | None, request: JobRequest | LocalRequest) -> set[str]:
    """Queue a job as an operator does: in a window return at once, without one go on to its end.

    Args:
        operator: is told how it ended where this waits; None if it is gone already.
        request: what to do.

    Returns:
        What the operator returns.
    """
    state = submit(request)
    if not bpy.app.background:
        return {"FINISHED"}
    wait(state)
    if state.state == "done":
        return {"FINISHED"}
    if operator is not None:
        operator.report({"ERROR"}, state.sentence or f"{request.label}: cancelled.")
    return {"CANCELLED"}


def again(state: JobState) -> JobState:
    """Queue the same job once more, with the same files, settings and seed.

    Args:
        state: of a job that has ended.
    """
    return _watched(queue.again(state))


def wait(state: JobState) -> None:
    """Go on until a job has ended, or its result waits for the person.

    Args:
        state: of the job.
    """
    while _finished or (not state.ended and not (state.state in _APPLIED_STATES and state.sentence)):
        tick()
        if queue.waits_for_thread:
            time.sleep(0.005)


def cancel(number: int) -> None:
    """Cancel a job; one that has ended is left alone.

    Args:
        number: of the job.
    """
    if (state := by_number(number)) is not None:
        queue.cancel(state)
        redraw()


def apply_here(number: int) -> None:
    """Let a result that was made for another file be applied to the one that is open.

    Args:
        number: of the job.
    """
    if (state := by_number(number)) is not None:
        _apply_here.add(state)


def when(condition: Callable[[], bool], then: Callable[[], None]) -> None:
    """Do something once a condition holds, such as that Blender's own render has ended.

    Args:
        condition: is asked at every tick.
        then: is called once.
    """
    _waiting.append((condition, then))
    wake()


def by_number(number: int) -> JobState | None:
    """Return the job of a number, None if it is no longer listed.

    Args:
        number: of the job.
    """
    return next((job for job in queue.jobs if job.number == number), None)


def active(button: str) -> JobState | None:
    """Return the job that was asked for with a button and has not ended; not one that waits for another file.

    Args:
        button: bl_idname of its operator.
    """
    asked = (job for job in queue.jobs if job.request.button == button and not job.ended)
    return next((job for job in asked if not (job.state in _APPLIED_STATES and for_another_file(job))), None)


def last(button: str) -> JobState | None:
    """Return the listed job that was asked for last with a button.

    Args:
        button: bl_idname of its operator.
    """
    return next((job for job in reversed(queue.jobs) if job.request.button == button), None)


def just_turned(button: str) -> bool:
    """Say whether a button has turned into Cancel, or back, only just now: it should not take a press that was late.

    Args:
        button: bl_idname of its operator.
    """
    return any(job.just_turned for job in queue.jobs if job.request.button == button)


def test_connection() -> None:
    """Start the worker if there is none and ask how it is; without a window, wait for the answer."""
    queue.test_connection()
    wake()
    while bpy.app.background and queue.busy and not queue.problem:
        tick()
        time.sleep(0.005)


def for_another_file(state: JobState) -> bool:
    """Say whether a job was asked for in a file that is no longer open, and may not change this one.

    Args:
        state: of the job.
    """
    return _files.get(state, _file()) != _file() and state not in _apply_here


def log_lines() -> list[str]:
    """Return the log of the worker and of the add-on, oldest line first."""
    return list(queue.log)


def free_memory() -> None:
    """Ask the worker to give the memory of its models back."""
    queue.free()
    wake()


def stop_worker() -> None:
    """End the worker; the next job starts it again."""
    queue.stop_worker()
    wake()


def tick() -> float | None:
    """Do what can be done without waiting: what the timer calls.

    Returns:
        Seconds until it is wanted again; None when nothing is left to look after.
    """
    global longest_tick_seconds, longest_undo_seconds
    began, keeps_undo = time.perf_counter(), bool(_finished)
    try:
        if keeps_undo:
            _push_undo(_finished.pop(0))
        else:
            _go_on()
    except Exception:  # Blender forgets a timer that raises, and with it every job
        queue.log.append(traceback.format_exc())
        queue.problem = "The add-on failed. This is a defect: copy the log and report it."
    finally:
        seconds = time.perf_counter() - began
        if keeps_undo:
            longest_undo_seconds = max(longest_undo_seconds, seconds)
        else:
            longest_tick_seconds = max(longest_tick_seconds, seconds)
    if keeps_undo:
        return 0.0
    if queue.busy or _waiting:
        return _SECONDS_BETWEEN_TICKS
    return _SECONDS_BETWEEN_LOOKS if queue.alive else None


def wake() -> None:
    """See to it that the timer runs, and soon."""
    if bpy.app.background:
        return
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    bpy.app.timers.register(tick, persistent=True)


def redraw() -> None:
    """Draw the sidebars anew, and the status of nothing else."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _watched(state: JobState) -> JobState:
    _files[state] = _file()
    wake()
    redraw()
    return state


def _go_on() -> None:
    queue.tick()
    for entry in [entry for entry in _waiting if entry[0]()]:
        _waiting.remove(entry)
        entry[1]()
    _redraw_if_changed()


def _redraw_if_changed() -> None:
    global _drawn
    when, before = _drawn
    now = time.monotonic()
    shown = tuple((job.number, job.state, job.stage, job.step, job.seconds_left, job.sentence) for job in queue.jobs)
    changed = (queue.connection, queue.problem, *queue.status.items(), *shown)
    if changed != before and now - when >= _SECONDS_BETWEEN_REDRAWS:
        _drawn = (now, changed)
        redraw()


def _hold(state: JobState) -> str:
    """Why a result cannot be applied now: "" if it can."""
    if for_another_file(state):
        return "Made for a file that is no longer open. Press Apply here to bring the result into this one."
    windows = bpy.context.window_manager.windows
    active = [bpy.context.view_layer.objects.active, *(window.view_layer.objects.active for window in windows)]
    if bpy.context.mode != "OBJECT" or any(thing is not None and thing.mode != "OBJECT" for thing in active):
        return "The result waits for Object Mode: press Tab, or choose the mode in the viewport's header."
    if bpy.app.is_job_running("RENDER"):
        return "The result waits for the render to end."
    modal = [operator.bl_idname for window in windows for operator in window.modal_operators]
    if any(idname.startswith("TRANSFORM_OT_") for idname in modal):
        return "The result waits for the move, turn or scaling to end."
    return ""


def _applied(state: JobState) -> None:
    """A result was applied, whole or not: Blender keeps a step of undo, and draws."""
    _files.pop(state, None)
    _apply_here.discard(state)
    if state.request.changes_scene:
        _finished.append(state)
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "IMAGE_EDITOR", "OUTLINER"):
                area.tag_redraw()


def _push_undo(state: JobState) -> None:
    """A result is one step of undo, from whatever was there before."""
    # Never with `temp_override`: an operator lets go of Python's lock, and looks into an overridden context as if it
    # had it whenever a thread of ours has it, which breaks the memory of both.
    # Blender may refuse, as it did once around File, New; the result then belongs to the step that comes next.
    if bpy.context.window_manager.windows and bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=state.request.label)


def _file() -> str:
    """What tells the open file from others: its path; each that was never saved is one of its own."""
    return bpy.data.filepath or f"unsaved {_unsaved}"


@persistent
def _before_loading(*_: object) -> None:
    _finished.clear()
    queue.start_over()


@persistent
def _after_loading(*_: object) -> None:
    global _unsaved
    references.note_reading()
    _unsaved += 1


@persistent
def _before_saving(*_: object) -> None:
    global _saving
    _saving = _file()


@persistent
def _after_saving(*_: object) -> None:
    """A file that is saved under another name is the same place."""
    for state in [state for state, file in _files.items() if file == _saving]:
        _files[state] = _file()


_HANDLERS = (
    ("load_pre", _before_loading),
    ("load_post", _after_loading),
    ("save_pre", _before_saving),
    ("save_post", _after_saving),
)


def register() -> None:
    """Make the queue; no process is started."""
    global queue, _drawn
    queue = JobQueue(
        lambda: preferences.worker_command(bpy.context),
        lambda: preferences.of(bpy.context).output_folder(),
        _hold,
        _applied,
    )
    _drawn = (0.0, ())
    for handlers, handler in _HANDLERS:
        getattr(bpy.app.handlers, handlers).append(handler)


def unregister() -> None:
    """End the jobs and the worker, and leave no timer behind."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for handlers, handler in _HANDLERS:
        getattr(bpy.app.handlers, handlers).remove(handler)
    queue.close()
    _files.clear()
    _waiting.clear()
    _finished.clear()
    _apply_here.clear()
