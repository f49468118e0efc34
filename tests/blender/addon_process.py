"""Scripts inside Blender's Python module with the add-on enabled, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.addon_package import addon_files, write_folder
from tests.scripts.processes import REPOSITORY, environment

BLENDER_PYTHON = REPOSITORY / ".venv-blender" / "bin" / "python"
MODULE = "bl_ext.user_default.onestep3d"
PATIENCE_SECONDS = 500

# A timer or a thread that is left behind would keep the module from ending, or crash it: then there is no result.
_BEFORE = f"""
import json, os, sys, time
from pathlib import Path
GIVEN = json.loads(sys.argv[1])
import bpy, addon_utils
assert addon_utils.enable("{MODULE}", default_set=True) is not None
from {MODULE} import jobs, preferences as chosen_by_person
from {MODULE}.processes import client
from {MODULE}.queueing import job_requests
from {MODULE}.queueing.job_requests import JobRequest
preferences = chosen_by_person.of(bpy.context)
preferences.worker, preferences.python = "PYTHON", GIVEN["python"]
preferences.results_folder, preferences.device = GIVEN["results"], "cpu"
scene = bpy.context.scene
settings = scene.onestep3d
found = {{}}

def things():
    '''What is in the scene and the file, by name.'''
    lists = ("objects", "meshes", "images", "materials", "collections", "cameras", "scenes")
    return {{name: sorted(thing.name for thing in getattr(bpy.data, name)) for name in lists}}

def ticks(holds, seconds=300):
    '''Tick as the timer does until something holds.'''
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, ([(vars(job)) for job in jobs.queue.jobs], jobs.log_lines()[-20:])
        jobs.tick()
        time.sleep(0.005)
"""
_AFTER = f"""
assert addon_utils.disable("{MODULE}", default_set=True) is None
assert not bpy.app.timers.is_registered(jobs.tick)
found["slow modules"] = sorted({{"torch", "numba", "scipy", "pydantic"}} & set(sys.modules))
print("RESULT " + json.dumps(found), flush=True)
"""


def run_addon(script: str, folder: Path, **values: Any) -> dict[str, Any]:
    """Run a script with the add-on enabled and its worker this environment's Python; returns what it put into `found`.

    The script sees bpy, the add-on's modules `jobs`, `client` and `job_requests`, its `preferences`, the scene's
    `settings`, `things()`, `ticks()` and, as `GIVEN`, the values.
    """
    if not BLENDER_PYTHON.exists():
        pytest.skip("needs Blender's Python module: make setup-blender")
    extensions = install_addon(folder / "resources")
    given = {"python": sys.executable, "results": str(folder / "results"), **values}
    done = subprocess.run(
        [str(BLENDER_PYTHON), "-c", _BEFORE + script + _AFTER, json.dumps(given)],
        env=environment(BLENDER_USER_RESOURCES=str(folder / "resources"), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        cwd=extensions,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, f"status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(lines[-1].removeprefix("RESULT "))
    assert found.pop("slow modules") == []
    assert "Traceback" not in done.stderr, done.stderr
    return found


def install_addon(resources: Path, worker: Path | None = None) -> Path:
    """Put the extension where Blender with these resources finds it, and what it brings; returns its folder."""
    folder = resources / "extensions" / "user_default" / "onestep3d"
    if not folder.exists():
        write_folder(addon_files(worker), folder)
    return folder


def processes_of(marker: str) -> list[int]:
    """Processes whose environment holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
