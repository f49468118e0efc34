"""What a person sees while a job runs: log lines, and the stage with its time left."""

import logging
import sys
import time
import warnings
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

_OWN_PACKAGES = ("distill_core", "renderers", "gs_integration", "scripts", "benchmarks", "__main__")
_PLAIN_INTERVAL_SECONDS = 5.0

# One console, so that log lines appear above a moving bar and not through it. Standard output is for results.
_console = Console(stderr=True, highlight=False, soft_wrap=True)


class _OneLineOnce(logging.Handler):
    """Writes each message once, in one line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._shown: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Admit warnings of anybody, and what this project has to say besides."""
        return record.levelno >= logging.WARNING or record.name.split(".")[0] in _OWN_PACKAGES

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record unless it was written before."""
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        if text not in self._shown:
            self._shown.add(text)
            _console.print(text, markup=False)


def _log_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    logging.getLogger("warnings").warning("%s (%s)", message, category.__name__)


def show_log() -> None:
    """Send this project's messages and everybody's warnings to standard error, each once, in one line."""
    root = logging.getLogger()
    root.addHandler(_OneLineOnce())
    root.setLevel(logging.INFO)
    warnings.showwarning = _log_warning


def _start_bar() -> Progress:
    bar = Progress(
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeLeftColumn(),
        TextColumn("left"),
        console=_console,
        # Results that go to a file or a pipe must not be drawn above the bar instead.
        redirect_stdout=sys.stdout.isatty(),
    )
    bar.start()
    return bar


class TerminalProgress:
    """The `Progress` of a command line: a moving bar in a terminal, plain lines elsewhere. Never cancels."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._total: int | None = None
        self._done = 0
        self._began = self._spoke = self._first_ended = 0.0
        self._first_steps = 0

    def __enter__(self) -> "TerminalProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._end_stage()
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps (None when the number is not known)."""
        self._end_stage()
        self._name, self._total, self._done = name, total, 0
        self._began = self._spoke = time.monotonic()
        if _console.is_terminal:
            self._bar = self._bar or _start_bar()
            self._task = self._bar.add_task(name, total=total)
        else:
            self._write(f"{name} ...")

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        """Report `n` finished steps; a terminal shows no preview."""
        if not self._done:
            self._first_ended, self._first_steps = time.monotonic(), n
        self._done += n
        if self._bar is not None:
            if self._task is not None:
                self._bar.advance(self._task, n)
        elif time.monotonic() - self._spoke >= _PLAIN_INTERVAL_SECONDS:
            self._spoke = time.monotonic()
            self._write(f"{self._name}: {self._counted()}, {self._time_left()}")

    def _end_stage(self) -> None:
        if not self._name:
            return
        seconds = time.monotonic() - self._began
        if self._bar is not None and self._task is not None:
            total = self._total if self._total is not None else max(self._done, 1)
            self._bar.update(self._task, total=total, completed=total)
            self._bar.stop_task(self._task)
        elif self._bar is None:
            self._write(f"{self._name}: done in {seconds:.1f} s")
        self._name = ""

    def _counted(self) -> str:
        return f"{self._done} steps" if self._total is None else f"{self._done} of {self._total}"

    def _time_left(self) -> str:
        # The first step may have waited for kernels to be compiled; those that follow say how fast it goes.
        timed = self._done - self._first_steps
        if not self._total or timed <= 0:
            return f"{time.monotonic() - self._began:.0f} s so far"
        elapsed = time.monotonic() - self._first_ended
        return f"about {elapsed * max(self._total - self._done, 0) / timed:.0f} s left"

    def _write(self, text: str) -> None:
        _console.print(text, markup=False)
        sys.stderr.flush()
