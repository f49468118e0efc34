"""The worker's own environment: made in stages from what the extension brings, a wheel or a folder; mended, removed.

Each finished stage is noted in a file, so that an installation which was stopped goes on where it was; a stage that
was stopped begins anew, and finds what it has downloaded in the package manager's cache. No bpy here: the functions
run in a thread of a job.

    FOLDER/
      state.json      finished stages, and what they were made from
      install.log     what the programs said
      venv/           the environment
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..processes.client import Event, WorkerClient
from ..processes.logged_process import ProgramFailed, clean_environment, run_logged
from ..queueing.job_requests import JobError, LocalProgress
from .environment_source import PROJECT, Source, find_source, in_the_box
from .python_search import OLDEST, find_python
from .worker_command import local_command

try:
    import fcntl
except ImportError:  # Windows has no such locks; there two Blenders must not install at once
    fcntl = None

Tool = Literal["venv", "uv"]

_MARK = "onestep3d worker environment 1"
_STAGES = ("environment", "torch", "packages", "worker")
_LEAST_FREE_BYTES = 3 << 30
_CHECK_SECONDS, _IDLE_SECONDS = 600.0, 60.0
_TELLING = ("Collecting", "Downloading", "Installing", "Building", "Resolved", "Prepared", "Installed", "Using")
_LONGEST_STAGE = 60


@dataclass(frozen=True)
class Plan:
    """What is installed, from what, with what.

    Args:
        folder: of the environment; nothing else is in it.
        source: wheel or folder that the person chose; None takes what the extension brings.
        tool: Python's own venv and pip, or uv.
        python: the interpreter that the environment is made with; "" looks for one.
        spare_python: is tried after those that are found, such as Blender's own.
        torch_index: address of a package index for torch's builds; "" takes the package manager's own.
    """

    folder: Path
    source: Path | None
    tool: Tool = "venv"
    python: str = ""
    spare_python: str = ""
    torch_index: str = ""


def environment_python(folder: Path) -> Path | None:
    """Return the Python of a finished environment, None if there is none.

    Args:
        folder: of the environment.
    """
    python = _python_in(folder)
    return python if _read_state(folder).get("complete") is True and python.is_file() else None


def environment_state(folder: Path) -> str:
    """Return "ready", "unfinished" (an installation was stopped) or "absent".

    Args:
        folder: of the environment.
    """
    if environment_python(folder) is not None:
        return "ready"
    return "unfinished" if _read_state(folder) or (folder / "venv").exists() else "absent"


def last_plan(folder: Path) -> dict[str, str]:
    """Return what the person chose at the last installation: source, tool, python, torch_index; empty if none.

    The source is "" where it was what the extension brings.

    Args:
        folder: of the environment.
    """
    plan = _read_state(folder).get("plan")
    return {str(name): str(value) for name, value in plan.items()} if isinstance(plan, dict) else {}


def is_outdated(folder: Path) -> bool:
    """Whether the environment was made from what the extension brought, and it brings something else now.

    Args:
        folder: of the environment.

    Raises:
        JobError: what the extension brings is damaged.
    """
    state = _read_state(folder)
    done = state.get("done")
    if last_plan(folder).get("source") != "" or not in_the_box() or not isinstance(done, dict):
        return False
    return done.get("packages") != find_source(None).fingerprint()


def create_environment(plan: Plan, progress: LocalProgress, *, online: bool, anew: bool = False) -> dict[str, Any]:
    """Make the environment, or go on where an earlier call was stopped.

    Args:
        plan: what, from what, with what.
        progress: stages, and the lines of the log.
        online: whether Blender admits the network.
        anew: remake what is there already, as when it is damaged.

    Returns:
        What the worker says of itself and of the machine.

    Raises:
        JobError: what a person can mend, in one sentence.
        Cancelled: what is finished stays.
    """
    source = find_source(plan.source)
    if source.needs_network and not online:
        raise JobError(
            "Installing the worker downloads its packages, and Blender is set to work offline. Allow Online Access in "
            "Preferences, System, or choose a folder that has the wheels of torch and everything else."
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    with _locked(plan.folder), (plan.folder / "install.log").open("a", encoding="utf-8") as log:
        return _Installation(plan, source, progress, log.write).run(anew=anew)


def remove_environment(folder: Path, progress: LocalProgress) -> None:
    """Remove an environment that `create_environment` made, finished or not.

    Args:
        folder: of the environment; one that is not there is removed already.
        progress: one stage; the removal of a renamed folder is not stopped half way.

    Raises:
        JobError: the folder holds something else, or files are in use.
    """
    if not folder.exists():
        return
    if not _read_state(folder) and any(entry.name not in ("install.log", ".lock") for entry in folder.iterdir()):
        raise JobError(f"Expected the worker's environment in {folder}, got other files. Remove the folder yourself.")
    progress.stage("removing")
    leaving = folder.with_name(f".{folder.name}.removed-{os.getpid()}-{threading.get_ident()}")
    try:
        with _locked(folder):
            folder.rename(leaving)
        shutil.rmtree(leaving)
    except OSError as error:
        raise JobError(
            f"The worker's environment cannot be removed whole: {error}. Stop the worker, try again."
        ) from None


class _Installation:
    """One call of `create_environment`."""

    def __init__(self, plan: Plan, source: Source, progress: LocalProgress, write: Callable[[str], object]) -> None:
        self._plan, self._source, self._progress, self._write = plan, source, progress, write
        self._python = _python_in(plan.folder)
        self._stage, self._number = "", 0

    def run(self, *, anew: bool) -> dict[str, Any]:
        state = {} if anew else _read_state(self._plan.folder)
        done = state.get("done") if isinstance(state.get("done"), dict) else {}
        if not self._python.is_file():
            done = {}  # the Python that it was made with was removed, or an upgrade put another in its place
        wanted = self._fingerprints()
        findings: dict[str, Any] = {}
        remade = False
        makers = (self._make_environment, self._make_torch, self._make_packages, self._make_worker)
        for self._number, (self._stage, make) in enumerate(zip(_STAGES, makers, strict=True)):
            # What an environment held is gone with it; the worker itself is always asked.
            if not remade and done.get(self._stage) == wanted[self._stage] and self._stage != "worker":
                continue
            self._begin(self._stage)
            self._note(done, complete=False)
            findings = make() or {}
            remade = remade or self._stage == "environment"
            done = {**({} if self._stage == "environment" else done), self._stage: wanted[self._stage]}
            self._note(done, complete=self._stage == _STAGES[-1])
        return findings

    def _fingerprints(self) -> dict[str, str]:
        plan = self._plan
        return {
            "environment": f"{plan.tool} {plan.python}",
            "torch": f"{plan.torch_index} {self._source.versions()}",
            "packages": self._source.fingerprint(),
            "worker": "",
        }

    def _note(self, done: Mapping[str, str], *, complete: bool) -> None:
        chosen = {"source": str(self._plan.source or ""), "tool": self._plan.tool}
        chosen |= {"python": self._plan.python, "torch_index": self._plan.torch_index}
        _write_state(self._plan.folder, {"mark": _MARK, "plan": chosen, "done": dict(done), "complete": complete})

    def _begin(self, name: str) -> None:
        self._progress.stage(name[:_LONGEST_STAGE], len(_STAGES))
        self._progress.advance(self._number)

    def _heard(self, line: str) -> None:
        self._write(line + "\n")
        self._progress.log(line)
        if line.lstrip().startswith(_TELLING):
            self._begin(f"{self._stage}: {' '.join(line.split())}")

    def _run(self, command: Sequence[str], what: str, advice: str) -> list[str]:
        self._heard(f"$ {' '.join(command)}")
        quiet = clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_PROGRESS_BAR="off")
        try:
            return run_logged(command, heard=self._heard, check=self._progress.check, environment=quiet)
        except ProgramFailed as failure:
            raise JobError(f"{what}: {_reason(failure)}. {advice}") from None
        except OSError as error:
            raise JobError(f"{what}: {command[0]}: {error.strerror or error}. {advice}") from None

    def _make_environment(self) -> None:
        folder = self._plan.folder / "venv"
        free = shutil.disk_usage(self._plan.folder).free
        if free < _LEAST_FREE_BYTES:
            raise JobError(
                f"Expected {_LEAST_FREE_BYTES >> 30} GiB of free disk for the worker's environment, got "
                f"{free / (1 << 30):.1f} in {self._plan.folder}. Free some space."
            )
        _remove_tree(folder, self._progress.check)
        advice = "See the log, or choose another Python."
        if self._plan.tool == "uv":
            command = ["uv", "venv", "--python", self._plan.python or ".".join(map(str, OLDEST)), str(folder)]
            self._run(command, "uv could not make the environment", "Install uv, or choose venv instead.")
        else:
            python = find_python(self._plan.python, self._plan.spare_python, self._progress)
            self._run([*python, "-I", "-m", "venv", str(folder)], "The environment could not be made", advice)

    def _make_torch(self) -> None:
        # First and alone: its version decides its build, and nothing may pull in another.
        index = ["--index-url", self._plan.torch_index] if self._plan.torch_index else []
        self._install(["torch", *index])

    def _make_packages(self) -> None:
        # A wheel of the same version may hold other files.
        self._install([str(self._source.project)])
        again = ["--reinstall-package", PROJECT] if self._plan.tool == "uv" else ["--force-reinstall"]
        self._install(["--no-deps", *again, str(self._source.project)])

    def _install(self, what: list[str]) -> None:
        python = str(self._python)
        if self._plan.tool == "uv":
            command = ["uv", "pip", "install", "--python", python]
        else:
            command = [python, "-I", "-m", "pip", "install"]
        if self._source.constraints is not None:
            command += ["--constraint", str(self._source.constraints)]
        if self._source.wheels is not None:
            command += ["--no-index", "--find-links", str(self._source.wheels)]
        advice = "See the log; Continue Installation goes on where it stopped."
        self._run([*command, *what], f"The packages ({self._stage}) could not be installed", advice)

    def _make_worker(self) -> dict[str, Any]:
        """Ask the worker itself how it is."""
        client = WorkerClient(local_command(self._python, _IDLE_SECONDS, alone=True), environment=clean_environment())
        try:
            return self._status_of(client)
        finally:
            client.kill()
            for line in client.log:
                self._heard(line)

    def _status_of(self, client: WorkerClient) -> dict[str, Any]:
        problem: Event | None = client.start()
        if problem is None:
            job = client.run("status")
            began = time.monotonic()
            while problem is None and time.monotonic() - began < _CHECK_SECONDS:
                self._progress.check()
                for event in client.poll():
                    if event.kind == "result" and event.job == job:
                        findings = event.fields.get("findings")
                        return dict(findings) if isinstance(findings, Mapping) else {}
                    if event.kind in ("error", "ended"):
                        problem = event
                time.sleep(0.05)
        said = problem.sentence if problem is not None else "It gave no answer."
        last = f" It said: {client.log[-1][:200]}" if client.log else ""
        raise JobError(f"The worker was installed but does not work. {(said + last).rstrip('.')}. Press Repair.")


def _remove_tree(folder: Path, check: Callable[[], None]) -> None:
    """Remove an environment's files, which are so many that a slow disk takes minutes; what is there no longer is fine.

    Args:
        folder: may be a part of an environment, or not there.
        check: raises where the work shall stop.
    """
    for where, folders, files in os.walk(folder, topdown=False):
        check()
        for name in (*files, *folders):  # folders that are no links are gone by now
            if os.path.lexists(inner := os.path.join(where, name)):
                os.unlink(inner)
        os.rmdir(where)


def _reason(failure: ProgramFailed) -> str:
    """The line that says most of why a package manager gave up."""
    errors = [line for line in failure.lines if "error" in line.lower() and len(line) < 400]
    said = (errors or failure.lines or [f"status {failure.status}"])[0 if errors else -1]
    return " ".join(said.split()).rstrip(".")


def _python_in(folder: Path) -> Path:
    return folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) and state.get("mark") == _MARK else {}


def _write_state(folder: Path, state: Mapping[str, Any]) -> None:
    unfinished = folder / ".state.json"
    unfinished.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, folder / "state.json")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep another Blender from working on the same environment; the lock ends with the process at the latest."""
    if fcntl is None:
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JobError("Another Blender installs or removes the worker just now. Wait for it.") from None
        yield
