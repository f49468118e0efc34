"""Installing the worker from within Blender."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.blender.addon_process import install_addon, run_addon
from tests.blender.test_addon_panels import DRAWING
from tests.blender_addon.worker_setup.test_worker_environment import BROKEN_WORKER, WORKER, write_project, write_torch

pytestmark = pytest.mark.blender


def test_the_worker_is_installed_used_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = write_project(wheels)
    found = run_addon(
        """
preferences.worker = "INSTALLED"
operators = bpy.ops.onestep3d
found["offline"] = not bpy.app.online_access

def refusal(call, **options):
    try:
        call(**options)
    except RuntimeError as error:
        return str(error)

found["no worker"] = refusal(operators.test_connection)
found["no source"] = refusal(operators.install_worker)
found["may repair"] = operators.repair_worker.poll()
found["needs network"] = refusal(operators.install_worker, filepath=GIVEN["wheel"], python=GIVEN["python"])
from bl_ext.user_default.onestep3d import environment_operators
found["in Setup"] = environment_operators._last_failure()
found["folder"] = str(chosen_by_person.environment_folder())
""",
        tmp_path,
        wheel=str(wheel),
    )
    assert found["offline"]
    assert "There is no worker yet" in found["no worker"]
    assert "Choose one" in found["no source"]
    assert found["may repair"] is False
    assert "Allow Online Access" in found["needs network"]
    assert "Allow Online Access" in found["in Setup"]
    assert not Path(found["folder"]).exists()
    write_torch(wheels)
    found = run_addon(
        """
preferences.worker = "INSTALLED"
assert bpy.ops.onestep3d.install_worker(filepath=GIVEN["wheels"], python=GIVEN["python"]) == {"FINISHED"}
found["installed"] = dict(jobs.queue.jobs[-1].findings)
assert bpy.ops.onestep3d.test_connection() == {"FINISHED"}
found["status"] = dict(jobs.queue.status)
assert bpy.ops.onestep3d.remove_worker() == {"FINISHED"}
found["left"] = chosen_by_person.environment_folder().exists()
found["may remove"] = bpy.ops.onestep3d.remove_worker.poll()
""",
        tmp_path,
        wheels=str(wheels),
        python=sys.executable,
    )
    assert found["installed"] == found["status"] == {"device": "cpu", "checkpoint": "small", "torch": "a small one"}
    assert found["left"] is False
    assert found["may remove"] is False


def test_the_worker_that_the_extension_brings_is_installed_and_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file chosen; and again where a newer extension brings another."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    state = """
from bl_ext.user_default.onestep3d import environment_operators as buttons
preferences.worker = "INSTALLED"
found["before"] = buttons._state()
"""
    install = 'assert bpy.ops.onestep3d.install_worker(python=GIVEN["python"]) == {"FINISHED"}\n'
    update = "assert bpy.ops.onestep3d.continue_installation() == {'FINISHED'}\n"
    after = 'found["installed"] = dict(jobs.queue.jobs[-1].findings)\nfound["after"] = buttons._state()\n'
    for version, before, button in (("1.0", "absent", install), ("1.1", "outdated", update)):
        wheels = tmp_path / f"wheels-{version}"
        wheels.mkdir()
        write_torch(wheels)
        write_project(wheels, version)
        folder = tmp_path / "resources" / "extensions" / "user_default" / "onestep3d"
        if folder.exists():
            shutil.rmtree(folder)
        install_addon(tmp_path / "resources", wheels)
        found = run_addon(state + button + after, tmp_path, python=sys.executable)
        assert found["before"] == before
        assert found["after"] == "ready"
        assert found["installed"]["torch"] == "a small one"
        # The same extension installed again is not another version.
        shutil.rmtree(folder)
        install_addon(tmp_path / "resources", wheels)
        assert run_addon(state, tmp_path)["before"] == "ready"


def test_a_worker_that_does_not_work_can_be_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names a button, which is there."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    broken, whole = tmp_path / "wheels", tmp_path / "whole"
    for folder, worker in ((broken, BROKEN_WORKER), (whole, WORKER)):
        folder.mkdir()
        write_torch(folder)
        write_project(folder, worker=worker)
    found = run_addon(
        DRAWING
        + """
import shutil
preferences.worker = "INSTALLED"
try:
    bpy.ops.onestep3d.install_worker(filepath=GIVEN["wheels"], python=GIVEN["python"])
except RuntimeError as error:
    found["said"] = str(error)
found["drawn"] = drawn()["buttons"]
shutil.rmtree(GIVEN["wheels"])
shutil.copytree(GIVEN["whole"], GIVEN["wheels"])
assert bpy.ops.onestep3d.repair_worker() == {"FINISHED"}
found["state"] = environment_operators._state()
# A worker that runs ends before its environment is made anew.
assert bpy.ops.onestep3d.test_connection() == {"FINISHED"}
process = jobs.queue._client._process
work = environment_operators.worker_environment.create_environment
def noted(*given, **named):
    found["alive"] = process.poll() is None
    return work(*given, **named)
environment_operators.worker_environment.create_environment = noted
assert bpy.ops.onestep3d.repair_worker() == {"FINISHED"}
""",
        tmp_path,
        wheels=str(broken),
        whole=str(whole),
        python=sys.executable,
    )
    assert "Press Repair" in found["said"]
    assert {"onestep3d.repair_worker", "onestep3d.continue_installation"} <= set(found["drawn"])
    assert found["state"] == "ready"
    assert found["alive"] is False
