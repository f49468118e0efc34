"""The process behind the add-on: takes jobs from its input, sends progress and results to its output.

    python -m gs_integration.worker [--idle-seconds 600] [--blender PATH]

`protocol.py` says how it is spoken to. Jobs run one after another; models stay loaded between them and leave the memory
when no job came for a while. Whatever else writes to standard output goes to standard error, which is the log. The
worker ends when its input does, or when it is terminated; it leaves no folder behind. It opens no port.
"""

import argparse
import logging
import os
import platform
import queue
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from distill_core.errors import Cancelled, UserError
from gs_integration.memory import give_back_memory
from gs_integration.protocol import (
    PROTOCOL_VERSION,
    Message,
    ProtocolError,
    name_problem,
    read_message,
    write_files,
    write_message,
)
from gs_integration.worker_progress import JobProgress

if TYPE_CHECKING:
    from gs_integration.worker_jobs import LoadedGenerators

logger = logging.getLogger(__name__)

TASK_NAMES = (
    "image_to_views",
    "image_to_angles",
    "image_to_cameras",
    "image_to_splats",
    "fit_splats",
    "texture_mesh",
    "render_splats",
    "convert_splats",
    "render_dataset",
    "status",
)
"""Of `worker_jobs.TASKS`, which is imported when the first job comes."""

_LIFE_SIGN_SECONDS = 2.0
_GRACE_SECONDS = 5.0
"""How long a job may take to notice that nobody listens any more."""
_TERMINATED_GRACE_SECONDS = 1.0
"""The same where who asked will soon use force."""
_MOST_WAITING_JOBS = 1000


class Worker:
    """Speaks over a pair of streams and runs what it is asked for, one job after another.

    Args:
        incoming: messages to the worker.
        outgoing: messages from the worker; nothing else may write to it.
        idle_seconds: how long models stay in memory when no job comes.
        blender: the executable for what Blender renders; None takes Blender's Python module.
    """

    def __init__(
        self, incoming: BinaryIO, outgoing: BinaryIO, idle_seconds: float, blender: Path | None = None
    ) -> None:
        self._incoming, self._outgoing, self._idle_seconds = incoming, outgoing, idle_seconds
        self._blender = blender
        self._writing = threading.Lock()
        self._waiting: queue.Queue[tuple[Message, JobProgress] | None] = queue.Queue()
        self._jobs: dict[str, JobProgress] = {}
        self._running: JobProgress | None = None
        self._closing, self._finished = threading.Event(), threading.Event()
        self._status = 0
        self._generators: LoadedGenerators | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="onestep3d-worker-"))

    @property
    def folder(self) -> Path:
        """What its jobs write, gone when it ends."""
        return self._folder

    def serve(self) -> int:
        """Say hello, then work until the input closes.

        Returns:
            The exit status.
        """
        self._send(
            Message(
                "hello",
                {
                    "protocol": PROTOCOL_VERSION,
                    "version": _version(),
                    "python": platform.python_version(),
                    "process": os.getpid(),
                    "tasks": list(TASK_NAMES),
                },
            )
        )
        for target in (self._listen, self._show_life):
            threading.Thread(target=target, daemon=True).start()
        try:
            while True:
                try:
                    entry = self._waiting.get(timeout=self._idle_seconds if self._generators else None)
                except queue.Empty:
                    logger.info("No job for %g seconds: models leave the memory.", self._idle_seconds)
                    self._free()
                    continue
                if entry is None:
                    return self._status
                if not self._closing.is_set():
                    self._work(*entry)
                del entry  # which would keep its files until the next came
                give_back_memory()
        finally:
            self._remove_folder()
            self._finished.set()

    def _listen(self) -> None:
        """Take messages until the input closes; then end the process, if need be by force."""
        try:
            while self._take_message():
                pass
        except OSError as error:
            logger.warning("The input broke: %s", error)
        self._leave(_GRACE_SECONDS)

    def terminate(self) -> None:
        """End the process as a signal to terminate wants it: soon, with its folder and its children."""
        self._status = 128 + signal.SIGTERM
        self._leave(_TERMINATED_GRACE_SECONDS)

    def _leave(self, grace_seconds: float) -> None:
        """End once the job that runs has noticed; what does not notice is ended."""
        self._stop_working()
        if not self._finished.wait(grace_seconds):
            self._remove_folder()
            if os.name == "posix" and os.getpgrp() == os.getpid():
                os.killpg(0, signal.SIGTERM)  # what a job has started; this process only notes it
            os._exit(self._status)

    def _stop_working(self) -> None:
        self._closing.set()
        for progress in list(self._jobs.values()):
            progress.cancelled.set()
        self._waiting.put(None)

    def _take_message(self) -> bool:
        """Take one message; False when there will be no more."""
        try:
            message = read_message(self._incoming)
        except ProtocolError as error:
            self._send_error(None, "message", "A message was refused.", str(error), "Update the program that sent it.")
            return error.in_step
        except MemoryError:
            self._send_error(None, "memory", "A message was too large.", "The memory is full.", "Close other programs.")
            return False
        if message is None or message.kind == "bye":
            return False
        job = message.text("job")
        if job is None or not 1 <= len(job) <= 100:
            self._refuse(None, f"expected a job of 1 to 100 letters in '{message.kind[:40]}'")
        elif message.kind == "cancel":
            if (progress := self._jobs.get(job)) is not None:
                progress.cancelled.set()
        elif message.kind not in ("run", "free"):
            self._refuse(job, f"expected run, cancel, free or bye, got '{message.kind[:40]}'")
        elif job in self._jobs:
            self._refuse(None, f"job {job} is there already")
        elif len(self._jobs) >= _MOST_WAITING_JOBS:
            self._refuse(job, f"{_MOST_WAITING_JOBS} jobs are waiting already")
        else:
            progress = self._jobs[job] = JobProgress(job, self._send)
            self._waiting.put((message, progress))
        return True

    def _work(self, message: Message, progress: JobProgress) -> None:
        """Run one job to its result or error."""
        self._running = progress
        folder = self._folder / "job"
        try:
            if message.kind == "free":
                self._free()
                self._send(Message("result", {"job": progress.job, "findings": {"model_loaded": False}}))
                return
            folder.mkdir()
            self._send(self._result(message, progress, folder))
        except BaseException as error:
            self._explain(message, progress, error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._running = None
            del self._jobs[progress.job]

    def _result(self, message: Message, progress: JobProgress, folder: Path) -> Message:
        progress.stage("starting", None)
        name, settings = message.text("task"), message.fields.get("settings", {})
        if name not in TASK_NAMES:
            raise UserError(f"Expected a task of {', '.join(TASK_NAMES)}, got {name!r}; update the older side.")
        if not isinstance(settings, Mapping):
            raise UserError("Expected settings by name, got something else; update the program that asked.")
        (folder / "inputs").mkdir()
        write_files(message.attachments, folder / "inputs")
        from gs_integration.worker_jobs import TASKS, Job, LoadedGenerators

        self._generators = self._generators or LoadedGenerators()
        job = Job(settings, folder / "inputs", folder / "results", progress, self._generators, self._blender)
        findings = dict(TASKS[name](job))
        if isinstance(warnings := findings.get("warnings"), list):
            findings["warnings"] = [self._without_folders(str(warning)) for warning in warnings]
        # A cancel that came during the last step is obeyed: who asked for it expects no result.
        progress.advance(0)
        return Message("result", {"job": progress.job, "findings": findings}, _files_of(job.results))

    def _without_folders(self, sentence: str) -> str:
        """Where the worker keeps the files of a job is nobody's business."""
        return sentence.replace(f"{self._folder / 'job' / 'inputs'}{os.sep}", "")

    def _explain(self, message: Message, progress: JobProgress, error: BaseException) -> None:
        """Send what went wrong, and what to do."""
        if self._status:
            return  # it was not the job's affair, and how the worker ended tells who asked
        job, what = progress.job, f"{message.text('task', 40) or 'The job'} did not finish."
        if isinstance(error, Cancelled):
            self._send_error(job, "cancelled", what, "It was cancelled.", "")
        elif isinstance(error, UserError):
            # Such a sentence says itself what to do.
            self._send_error(job, "person", "", self._without_folders(str(error)), "")
        elif isinstance(error, ProtocolError):
            self._send_error(job, "message", what, str(error), "Update the program that sent it.")
        elif _is_memory(error):
            logger.error("Out of memory in %s", what, exc_info=error)
            del error
            self._free()
            advice = "Choose fewer views, fewer splats or a smaller texture, or close other programs."
            self._send_error(job, "memory", what, "The memory is full.", advice)
        elif isinstance(error, OSError):
            advice = "Free some space on the disk, or correct the permissions, and run it again."
            self._send_error(job, "person", what, str(error), advice)
        else:
            logger.error("%s", "".join(traceback.format_exception(error)))
            why = f"{type(error).__name__}: {error}"[:1000]
            self._send_error(job, "bug", what, why, "This is a defect: copy the log and report it.")

    def _refuse(self, job: str | None, why: str) -> None:
        self._send_error(job, "message", "A message was refused.", f"Refused: {why}.", "Update the older side.")

    def _send_error(self, job: str | None, cause: str, what: str, why: str, what_to_do: str) -> None:
        fields = {"job": job, "cause": cause, "what": what, "why": why, "what_to_do": what_to_do}
        self._send(Message("error", fields))

    def _send(self, message: Message) -> None:
        """Send a message, from whatever thread; when nobody listens any more, the worker ends."""
        try:
            with self._writing:
                write_message(self._outgoing, message)
        except (OSError, ValueError) as error:
            logger.warning("Nobody listens any more: %s", error)
            self._stop_working()

    def _show_life(self) -> None:
        """Repeat the progress of the job that runs while it has nothing new to say."""
        while not self._finished.wait(_LIFE_SIGN_SECONDS):
            running = self._running
            if running is not None and running.seconds_since_event > _LIFE_SIGN_SECONDS:
                running.say()

    def _free(self) -> None:
        if self._generators is not None:
            self._generators.free()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve until the input closes.

    Args:
        arguments: what to parse instead of the command line.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m gs_integration.worker", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--idle-seconds", type=float, default=600.0, help="how long models stay in memory when no job comes"
    )
    parser.add_argument(
        "--blender", type=Path, help="Blender's executable, for records that Blender renders; none takes its module"
    )
    options = parser.parse_args(arguments)
    incoming, outgoing = _private_pipes()
    # Ctrl-C in the terminal of the program that asked reaches its children too; that program decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Numba would try Intel's pool first, find the one that Open3D brought into the process, and warn of its age.
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")
    worker = Worker(incoming, outgoing, max(1.0, options.idle_seconds), options.blender)
    if os.name == "posix":
        _hear_termination(worker)
    tempfile.tempdir = str(worker.folder)  # of whatever a job uses: a worker that is ended tidies up one folder
    return worker.serve()


def _hear_termination(worker: Worker) -> None:
    """End the worker when it is terminated, also while its main thread is within one long call of a library."""
    # Python's own handlers wait for the main thread; the byte is written at once.
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)

    def listen() -> None:
        while os.read(reads, 1) != bytes([signal.SIGTERM]):
            pass
        worker.terminate()

    threading.Thread(target=listen, daemon=True).start()


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for messages; what others print to standard output goes to standard error."""
    # Copies of descriptors are not inherited: a child that outlives the worker does not keep its pipes open.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return incoming, outgoing


def _files_of(folder: Path) -> dict[str, bytes]:
    """The files of a result by their paths in its folder; none where a task leaves no files."""
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    named = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    assert all(name_problem(name) is None for name in named)
    return named


def _is_memory(error: BaseException) -> bool:
    """Whether the memory is full; torch says so with errors of its own."""
    said = str(error)
    return (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in said
    )


def _version() -> str:
    try:
        return metadata.version("onestep3d")
    except metadata.PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
