from collections.abc import Iterator
from pathlib import Path

import pytest

from renderers.blender.worker_process import WorkerProcess, worker_command
from tests.blender.installed_blender import some_display, start_script


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    process = WorkerProcess(worker_command(None), tmp_path_factory.mktemp("worker"), 0, 4 << 30)
    try:
        process.greet()
        yield process
    finally:
        process.kill()


@pytest.fixture(scope="session")
def window_program(shared_assets: Path) -> Path:
    """What brings a Blender and a display to a machine that has neither."""
    return shared_assets.parent / "tools" / "blender_gui.sh"


@pytest.fixture(scope="module")
def installed_blender(tmp_path_factory: pytest.TempPathFactory, window_program: Path) -> str:
    """An installed Blender 4.2 or later with a user folder of its own."""
    return start_script(tmp_path_factory.mktemp("blender"), window_program)


@pytest.fixture
def display(window_program: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A display, which the environment names while the test runs."""
    with some_display(window_program) as name:
        monkeypatch.setenv("DISPLAY", name)
        yield name
