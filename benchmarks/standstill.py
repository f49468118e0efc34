"""When the whole machine stood still: no processor answered an alarm that goes before everything else on it (Linux).

The host of a virtual machine may leave it without a processor for a tenth of a second, and what a program did not do
meanwhile is not its fault. A sleeper on each processor, at real-time priority (sched(7), SCHED_FIFO), asks to be woken
every few milliseconds: a program with other priority cannot keep it waiting, let alone those of all processors at once.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from types import TracebackType

Span = tuple[float, float]
"""Begin and end, in seconds of `time.perf_counter`."""

_SLEEP_SECONDS = 0.004
_LATE_SECONDS = 0.01
_PRIORITY = 50
_START_SECONDS = 10.0


class StandstillWatch:
    """Watches the processors that this process may use; a context manager.

    Attributes:
        possible: whether the system admits real-time priority; where not, nothing is ever found.
    """

    def __init__(self) -> None:
        self.possible = False
        self._sleepers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "StandstillWatch":
        """Start the sleepers."""
        self._folder = tempfile.TemporaryDirectory(prefix="onestep3d-standstill-")
        if sys.platform != "linux":
            return self
        for processor in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, __file__, str(processor), str(os.getpid())]
            with self._file(processor).open("wb") as spans:
                self._sleepers.append(subprocess.Popen(command, stdout=spans, stderr=subprocess.DEVNULL))
        self.possible = all(self._begun(processor) for processor in range(len(self._sleepers)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        for sleeper in self._sleepers:
            sleeper.terminate()
            sleeper.wait()
        self._folder.cleanup()

    def spans(self) -> list[Span]:
        """Return when all processors stood still at once, the earliest first."""
        if not self.possible:
            return []
        late = [_read(self._file(processor)) for processor in range(len(self._sleepers))]
        return reduce(common_spans, late)

    def _file(self, processor: int) -> Path:
        return Path(self._folder.name) / str(processor)

    def _begun(self, processor: int) -> bool:
        """Whether a sleeper sleeps; one that may not has ended."""
        began = time.monotonic()
        while time.monotonic() - began < _START_SECONDS and self._sleepers[processor].poll() is None:
            if self._file(processor).stat().st_size:
                return True
            time.sleep(_SLEEP_SECONDS)
        return False


def common_spans(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Return what two lists of spans have in common.

    Args:
        first: spans that do not overlap.
        second: others of the kind.
    """
    both = [(max(a, c), min(b, d)) for a, b in first for c, d in second]
    return sorted(span for span in both if span[0] < span[1])


def seconds_within(spans: Sequence[Span], begin: float, end: float) -> float:
    """Return how much of a time lies in spans.

    Args:
        spans: do not overlap.
        begin: of the time.
        end: of the time.
    """
    return sum(stop - start for start, stop in common_spans(spans, [(begin, end)]))


def _read(file: Path) -> list[Span]:
    """What a sleeper wrote: whole lines, the first of which says that it has begun."""
    lines = file.read_text(encoding="ascii").split("\n")[1:-1]
    return [(float(begin), float(end)) for begin, end in (line.split() for line in lines)]


def _sleep(processor: int, parent: int) -> None:
    """Sleep on one processor, and write down when waking came late, until the parent is gone."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    os.write(1, b"asleep\n")
    wanted = time.perf_counter() + _SLEEP_SECONDS
    while os.getppid() == parent:
        time.sleep(_SLEEP_SECONDS)
        now = time.perf_counter()
        if now - wanted >= _LATE_SECONDS:
            os.write(1, f"{wanted!r} {now!r}\n".encode())
        wanted = time.perf_counter() + _SLEEP_SECONDS


if __name__ == "__main__":
    _sleep(int(sys.argv[1]), int(sys.argv[2]))
