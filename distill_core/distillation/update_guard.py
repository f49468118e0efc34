"""Ctrl-C and SIGTERM while a network is trained: never in the middle of an update."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from distill_core.errors import Cancelled


class UpdateGuard:
    """Puts signals off until an update is whole; SIGTERM then raises `Cancelled`, Ctrl-C what it raised before.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._previous: dict[int, object] = {}
        self._whole = False
        self._pending: int | None = None

    def __enter__(self) -> "UpdateGuard":
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def update(self) -> Iterator[None]:
        """Run the block to its end whatever signal arrives."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
        if self._pending is not None:
            number, self._pending = self._pending, None
            self._act(number, None)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._whole:
            self._pending = number
        else:
            self._act(number, frame)

    def _act(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if number == signal.SIGTERM:
            raise Cancelled("asked to end")
        if callable(previous):
            previous(number, frame)
        raise KeyboardInterrupt
