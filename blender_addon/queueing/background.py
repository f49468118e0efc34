"""One call in a thread of its own, whose end is asked for and, but for the end of Blender, not waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_A_STEP = 0.002


class Background:
    """A call that runs in a thread from now on.

    A thread that hangs, on a lost network folder say, does not keep Blender from ending.

    Args:
        call: without arguments; touches nothing of Blender's.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether `result` or `error` is there."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait for the end, as when Blender quits.

        Args:
            seconds: at most; after them the thread is left alone.
        """
        self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error


def waited_for(work: Background) -> Iterator[None]:
    """Yield until a thread has ended, each time after a moment that lets it go on.

    Args:
        work: in the thread.
    """
    while not work.finished:
        time.sleep(_SECONDS_A_STEP)
        yield
