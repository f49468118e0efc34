"""What a job in the worker says while it runs, and how it hears that it should stop. No torch here."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from distill_core.errors import Cancelled
from gs_integration.protocol import Message

_SECONDS_BETWEEN_EVENTS = 0.1
_SECONDS_BETWEEN_PREVIEWS = 0.5
_WIDEST_PREVIEW_PX = 512


class JobProgress:
    """The `Progress` of one job, sent to who asked for it.

    Args:
        job: names the job in every event.
        send: takes a message; may be called from several threads.
    """

    def __init__(self, job: str, send: Callable[[Message], None]) -> None:
        self.job = job
        self.cancelled = threading.Event()
        self._send = send
        self._lock = threading.Lock()
        self._stage, self._step, self._total = "waiting", 0, None
        self._spoke = self._previewed = self._first_ended = 0.0
        self._first_steps = 0

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps (None when the number is not known).

        Raises:
            Cancelled: the job was cancelled.
        """
        self._check()
        with self._lock:
            self._stage, self._step, self._total, self._first_steps = name, 0, total, 0
        self.say()

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        """Report `n` finished steps and perhaps a preview [3, H, W] in 0..1; events that come too fast are left out.

        Raises:
            Cancelled: the job was cancelled.
        """
        self._check()
        now = time.monotonic()
        with self._lock:
            if not self._step:
                self._first_ended, self._first_steps = now, n
            self._step += n
        if preview is not None and now - self._previewed >= _SECONDS_BETWEEN_PREVIEWS:
            self._previewed = now
            self.say(_preview_bytes(preview))
        elif now - self._spoke >= _SECONDS_BETWEEN_EVENTS:
            self.say()

    def say(self, preview: np.ndarray | None = None) -> None:
        """Send where the job stands.

        Args:
            preview: [H, W, 3] bytes, row 0 on top.
        """
        with self._lock:
            self._spoke = time.monotonic()
            fields: dict[str, Any] = {
                "job": self.job,
                "stage": self._stage,
                "step": self._step,
                "total": self._total,
                "seconds_left": self._seconds_left(),
            }
        self._send(Message("progress", fields, {} if preview is None else {"preview": preview}))

    @property
    def seconds_since_event(self) -> float:
        """How long ago the last event was sent."""
        return time.monotonic() - self._spoke

    def _check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled("asked to stop")

    def _seconds_left(self) -> float | None:
        # The first step may have waited for kernels to be compiled; those that follow say how fast it goes.
        timed = self._step - self._first_steps
        if not self._total or timed <= 0:
            return None
        elapsed = time.monotonic() - self._first_ended
        return round(elapsed * max(self._total - self._step, 0) / timed, 1)


def _preview_bytes(preview: np.ndarray) -> np.ndarray:
    """[H, W, 3] bytes of a picture [3, H, W] in 0..1, every so many pixels of one that is too large."""
    stride = -(-max(preview.shape[1:]) // _WIDEST_PREVIEW_PX)
    small = preview[:3, ::stride, ::stride].transpose(1, 2, 0)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
