"""Installing the worker from within Blender."""

import sys
from pathlib import Path

import pytest

from tests.blender.addon_process import run_addon
from tests.blender_addon.test_worker_environment import write_project, write_torch

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
