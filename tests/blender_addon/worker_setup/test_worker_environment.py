"""The worker's environment, made by real interpreters and installers from wheels so small that a test has time."""

import collections
import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WORKER = """import json, sys
print(json.dumps({"kind": "hello", "protocol": 1, "tasks": ["status"]}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["kind"] == "bye":
        break
    import torch
    findings = {"device": "cpu", "checkpoint": "small", "torch": torch.NAME}
    print(json.dumps({"kind": "result", "job": asked["job"], "findings": findings}), flush=True)
"""
BROKEN_WORKER = "import sys\nsys.exit('no such library')\n"


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> Path:
    """A wheel as the specification has it, made by hand."""
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        **files,
        f"{about}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*contents, f"{about}/RECORD"])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in {**contents, f"{about}/RECORD": record}.items():
            archive.writestr(file, content)
    return wheel


def write_project(folder: Path, version: str = "1.0", worker: str = WORKER) -> Path:
    files = {"gs_integration/worker.py": worker, "checkpoints/small/model.safetensors": "weights"}
    return write_wheel(folder, "onestep3d", version, files, ("torch",))


def write_torch(folder: Path) -> Path:
    return write_wheel(folder, "torch", "2.0", {"torch.py": "NAME = 'a small one'\n"})


@pytest.fixture(scope="module")
def addon(addon_folder: Path) -> Iterator[Callable[[str], ModuleType]]:
    sys.path.insert(0, str(addon_folder.parent))
    try:
        yield lambda name: importlib.import_module(f"{addon_folder.name}.{name}")
    finally:
        sys.path.remove(str(addon_folder.parent))


@pytest.fixture(autouse=True)
def _no_other_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's own pip would look through besides."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def make_progress(addon: Callable[[str], ModuleType]) -> Callable[..., Any]:
    """A job's progress that notes its stages, and cancels itself when one of a name begins."""
    queue = addon("queueing.job_queue")

    def make(cancel_at: str = "") -> Any:
        state = queue.JobState(1, queue.LocalRequest("test", lambda _: {}, lambda _: iter(())))

        class Watched(queue.LocalProgress):
            def __init__(self) -> None:
                self.stages: list[str] = []
                super().__init__(state, collections.deque())

            def stage(self, name: str, total: int | None = None) -> None:
                self.stages.append(name)
                if cancel_at and name.startswith(cancel_at):
                    self.cancel()
                super().stage(name, total)

        return Watched()

    return make


def begun(progress: Any) -> list[str]:
    """The stages without what was said in them."""
    return [name for name in progress.stages if ":" not in name]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels that has all, and room for an environment beside it."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "wheels").mkdir()
    write_project(folder / "wheels")
    write_torch(folder / "wheels")
    return folder


def plan_of(addon: Callable[[str], ModuleType], place: Path, **changes: Any) -> Any:
    chosen = {"folder": place / "environment", "source": place / "wheels", "python": sys.executable, **changes}
    return addon("worker_setup.worker_environment").Plan(**chosen)


def test_an_installation_that_is_stopped_goes_on_where_it_was(addon, place: Path, make_progress) -> None:
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    folder = place / "environment"
    assert environment.environment_state(folder) == "absent"
    stopped = make_progress(cancel_at="packages")
    with pytest.raises(queue.Cancelled):
        environment.create_environment(plan_of(addon, place), stopped, online=False)
    assert begun(stopped) == ["environment", "torch", "packages"]
    assert environment.environment_state(folder) == "unfinished"
    assert environment.environment_python(folder) is None
    made_at = (folder / "venv" / "pyvenv.cfg").stat().st_mtime_ns
    resumed = make_progress()
    findings = environment.create_environment(plan_of(addon, place), resumed, online=False)
    assert findings == {"device": "cpu", "checkpoint": "small", "torch": "a small one"}
    assert begun(resumed) == ["packages", "worker"]
    assert (folder / "venv" / "pyvenv.cfg").stat().st_mtime_ns == made_at
    assert environment.environment_state(folder) == "ready"
    python = environment.environment_python(folder)
    said = subprocess.run([python, "-P", "-c", "import torch; print(torch.NAME)"], capture_output=True, text=True)
    assert said.stdout == "a small one\n"
    # Of the project itself nothing is there but what the wheel brought.
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True).stdout
    assert {"onestep3d==1.0", "torch==2.0"} <= set(listed.split())
    assert "Installing" in (folder / "install.log").read_text()
    assert any("Installing collected packages" in name for name in resumed.stages)


def test_a_newer_wheel_changes_the_packages_alone_and_a_broken_one_is_said(addon, place: Path, make_progress) -> None:
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    again = make_progress()
    environment.create_environment(plan_of(addon, place), again, online=False)
    assert begun(again) == ["worker"]
    newer = write_project(place / "wheels", "1.1", BROKEN_WORKER)
    with pytest.raises(queue.JobError, match=r"does not work.*It said: no such library.*Press Repair"):
        environment.create_environment(plan_of(addon, place), make_progress(), online=False)
    assert environment.environment_state(place / "environment") == "unfinished"
    # The same version with other content.
    newer.unlink()
    write_project(place / "wheels", "1.1")
    mended = make_progress()
    environment.create_environment(plan_of(addon, place), mended, online=False)
    assert begun(mended) == ["packages", "worker"]


def test_repair_makes_everything_anew(addon, place: Path, make_progress) -> None:
    environment = addon("worker_setup.worker_environment")
    folder = place / "environment"
    shutil.rmtree(next((folder / "venv").glob("lib/*/site-packages/gs_integration")))
    python = environment.environment_python(folder)
    assert subprocess.run([python, "-P", "-m", "gs_integration.worker"], capture_output=True).returncode == 1
    repaired = make_progress()
    chosen = environment.last_plan(folder)
    assert chosen["source"] == str(place / "wheels")
    environment.create_environment(plan_of(addon, place), repaired, online=False, anew=True)
    assert begun(repaired) == ["environment", "torch", "packages", "worker"]
    assert environment.environment_state(folder) == "ready"


def test_an_environment_whose_python_is_gone_is_made_anew(addon, place: Path, make_progress) -> None:
    """The system's Python was upgraded, and what the environment links to is no more."""
    environment = addon("worker_setup.worker_environment")
    folder = place / "environment"
    python = environment.environment_python(folder)
    python.unlink()
    python.symlink_to("/no/such/python")
    assert environment.environment_state(folder) == "unfinished"
    resumed = make_progress()
    environment.create_environment(plan_of(addon, place), resumed, online=False)
    assert begun(resumed) == ["environment", "torch", "packages", "worker"]
    assert environment.environment_state(folder) == "ready"


def test_cancel_does_not_wait_until_an_old_environment_is_removed(addon, place: Path, tmp_path: Path, make_progress):
    """Its files are tens of thousands; links lead out of it, and what they lead to stays."""
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    plan = plan_of(addon, place, folder=tmp_path / "environment")
    old, outside = plan.folder / "venv" / "lib", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("")
    for number in range(50):
        (old / f"package{number}").mkdir(parents=True)
        (old / f"package{number}" / "module.py").write_text("")
    (plan.folder / "venv" / "lib64").symlink_to("lib")
    (plan.folder / "venv" / "elsewhere").symlink_to(outside)
    stopped = make_progress()
    go_on = stopped.check

    def check() -> None:
        if len(list(old.iterdir())) == 40:
            stopped.cancel()
        go_on()

    stopped.check = check
    with pytest.raises(queue.Cancelled):
        environment.create_environment(plan, stopped, online=False, anew=True)
    assert len(list(old.iterdir())) == 40
    with pytest.raises(queue.Cancelled):
        environment.create_environment(plan, make_progress(cancel_at="torch"), online=False)
    assert not list(old.glob("package*"))
    assert (outside / "kept.txt").exists()


def test_remove_leaves_nothing_and_touches_nothing_else(addon, place: Path, make_progress) -> None:
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    before = {entry.name for entry in place.iterdir()}
    environment.remove_environment(place / "environment", make_progress())
    assert {entry.name for entry in place.iterdir()} == before - {"environment"}
    assert environment.environment_state(place / "environment") == "absent"
    environment.remove_environment(place / "environment", make_progress())
    with pytest.raises(queue.JobError, match="got other files"):
        environment.remove_environment(place / "wheels", make_progress())
    assert len(list((place / "wheels").iterdir())) == 3


def test_without_the_network_nothing_is_begun(addon, tmp_path: Path, make_progress) -> None:
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    wheel = write_project(tmp_path)
    plan = plan_of(addon, tmp_path, source=wheel)
    with pytest.raises(queue.JobError, match="Allow Online Access in Preferences"):
        environment.create_environment(plan, make_progress(), online=False)
    assert not plan.folder.exists()


def test_sources_are_told_apart(addon, tmp_path: Path, repository: Path) -> None:
    source, queue = addon("worker_setup.environment_source"), addon("queueing.job_queue")
    checkout = source.find_source(repository)
    assert (checkout.project, checkout.constraints, checkout.needs_network) == (
        repository,
        repository / "constraints.txt",
        True,
    )
    wheel = write_project(tmp_path)
    assert source.find_source(tmp_path).project == source.find_source(wheel).project == wheel
    assert source.find_source(tmp_path).needs_network
    write_torch(tmp_path)
    assert not source.find_source(tmp_path).needs_network
    before = source.find_source(wheel).fingerprint()
    os.utime(wheel, ns=(1, 1))
    assert source.find_source(wheel).fingerprint() == before
    write_project(tmp_path, worker=BROKEN_WORKER)
    assert source.find_source(wheel).fingerprint() != before
    write_wheel(tmp_path, "onestep3d", "0.5", {"gs_integration/worker.py": ""})
    (tmp_path / "broken.whl").write_bytes(b"PK")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyproject.toml").write_text("[project]\nname = 'another'\n")
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "pyproject.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").mkdir()
    for name, words in {
        "onestep3d-0.5-py3-none-any.whl": "lacks checkpoints/small",
        "torch-2.0-py3-none-any.whl": "Expected the wheel of onestep3d",
        "broken.whl": "cannot be read",
        "other": "Choose another, or the wheel",
        "binary": "cannot be read",
        "empty": "Choose another",
        "nowhere": "Choose another",
    }.items():
        with pytest.raises(queue.JobError, match=words) as refusal:
            source.find_source(tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_a_python_that_cannot_serve_is_named(addon, make_progress) -> None:
    search, queue = addon("worker_setup.python_search"), addon("queueing.job_queue")
    with pytest.raises(queue.JobError, match=r"3\.11 to 3\.13 with venv, got /no/such/python \(No such file"):
        search.find_python("/no/such/python", sys.executable, make_progress())
    found = search.find_python(sys.executable, "", make_progress())
    assert found == [sys.executable]


def test_what_the_installer_says_last_is_the_reason(addon, tmp_path: Path, make_progress) -> None:
    """No wheel of torch's own needs: the stage fails, and goes on when they are there."""
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    (tmp_path / "wheels").mkdir()
    write_project(tmp_path / "wheels")
    write_wheel(tmp_path / "wheels", "torch", "2.0", {"torch.py": "NAME = 'x'\n"}, ("missing-thing",))
    with pytest.raises(queue.JobError, match=r"packages \(torch\).*missing-thing.*Continue Installation goes on"):
        environment.create_environment(plan_of(addon, tmp_path), make_progress(), online=False)
    write_wheel(tmp_path / "wheels", "missing_thing", "1", {"missing_thing.py": ""})
    resumed = make_progress()
    environment.create_environment(plan_of(addon, tmp_path), resumed, online=False)
    assert begun(resumed) == ["torch", "packages", "worker"]


def test_two_installations_at_once_are_refused(addon, tmp_path: Path, make_progress) -> None:
    pytest.importorskip("fcntl")
    environment, queue = addon("worker_setup.worker_environment"), addon("queueing.job_queue")
    folder = tmp_path / "environment"
    folder.mkdir()
    (tmp_path / "wheels").mkdir()
    write_project(tmp_path / "wheels")
    write_torch(tmp_path / "wheels")
    with environment._locked(folder), pytest.raises(queue.JobError, match="Another Blender"):
        environment.create_environment(plan_of(addon, tmp_path), make_progress(), online=False)


def test_uv_makes_the_same(addon, tmp_path: Path, make_progress) -> None:
    if shutil.which("uv") is None:
        pytest.skip("needs uv")
    environment = addon("worker_setup.worker_environment")
    (tmp_path / "wheels").mkdir()
    write_project(tmp_path / "wheels")
    write_torch(tmp_path / "wheels")
    findings = environment.create_environment(plan_of(addon, tmp_path, tool="uv"), make_progress(), online=False)
    assert findings["torch"] == "a small one"


def test_a_program_that_is_stopped_ends_with_its_children(addon, tmp_path: Path) -> None:
    running = addon("processes.logged_process")
    pids: list[int] = []
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.getpid(), child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    stop = threading.Event()

    def heard(line: str) -> None:
        pids.extend(map(int, line.split()))
        stop.set()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run_logged([sys.executable, "-c", program], heard=heard, check=check)
    assert len(pids) == 2
    waited_since = time.monotonic()
    while any(_lives(pid) for pid in pids) and time.monotonic() - waited_since < 30:
        time.sleep(0.05)
    assert not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and " Z " not in status.read_text()


def test_lines_are_heard_and_failures_tell_the_last(addon) -> None:
    running = addon("processes.logged_process")
    heard: list[str] = []
    program = "import sys; print('10 %\\r100 %'); print('error: full', file=sys.stderr); sys.exit(3)"
    with pytest.raises(running.ProgramFailed) as failure:
        running.run_logged([sys.executable, "-c", program], heard=heard.append, check=lambda: None)
    assert sorted(heard) == ["100 %", "error: full"]
    assert failure.value.status == 3
    assert "error: full" in str(failure.value)


def test_blenders_own_python_path_is_not_inherited(addon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/blender/modules")
    monkeypatch.setenv("PYTHONHOME", "/blender")
    kept = addon("processes.logged_process").clean_environment(ADDED="1")
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(kept)
    assert kept["ADDED"] == "1"
    assert kept["PATH"] == os.environ["PATH"]
