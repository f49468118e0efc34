"""Batches made in background threads while the network computes."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Prefetch:
    """Draws step after step ahead of their use, in order.

    Args:
        draw: Pure function of a step, safe in threads.
        first_step: The first step that will be asked for.
        threads: How many draw at the same time.
    """

    def __init__(self, draw: Callable[[int], Any], first_step: int, threads: int) -> None:
        self._draw = draw
        self._next = first_step
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._waiting: deque[Future[Any]] = deque()
        self._ahead = threads + 1

    def __enter__(self) -> "Prefetch":
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self) -> Any:
        """Return the next step's data; what `draw` raised is raised here."""
        drawn = self._waiting.popleft()
        self._fill()
        return drawn.result()

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead:
            self._waiting.append(self._pool.submit(self._draw, self._next))
            self._next += 1
