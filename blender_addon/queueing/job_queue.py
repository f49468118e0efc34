"""Jobs one after another: given to the worker or done in a thread, their results applied in steps too short to notice.

No bpy here: `jobs.py` drives the queue from Blender's timer. Whatever may take long happens in threads: files are read
and written there, and the client of the worker never waits. `JobQueue.tick` is all that runs on the main thread.
"""

import collections
import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..processes.client import Event, Patience, WorkerClient
from ..protocol import ProtocolError
from .background import Background
from .job_folders import Folders, read_inputs, store_results
from .job_progress import show_preview, show_progress
from .job_requests import Cancelled, JobError, JobRequest, JobState, LocalProgress, LocalRequest
from .result_steps import ResultSteps

_MOST_ENDED_JOBS = 20
_LOG_LINES = 4000
_LEAVING_SECONDS = 4.0
"""How long the end of Blender waits for threads that were told to stop."""


class JobQueue:
    """The jobs, and the one worker that does them.

    Args:
        command: gives program and arguments of the worker; raises JobError if there is none.
        output_folder: gives the folder that results are kept in.
        hold: says why a result cannot change the scene now; "" if it can. Asked before each step.
        applied: is told of each job after its result was applied, whole or not.
        patience: when silence of the worker becomes an error.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        output_folder: Callable[[], Path],
        hold: Callable[[JobState], str] = lambda _: "",
        applied: Callable[[JobState], None] = lambda _: None,
        patience: Patience | None = None,
    ) -> None:
        self.jobs: list[JobState] = []
        self.log: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self.problem, self.hello, self.status = "", {}, {}
        self._command, self._applied, self._patience = command, applied, patience
        self._steps = ResultSteps(hold, self._applied_to_end)
        self._output_folder, self._folders = output_folder, Folders()
        self._client: WorkerClient | None = None
        self._asked: dict[str, JobState | None] = {}
        self._threads: dict[JobState, Background] = {}
        self._locals: dict[JobState, LocalProgress] = {}
        self._leaving: list[Background] = []
        self._numbers = 0
        self._test_wanted = False

    # --- what the person asks for -------------------------------------------------------------------------------

    def submit(self, request: JobRequest | LocalRequest) -> JobState:
        """Put a job at the end of the queue.

        Args:
            request: what to do.
        """
        self._numbers += 1
        state = JobState(self._numbers, request)
        ended = [job for job in self.jobs if job.ended]
        for job in ended[: max(0, len(ended) - _MOST_ENDED_JOBS + 1)]:
            self.jobs.remove(job)
        self.jobs.append(state)
        if isinstance(request, LocalRequest):
            state.state = "waiting"
        else:
            root, check = self._output_folder(), self._progress_of(state).check
            self._threads[state] = Background(
                lambda: read_inputs(self._folders, root, request.label, request.files, check)
            )
        return state

    def again(self, state: JobState) -> JobState:
        """Put the same job at the end of the queue: same files, settings and seed.

        Args:
            state: of a job that has ended.
        """
        request = state.request
        if isinstance(request, JobRequest) and state.folder is not None:
            inputs = state.folder / "inputs"
            request = dataclasses.replace(request, files={name: inputs / name for name in request.files})
        return self.submit(request)

    def cancel(self, state: JobState) -> None:
        """Cancel a job at once; one whose result is being applied, a matter of moments, is left alone.

        Args:
            state: of the job.
        """
        if state.ended or state.cancelling or state.state == "applying":
            return
        if state in self._locals:
            self._locals[state].cancel()
        if state.state == "running":
            state.cancelling = True
            number = next((number for number, job in self._asked.items() if job is state), None)
            if number is not None and self._client is not None:
                self._client.cancel(number)
        else:
            self._let_go(state)
            self._end(state, "cancelled")

    def dismiss(self, state: JobState) -> None:
        """Take a job that has ended off the list.

        Args:
            state: of the job.
        """
        if state.ended and state in self.jobs:
            self.jobs.remove(state)

    def test_connection(self) -> None:
        """Start the worker if there is none, and ask how it is."""
        self.problem, self._test_wanted = "", True

    def free(self) -> None:
        """Ask the worker to give the memory of its models back."""
        if self._client is not None and self._client.alive:
            self._asked[self._client.free()] = None

    def stop_worker(self) -> None:
        """End the worker, and the job it is at; the next job starts it again."""
        self.problem, self._test_wanted = "", False
        if self._client is not None:
            self._client.stop("The worker was stopped. Run the job again when it is wanted.")

    def start_over(self) -> None:
        """Take back what is half applied, as when the scene is about to be replaced; its result waits again."""
        self._steps.start_over()

    def close(self) -> None:
        """End everything now, as when the add-on is disabled."""
        for progress in self._locals.values():
            progress.cancel()
        self.start_over()
        for state in list(self.jobs):
            if not state.ended:
                self._end(state, "cancelled")
        if self._client is not None:
            self._client.kill()
        self._client = None
        # What they started, a Blender that exports, must not outlive this one.
        until = time.monotonic() + _LEAVING_SECONDS
        for thread in (*self._threads.values(), *self._leaving):
            thread.wait(until - time.monotonic())
        self._leaving.clear()
        for kept in (self._asked, self._threads, self._locals):
            kept.clear()
        self.hello, self.status, self._test_wanted = {}, {}, False

    # --- what is asked about it -----------------------------------------------------------------------------------

    @property
    def connection(self) -> str:
        """Of the worker: off, starting or ready."""
        if self._client is None or not self._client.alive:
            return "off"
        return "ready" if self._client.ready else "starting"

    @property
    def busy(self) -> bool:
        """Whether anything will happen without being asked for."""
        return self._test_wanted or bool(self._asked) or any(not job.ended for job in self.jobs)

    @property
    def alive(self) -> bool:
        """Whether there is a worker process."""
        return self._client is not None and self._client.alive

    @property
    def waits_for_thread(self) -> bool:
        """Whether the next thing to happen is the end of a thread or word from the worker."""
        return not self._steps.begun

    # --- what happens by itself -----------------------------------------------------------------------------------

    def tick(self, seconds: float = 0.002) -> None:
        """Do what can be done without waiting.

        Args:
            seconds: for how long steps of results may be applied; the last one may end later.
        """
        if self._client is not None:
            self._hear(self._client)
        for state in list(self.jobs):
            if state.state == "preparing":
                self._take_inputs(state)
        working = any(job.state in ("running", "storing") for job in self.jobs)
        if self._test_wanted and not working:
            self._ask_status()  # of another worker, perhaps, for which the one that works would have to end
        if not working and (state := next((job for job in self.jobs if not job.ended and job.state != "held"), None)):
            if state.state == "waiting":
                self._begin(state)
        for state in [job for job in self.jobs if job.state in ("running", "storing")]:
            self._take_results(state)
        self._steps.go_on(self.jobs, time.monotonic() + seconds)

    def _ask_status(self) -> None:
        try:
            client = self._started_client()
        except JobError as error:
            self.problem, self._test_wanted = str(error), False
            return
        if client is not None:
            self._asked[client.run("status")] = None
            self._test_wanted = False

    def _started_client(self) -> WorkerClient | None:
        """The client of a worker that runs; None while another one has to end first."""
        command = list(self._command())
        client = self._client
        if client is not None and client.alive and (client.command != command or client.ending):
            client.stop("The worker was exchanged for another. Run the job again.")
            return None
        if client is None or client.command != command:
            client = self._client = WorkerClient(command, self._patience)
            client.log = self.log
        if (failed := client.start()) is not None:
            raise JobError(failed.sentence)
        self.problem = ""
        return client

    def _progress_of(self, state: JobState) -> LocalProgress:
        progress = self._locals[state] = LocalProgress(state, self.log)
        return progress

    def _let_go(self, state: JobState) -> None:
        """Forget the thread of a job, which ends by itself."""
        self._locals.pop(state, None)
        self._leaving = [thread for thread in self._leaving if not thread.finished]
        if (thread := self._threads.pop(state, None)) is not None:
            self._leaving.append(thread)

    def _take_inputs(self, state: JobState) -> None:
        thread = self._threads[state]
        if not thread.finished:
            return
        self._locals.pop(state, None)
        if thread.error is not None:
            del self._threads[state]
            self._end(state, "failed", _sentence_of(thread.error, self.log))
        else:
            state.state = "waiting"
            state.folder = thread.result[0]

    def _begin(self, state: JobState) -> None:
        request = state.request
        if isinstance(request, LocalRequest):
            if request.without_worker and self._client is not None and self._client.alive:
                self._client.stop()
                return
            progress = self._progress_of(state)
            self._threads[state] = Background(lambda: request.work(progress))
            state.state, state.began = "running", time.monotonic()
            return
        try:
            client = self._started_client()
        except JobError as error:
            del self._threads[state]
            self.problem = str(error)
            self._end(state, "failed", str(error))
            return
        if client is not None:
            _, files = self._threads.pop(state).result
            self._asked[client.run(request.task, request.settings, files)] = state
            state.state, state.stage, state.began = "running", "starting", time.monotonic()

    def _hear(self, client: WorkerClient) -> None:
        """Take what the worker said; a job that it knows no more, or that cannot be followed, ends."""
        for event in client.poll():
            state = self._asked.get(event.job or "")
            try:
                self._take(event)
            except Exception as error:  # of one event: those after it may hold results
                client.cancel(event.job or "")
                self._asked.pop(event.job or "", None)
                self._lose(state, _sentence_of(error, self.log))
        for number in [number for number in self._asked if number not in client.jobs]:
            self._lose(self._asked.pop(number), "Expected a result from the worker, got none. Run the job again.")

    def _lose(self, state: JobState | None, sentence: str) -> None:
        if state is None:
            self.problem = sentence
        elif not state.ended:
            self._threads.pop(state, None)
            self._end(state, "cancelled" if state.cancelling else "failed", "" if state.cancelling else sentence)

    def _take(self, event: Event) -> None:
        """What the worker said."""
        if event.kind == "ready":
            self.hello, self.problem = event.fields, ""
        elif event.kind == "ended":
            self.hello, self.status = {}, {}
            if event.fields.get("status") != 0:
                self.problem = event.sentence
        elif event.job is None or event.job not in self._asked:
            if event.kind == "error":
                self.log.append(event.sentence)
        elif event.kind == "progress":
            self._show(self._asked[event.job], event)
        else:
            state = self._asked.pop(event.job)
            if state is not None:
                self._finish(state, event)
            elif event.kind == "result":
                found = event.fields.get("findings")
                self.status = {**self.status, **found} if isinstance(found, Mapping) else {}
            elif event.fields.get("cause") != "cancelled":
                self.problem = event.sentence

    def _show(self, state: JobState | None, event: Event) -> None:
        if state is not None:
            show_progress(state, event.fields)
            show_preview(state, event, self.log)

    def _finish(self, state: JobState, event: Event) -> None:
        """A job's result, which is kept in its folder, or its error."""
        if event.kind == "error":
            if event.fields.get("cause") == "cancelled":
                self._end(state, "cancelled")
            else:
                self._end(state, "failed", _own_name(state, event.sentence))
        elif state.cancelling:
            self._end(state, "cancelled")
        else:
            found = event.fields.get("findings")
            state.findings = found if isinstance(found, Mapping) else {}
            folder = state.folder
            assert folder is not None
            state.state, state.stage, state.total, state.seconds_left = "storing", "files", None, None
            self._threads[state] = Background(lambda: store_results(folder, event.attachments))
            if not self.status and self._client is not None and self._client.alive:
                self._asked[self._client.run("status")] = None  # the first good job: Setup's line says what did it

    def _take_results(self, state: JobState) -> None:
        """The end of a thread that stored a result or did a local job."""
        thread = self._threads.get(state)
        if thread is None or not thread.finished:
            return
        del self._threads[state]
        self._locals.pop(state, None)
        if state.cancelling or isinstance(thread.error, Cancelled):
            self._end(state, "cancelled")
        elif thread.error is not None:
            self._end(state, "failed", _sentence_of(thread.error, self.log))
        else:
            if isinstance(state.request, LocalRequest):
                state.findings = thread.result
            state.state, state.sentence, state.seconds = "held", "", time.monotonic() - state.began

    def _applied_to_end(self, state: JobState, ended: str, error: Exception | None) -> None:
        self._end(state, ended, "" if error is None else _sentence_of(error, self.log))
        self._applied(state)

    def _end(self, state: JobState, ended: str, sentence: str = "") -> None:
        state.state, state.sentence, state.cancelling, state.turned = ended, sentence, False, time.monotonic()
        state.seconds, state.seconds_left = state.seconds or time.monotonic() - state.began, None
        if sentence and ended == "failed":
            self.log.append(f"{state.request.label}: {sentence}")


def _own_name(state: JobState, sentence: str) -> str:
    """A sentence of the worker about a file, which has another name in the job's folder than the person knows it by."""
    name, colon, rest = sentence.partition(": ")
    file = getattr(state.request, "files", {}).get(name)
    return f"{file.name}{colon}{rest}" if colon and isinstance(file, Path) else sentence


def _sentence_of(error: BaseException, log: "collections.deque[str]") -> str:
    """One line of an error; of a defect the traceback goes to the log."""
    if isinstance(error, JobError | ProtocolError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"Expected the file {error.filename}, which is not there. Choose it again."
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"The disk refused{where}: {error.strerror or error}. Choose another output folder or free some space."
    log.append("".join(traceback.format_exception(error)))
    return f"The add-on failed ({type(error).__name__}: {error}). This is a defect: copy the log and report it."
