"""A program that takes minutes, run by a thread: its lines heard as they come, ended with its children when asked.

No bpy here.
"""

import collections
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

_POLL_SECONDS = 0.1
_DYING_SECONDS = 3.0
_LAST_LINES = 12
_LONGEST_LINE = 4000
# Blender's own: another Python must not look for its modules there.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX")


class ProgramFailed(Exception):
    """A program ended with an error.

    Args:
        status: its exit status; negative where a signal ended it.
        lines: the last that it said.
    """

    def __init__(self, status: int, lines: Sequence[str]) -> None:
        super().__init__(f"status {status}: {' | '.join(lines[-3:])}")
        self.status, self.lines = status, list(lines)


def clean_environment(**additions: str) -> dict[str, str]:
    """Return this process's environment without what belongs to Blender's own Python.

    Args:
        additions: variables that are added.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", **additions}


def run_logged(
    command: Sequence[str],
    *,
    heard: Callable[[str], None],
    check: Callable[[], None],
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """Run a program to its end.

    Args:
        command: program and arguments; no shell reads them.
        heard: gets each line of its output.
        check: is called several times a second; what it raises ends the program and is raised here.
        environment: of the program; `clean_environment()` if not given.

    Returns:
        The last lines that it said.

    Raises:
        ProgramFailed: it ended with another status than 0.
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment or clean_environment()),
        start_new_session=os.name == "posix",
        creationflags=0 if os.name == "posix" else subprocess.CREATE_NO_WINDOW,  # type: ignore[attr-defined]
    )
    arrived: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_lines, args=(process, arrived), daemon=True)
    reader.start()
    last: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    try:
        while True:
            check()
            try:
                line = arrived.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                # A grandchild may hold the pipe open after the program itself has ended.
                if process.poll() is not None and not reader.is_alive():
                    break
                continue
            if line is None:
                break
            if line:
                last.append(line)
                heard(line)
        status = process.wait()
    finally:
        _end(process)
    if status != 0:
        raise ProgramFailed(status, list(last))
    return list(last)


def _read_lines(process: "subprocess.Popen[bytes]", arrived: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        while line := stream.readline(_LONGEST_LINE):
            # Bars that are drawn over themselves end in carriage returns.
            arrived.put(line.decode("utf-8", "replace").rstrip().rpartition("\r")[2])
    arrived.put(None)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, and what it started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_DYING_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    process.wait()
