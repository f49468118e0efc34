"""The wheel holds all that the worker needs."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gs_integration.protocol import Message, read_message, write_message
from tests.scripts.processes import REPOSITORY, environment, run_program


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    status, output, error = run_program([str(REPOSITORY / "scripts" / "build_wheel.py"), "--output-dir", str(folder)])
    assert status == 0, error
    (built,) = folder.glob("*.whl")
    assert built.name in output
    assert (folder / "constraints.txt").read_bytes() == (REPOSITORY / "constraints.txt").read_bytes()
    assert {entry.name for entry in folder.iterdir()} == {built.name, "constraints.txt"}
    return built


def test_the_wheel_holds_every_module_and_the_checkpoint(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        file.relative_to(REPOSITORY).as_posix()
        for package in ("distill_core", "renderers", "gs_integration")
        for file in (REPOSITORY / package).rglob("*.py")
    }
    assert packed == expected | {"checkpoints/small/model.safetensors", "checkpoints/small/README.md"}


def test_the_worker_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environ = environment(PYTHONPATH=str(tmp_path / "site"))
    where = subprocess.run(
        [sys.executable, "-c", "import distill_core, gs_integration, renderers; print(gs_integration.__path__[0])"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()) == tmp_path / "site" / "gs_integration"
    worker: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", "gs_integration.worker"],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert isinstance(worker.stdin, io.BufferedWriter)
    assert isinstance(worker.stdout, io.BufferedReader)
    try:
        write_message(worker.stdin, Message("run", {"job": "1", "task": "status"}))
        while (message := read_message(worker.stdout)) is not None and message.kind not in ("result", "error"):
            pass
        assert message is not None
        assert message.kind == "result", json.dumps(dict(message.fields))
        # The checkpoint that is found is the one beside the modules.
        assert message.fields["findings"]["checkpoint"] == "small"
        worker.stdin.close()
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
