"""What a worker says of a job, checked: it may be of another make, and must not break what shows it. No bpy here."""

import collections
import traceback
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from ..processes.client import Event
from .job_requests import JobError, JobRequest, JobState

_WIDEST_PREVIEW_PX = 1024
_LONGEST_STAGE = 60
_LARGEST_NUMBER = 1e15
"""Of bytes, steps or seconds; what is larger is a mistake, and may not even fit a float."""


def plain_number(found: object) -> float | None:
    """Return a number that a worker said; None if it is none, not finite, or too large to mean anything.

    Args:
        found: of a message.
    """
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= _LARGEST_NUMBER:
        return None
    return float(found)


def plain_texts(found: object) -> list[str]:
    """Return the texts of a list that a worker said; none if it is no list.

    Args:
        found: of a message.
    """
    return [text for text in found if isinstance(text, str) and text] if isinstance(found, list) else []


def show_progress(state: JobState, fields: Mapping[str, Any]) -> None:
    """Note where a job stands; a worker of another make may leave fields out.

    Args:
        state: of the job.
        fields: of the message.
    """
    stage = fields.get("stage")
    step, total, left = (plain_number(fields.get(name)) for name in ("step", "total", "seconds_left"))
    state.stage = stage[:_LONGEST_STAGE] if isinstance(stage, str) else state.stage
    state.step = max(0, int(step or 0))
    state.total = int(total) if total is not None and total >= 1 else None
    state.seconds_left = max(0.0, left) if left is not None else None


def show_preview(state: JobState, event: Event, log: "collections.deque[str]") -> None:
    """Show the picture that came with a progress, if the job wants it and it is one.

    Args:
        state: of the job.
        event: with the attachments of the message.
        log: gets the traceback of a defect, which must not cost the job.
    """
    preview = event.attachments.get("preview")
    show = state.request.preview if isinstance(state.request, JobRequest) else None
    if show is None or state.cancelling or not _is_picture(preview):
        return
    try:
        show(preview)
    except JobError:
        pass  # what it was shown on is gone; the result will say so
    except Exception:
        log.append(traceback.format_exc())


def _is_picture(found: object) -> TypeGuard[np.ndarray]:
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.ndim != 3:
        return False
    return found.shape[2] == 3 and 1 <= min(found.shape[:2]) and max(found.shape[:2]) <= _WIDEST_PREVIEW_PX
