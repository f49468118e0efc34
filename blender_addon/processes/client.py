"""The add-on's end of the pipe: starts the worker, sends it jobs, hears it without ever waiting.

Every call returns at once: one thread writes, one reads, one keeps the worker's log. `poll` hands over what arrived.
Standard library alone, and the protocol, which the build copies beside this file from `gs_integration`.
"""

import collections
import itertools
import os
import queue
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..protocol import PROTOCOL_VERSION, Attachment, Message, ProtocolError
from .worker_pipes import Unsent, WorkerPipes

_LOG_LINES = 2000
_NICENESS = 10
"""What a person sees and touches goes before what is computed."""
_SSH_FAILED = 255
"""Status of ssh for an error of its own; any other is that of the program over there."""

_POLITE_SECONDS, _TIDYING_SECONDS = 0.5, 2.0
"""How long a worker may take to end when Blender quits: when it was asked to, and when it was terminated."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Args:
        hello: for the first message after the start.
        silence: for a sign of life while a job runs; a chunk of a transfer, either way, is one.
        cancel: for a job to end after it was cancelled.
        terminate: for the process to end after it was asked to.
    """

    hello: float = 60.0
    silence: float = 30.0
    cancel: float = 2.0
    terminate: float = 2.0


@dataclass(frozen=True)
class Event:
    """What happened.

    Args:
        kind: "ready" (the worker said hello), "progress", "result", "error" (of a job), or "ended" (of the worker).
        job: which job; None if it is not about one.
        fields: of the message.
        attachments: of the message.
        sentence: of an error or an end: one line for the person, with what to do.
    """

    kind: str
    job: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    sentence: str = ""


class WorkerClient:
    """One worker process and what is said to it and by it.

    Args:
        command: the program and its arguments; no shell reads it.
        patience: when silence becomes an error.
        environment: of the process; that of this one if not given.
    """

    def __init__(
        self,
        command: Sequence[str],
        patience: Patience | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command, self.patience = list(command), patience or Patience()
        self.hello: Mapping[str, Any] | None = None
        self.log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self._environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: WorkerPipes | None = None
        self._numbers = itertools.count(1)
        self._jobs: list[str] = []
        self._cancelled: dict[str, float] = {}
        self._ending_since: float | None = None
        self._heard = 0.0
        self._reason = ""
        self._drained, self._swept = False, False

    @property
    def alive(self) -> bool:
        """Whether there is a process, ready or not."""
        return self._process is not None

    @property
    def ready(self) -> bool:
        """Whether the worker takes jobs."""
        return self.alive and self.hello is not None and self._ending_since is None

    @property
    def ending(self) -> bool:
        """Whether the process was asked to end, or is about to be buried."""
        return self.alive and self._ending_since is not None

    @property
    def jobs(self) -> tuple[str, ...]:
        """Jobs that have neither result nor error yet, the one that runs first."""
        return tuple(self._jobs)

    def start(self) -> Event | None:
        """Start the process.

        Returns:
            None, or at once an "ended" if the program cannot be started.
        """
        if self._process is not None:
            return None
        self.hello, self._ending_since, self._reason, self._heard = None, None, "", time.monotonic()
        self._drained = False
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                # Ctrl-C in Blender's terminal is Blender's affair.
                start_new_session=os.name == "posix",
                creationflags=0 if os.name == "posix" else _windows_flags(),
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Event(
                "ended",
                sentence=f"Cannot start the worker {self.command[0]}: {why}. Choose its Python in the preferences.",
            )
        process = self._process
        if os.name == "posix":
            _put_last(process.pid)
        self._pipes = WorkerPipes(process, self.log)
        return None

    def run(
        self, task: str, settings: Mapping[str, Any] | None = None, files: Mapping[str, Attachment] | None = None
    ) -> str:
        """Ask for a job; may be called as soon as the process is started.

        Args:
            task: one of the tasks that the worker named.
            settings: of the task; plain JSON values.
            files: what the task needs, by name.

        Returns:
            The job's number, which its events bear.

        Raises:
            RuntimeError: there is no process.
        """
        return self._ask(Message("run", {"task": task, "settings": dict(settings or {})}, dict(files or {})))

    def free(self) -> str:
        """Ask the worker to give the memory of its models back, after the jobs before it.

        Raises:
            RuntimeError: there is no process.
        """
        return self._ask(Message("free"))

    def cancel(self, job: str) -> None:
        """Cancel a job; a worker that does not obey in time is ended.

        Args:
            job: its number; one that has ended is left alone.
        """
        if job in self._jobs and job not in self._cancelled:
            self._cancelled[job] = time.monotonic()
            self._say(Message("cancel", {"job": job}))

    def stop(self, reason: str = "") -> None:
        """Ask the worker to end; if it does not, it is terminated and then killed.

        Args:
            reason: one line for the person, if the worker is ended for a fault of its own.
        """
        if self._process is not None and self._ending_since is None:
            self._reason = self._reason or reason
            self._ending_since = time.monotonic()
            self._say(Message("bye"))
            self._say(None)

    def kill(self) -> None:
        """End the process now and wait for it, as when Blender quits: asked first, so that it can tidy up."""
        if (process := self._process) is None:
            return
        self._say(Message("bye"))
        self._say(None)
        for number, seconds in ((None, _POLITE_SECONDS), (signal.SIGTERM, _TIDYING_SECONDS), (_KILL, None)):
            if number is not None:
                self._signal(process, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        self._signal(process, _KILL)  # what it started, and did not end

    def poll(self) -> list[Event]:
        """Return what happened since the last call, and see to a worker that does not answer."""
        events: list[Event] = []
        while self._pipes is not None:
            try:
                arrived = self._pipes.arrived.get_nowait()
            except queue.Empty:
                break
            if isinstance(arrived, Unsent):
                self._forget(arrived.job)
                events.append(Event("error", arrived.job, {"cause": "person"}, sentence=str(arrived)))
                continue
            self._heard = time.monotonic()
            if isinstance(arrived, ProtocolError):
                self._fail(
                    f"The worker said what is no message ({arrived}) Its Python may print or be another program."
                )
            elif arrived is None:
                self._drained = True
                self._begin_to_end()
            elif (event := self._event(arrived)) is not None:
                events.append(event)
        if self._process is not None:
            self._check_patience(self._process)
            events += self._burial(self._process)
        return events

    def _ask(self, message: Message) -> str:
        if self._process is None:
            raise RuntimeError("start the worker before it is asked")
        job = str(next(self._numbers))
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._heard = time.monotonic()
        self._say(Message(message.kind, {"job": job, **message.fields}, message.attachments))
        return job

    def _say(self, message: Message | None) -> None:
        if self._pipes is not None:
            self._pipes.outbox.put(message)

    def _event(self, message: Message) -> Event | None:
        """What a message means; a worker that speaks out of turn is ended."""
        if self._ending_since is not None and self._reason:
            return None
        if self.hello is None:
            spoken = message.fields.get("protocol")
            if message.kind != "hello":
                self._fail(f"The worker began with '{message.kind[:40]}', expected hello. Choose its Python again.")
            elif spoken != PROTOCOL_VERSION:
                self._fail(
                    f"The worker speaks version {str(spoken)[:20]} of the protocol, the add-on version "
                    f"{PROTOCOL_VERSION}. Update the older of the two."
                )
            else:
                self.hello = message.fields
                return Event("ready", fields=message.fields)
            return None
        job = message.text("job")
        if message.kind not in ("progress", "result", "error") or (job is not None and job not in self._jobs):
            return None  # a later worker's news, or of a job that was given up
        if message.kind == "error" or message.kind == "result":
            self._forget(job)
        sentence = ""
        if message.kind == "error":
            sentence = " ".join(filter(None, (message.text(name) for name in ("what", "why", "what_to_do"))))
        return Event(message.kind, job, message.fields, message.attachments, " ".join(sentence.split()))

    def _check_patience(self, process: "subprocess.Popen[bytes]") -> None:
        """End what is silent for too long: first by word, then by signal."""
        now = time.monotonic()
        if self._ending_since is not None:
            overdue = now - self._ending_since
            if overdue > self.patience.terminate and process.poll() is None:
                self._reason = self._reason or "The worker did not end when it was asked to, and was ended."
                self._signal(process, _KILL if overdue > 2 * self.patience.terminate else signal.SIGTERM)
        elif self.hello is None and now - self._heard > self.patience.hello:
            self._fail(f"The worker did not say hello within {self.patience.hello:g} s. See its log, or try again.")
        elif any(now - since > self.patience.cancel for since in self._cancelled.values()):
            self._fail("The worker did not stop the cancelled job in time and was ended. It starts again by itself.")
        elif self._jobs and self.hello is not None and now - self._sign_of_life() > self.patience.silence:
            self._fail(
                f"The worker gave no sign of life for {self.patience.silence:g} s and was ended. Run the job again."
            )

    def _sign_of_life(self) -> float:
        """When the worker last spoke, or a part of a message went to it or came from it."""
        return max(self._heard, self._pipes.moved if self._pipes is not None else 0.0)

    def _fail(self, sentence: str) -> None:
        """End a worker that is at fault, now: it was not asked in vain before."""
        self.stop(sentence)
        if self._process is not None:
            self._signal(self._process, signal.SIGTERM)

    def _begin_to_end(self) -> None:
        if self._ending_since is None:
            self._ending_since = time.monotonic()
            self._say(None)

    def _burial(self, process: "subprocess.Popen[bytes]") -> list[Event]:
        """Events of a process that is no more: an error for each job that it owed, and its end."""
        status = process.poll()
        if status is None:
            return []
        self._begin_to_end()
        if not self._swept:
            self._swept = True
            self._signal(process, _KILL)  # what it started, and did not end
        # Its last words may still be in the pipe, which a child of its own may keep open.
        if not self._drained and time.monotonic() - (self._ending_since or 0.0) < 2 * self.patience.terminate:
            return []
        sentence = self._reason or _sentence_of(status, self.command, self._pipes.last_line if self._pipes else "")
        events = [
            Event("error", job, {"cause": "cancelled" if job in self._cancelled else "worker"}, sentence=sentence)
            for job in self._jobs
        ]
        self._process, self._pipes, self.hello, self._ending_since = None, None, None, None
        self._jobs.clear()
        self._cancelled.clear()
        return [*events, Event("ended", fields={"status": status}, sentence=sentence)]

    def _forget(self, job: str | None) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if job is not None:
            self._cancelled.pop(job, None)

    def _signal(self, process: "subprocess.Popen[bytes]", number: int) -> None:
        """Signal the process and, where it has a group of its own, what it started."""
        with suppress(OSError):  # it is gone already
            if os.name == "posix":
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)


def _put_last(process: int) -> None:
    """Leave others most of the processor that a process, the leader of a session of its own, and its children want."""
    with suppress(OSError):  # it is gone already
        os.setpriority(os.PRIO_PROCESS, process, _NICENESS)
    # Linux may share the processor among sessions first (sched(7), autogroups), and the above counts within one alone.
    with suppress(OSError):  # another system, or a kernel without
        Path(f"/proc/{process}/autogroup").write_text(str(_NICENESS))


def _windows_flags() -> int:
    return subprocess.CREATE_NO_WINDOW | subprocess.BELOW_NORMAL_PRIORITY_CLASS  # type: ignore[attr-defined]


def _sentence_of(status: int, command: Sequence[str], last_line: str) -> str:
    """One line about how a process ended by itself."""
    if status == _SSH_FAILED and os.path.basename(command[0]).partition(".")[0] == "ssh":
        said = f" ({last_line[:200].rstrip('.')})" if last_line else ""
        return (
            f"The connection to {command[-2]} failed or broke{said}. See that ssh enters that machine without a "
            "password, then run the job again."
        )
    if status == 0:
        return "The worker has ended."
    # A worker that was terminated tidies up, and ends as a shell would say it.
    number = -status if status < 0 else status - 128
    if status < 0 or number == signal.SIGTERM:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"The worker was killed ({name}), perhaps because the memory was full. Close other programs, try again."
    said = f" ({last_line[:200].rstrip('.')})" if last_line else ""
    return f"The worker ended with status {status}{said}. Its log says more; Test Connection starts it again."
