"""One Blender process as the supervisor sees it: started, given a task, heard, measured, ended."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill_core.errors import UserError

_WORKER = Path(__file__).resolve().with_name("worker.py")
_MODULE_PYTHON = Path(__file__).resolve().parents[2] / ".venv-blender" / "bin" / "python"
_START_SECONDS = 600.0  # the first start on a cold disk of a busy machine reads a gigabyte
_DYING_SECONDS = 2.0
_MAX_ANSWER_BYTES = 1 << 20
_LAST_WORDS_BYTES = 16_384
_LEAST_THREADS = 2


class WorkerProcess:
    """A process that is starting; it takes tasks once it was greeted.

    Args:
        command: as `worker_command` gives it.
        folder: for its log and for what Blender keeps for a user.
        number: names its log.
        memory_bytes: what it may take.

    Attributes:
        hello: what the worker said of itself when it was greeted.
        num_tasks: how many tasks it was given.
    """

    def __init__(self, command: list[str], folder: Path, number: int, memory_bytes: int) -> None:
        self._log = folder / f"worker-{number}.log"
        self._memory_bytes = memory_bytes
        self._received = b""
        self._command = command
        self.num_tasks = 0
        self.hello: dict[str, Any] = {}
        with self._log.open("wb"), self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=_environment(folder),
                    # A whole group to end, and Ctrl-C is ours to hear. No session of its own: Linux may share the
                    # processor among sessions first (sched(7), autogroups), and ours may have been put last.
                    process_group=0,
                )
            except OSError as error:
                raise UserError(f"Expected to start Blender as {command[0]}, got: {error.strerror}.") from error
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._send({"memory_bytes": memory_bytes})

    def greet(self) -> dict[str, Any]:
        """Wait until Blender has started, and return what it says of itself.

        Raises:
            WorkerDied: it ended instead.
            UserError: it says nothing for minutes.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self.hello:
            if time.monotonic() > deadline:
                raise UserError(
                    f"Expected Blender to start as {self._command[0]} within {_START_SECONDS:g} s, but it says nothing."
                )
            self.hello = self.answer() or {}
            time.sleep(0.02)
        return self.hello

    def fileno(self) -> int:
        """The descriptor that becomes readable when the worker answers or ends."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def give(self, task: dict[str, Any]) -> None:
        """Hand it a task; a worker that is dead is found out by `answer`."""
        self.num_tasks += 1
        os.truncate(self._log, 0)  # what it says from here on is about this task
        self._send(task)

    def answer(self) -> dict[str, Any] | None:
        """Its next answer, None if there is none yet.

        Raises:
            WorkerDied: it ended.
        """
        assert self._process.stdout is not None
        while True:
            line, found, rest = self._received.partition(b"\n")
            if found:
                self._received = rest
                if (answer := _parsed(line)) is not None:
                    return answer
                continue
            chunk = self._process.stdout.read(65_536)
            if chunk is None:
                return None
            if chunk == b"" or len(self._received) > _MAX_ANSWER_BYTES:
                self._end_by_itself()
                raise WorkerDied(self._last_words())
            self._received += chunk

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def memory_bytes(self) -> int:
        """Resident memory; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.hello['pid']}/statm").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it and whatever it started, at once; an idle worker has nothing to lose."""
        if self._process.returncode is None:  # else its number may be another process's by now
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still to be sent to it
                    stream.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _end_by_itself(self) -> None:
        """Its output has ended: wait for its exit status, but not for long."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_SECONDS)
        self.kill()

    def _last_words(self) -> str:
        status = self._process.returncode
        if status is not None and status < 0:
            ended = f"signal {-status} ({signal.Signals(-status).name})"
        else:
            ended = f"status {status}"
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LAST_WORDS_BYTES))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
        words = [line for line in lines if line and not line.startswith(("Fra:", "Saved:", "Time:"))]
        return f"Blender ended with {ended}" + (f" after {words[-1][:200]!r}" if words else "")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """An answer; None for the banner that an executable writes before the worker takes over its output."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "event" in answer else None


class WorkerDied(Exception):
    """The process ended; how, and what it said last."""


def worker_command(blender: Path | None) -> list[str]:
    """The command line of a worker.

    Args:
        blender: an executable; None takes the bpy module that `make setup-blender` installs.

    Raises:
        UserError: there is none.
    """
    if blender is not None:
        if not os.access(blender, os.X_OK) or blender.is_dir():
            raise UserError(f"--blender: expected Blender's executable, got {blender}; check the path.")
        options = ["--background", "--factory-startup", "--disable-autoexec", "--python-exit-code", "1"]
        return [str(blender.absolute()), *options, "--python", str(_WORKER)]
    if not _MODULE_PYTHON.is_file():
        raise UserError(
            "Expected Blender's Python module in .venv-blender, found none: run make setup-blender, or name an "
            "installed Blender 4.2 or later with --blender."
        )
    return [str(_MODULE_PYTHON), str(_WORKER)]


def worker_threads(num_workers: int, cores: int | None = None) -> int:
    """How many threads each worker renders with: its share of the cores, but two at least.

    With a single one Blender's main thread does not sleep while that one renders: it spins, and takes a second core.

    Args:
        num_workers: that work at a time.
        cores: that they share; None means all that this process may use, which may be fewer than the machine has.
    """
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(_LEAST_THREADS, cores // num_workers)


def _environment(folder: Path) -> dict[str, str]:
    """The person's own add-ons and start-up files stay out; so does another program's Python path."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {
        "BLENDER_USER_RESOURCES": str((folder / "blender_user").absolute()),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
