"""Memory of the worker and of Blender over jobs in a row, as the add-on asks for them.

Blender runs without its window with the add-on built from this checkout. Each result is evaluated, as a window that
draws it would, and removed from the scene; two jobs warm up first. Memory is what the system holds resident (Linux).

What Blender holds resident jumps by 12 or 60 MB between jobs while what is allocated stays the same; which of its
threads keeps that memory was not traced. So two figures are read: as it is, and after glibc was told to give back what
is free (`malloc_trim`), which shows what a job leaves.

What was removed can still be undone: Blender keeps as many steps of its history as its preferences say, 32 if nobody
changed them, and each holds the result that it brings back. That is the person's, and bounded. So the jobs run twice:
once with the shortest history that Blender admits, where what grows is what nobody can have back, and once with
Blender's own, beside which stands what a step of it holds (glibc's count of what is allocated).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError

_REPOSITORY = Path(__file__).resolve().parents[1]
_MODULE = "bl_ext.user_default.onestep3d"
_WARM_UP = 2
_HISTORIES = {"short_history": 2, "own_history": 32}
"""Steps of undo that Blender keeps: the fewest that it admits, and what it comes with."""

# What runs inside Blender: the operators that the buttons of the panels call.
_JOBS = f"""
import ctypes, json, os, sys, time
from pathlib import Path
given = json.loads(sys.argv[-1])
import bpy, addon_utils
assert addon_utils.enable("{_MODULE}", default_set=True) is not None
from {_MODULE} import jobs, preferences
chosen = preferences.of(bpy.context)
chosen.worker, chosen.python, chosen.device = "PYTHON", given["python"], "cpu"
chosen.results_folder = given["results"]
settings = bpy.context.scene.onestep3d
settings.picture_path, settings.splats_from = given["picture"], "PICTURE"
settings.iterations = given["iterations"]

bpy.context.preferences.edit.undo_steps = given["undo_steps"]

class Allocated(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]

count_allocated = ctypes.CDLL(None).mallinfo2
count_allocated.restype = Allocated

def resident_bytes(process):
    for line in Path(f"/proc/{{process}}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])

def forget():
    for mesh in [thing.data for thing in bpy.data.objects if thing.type == "MESH"]:
        bpy.data.meshes.remove(mesh)  # and its object; how splats look, their node group and material, stays
    bpy.context.view_layer.update()
    for job in list(jobs.queue.jobs):
        jobs.queue.dismiss(job)

for _ in range(given["jobs"]):
    assert bpy.ops.onestep3d.make_splats() == {{"FINISHED"}}
    worker = jobs.queue.hello["process"]
    bpy.context.evaluated_depsgraph_get()  # a window would draw them now
    row = {{"splats": jobs.queue.jobs[-1].findings["splats"], "seconds": jobs.queue.jobs[-1].seconds}}
    forget()
    time.sleep(0.5)  # threads that wrote the job's files may still end
    row |= {{"worker": worker, "worker_bytes": resident_bytes(worker), "untrimmed_bytes": resident_bytes(os.getpid())}}
    ctypes.CDLL(None).malloc_trim(0)
    row["blender_bytes"] = resident_bytes(os.getpid())
    counted = count_allocated()
    row["allocated_bytes"] = counted.uordblks + counted.hblkhd
    print("ROW " + json.dumps(row), flush=True)
addon_utils.disable("{_MODULE}", default_set=True)
"""


class Settings(BaseModel):
    """Which picture, how many jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: Path = Field(
        default=Path("../shared/assets/pictures/backpack.png"), description="the picture that becomes splats each time"
    )
    jobs: int = Field(default=10, ge=2, le=1000, description="jobs that are measured, after two that warm up")
    iterations: int = Field(default=60, ge=1, le=10_000, description="of each fit; more take longer, not more memory")


def run(settings: Settings) -> dict[str, Any]:
    """Run the jobs and look at the memory after each.

    Args:
        settings: which picture, how many jobs.

    Raises:
        UserError: Blender's module or the picture is not there, or a job failed.
    """
    blender = _REPOSITORY / ".venv-blender" / "bin" / "python"
    if not blender.exists() or not settings.picture.is_file():
        missing = settings.picture if blender.exists() else blender
        raise UserError(
            f"Expected Blender's Python module (make setup-blender) and a picture, but {missing} is not there."
        )
    with tempfile.TemporaryDirectory() as temporary:
        resources = Path(temporary, "resources")
        extension = resources / "extensions" / "user_default" / "onestep3d"
        build = [sys.executable, str(_REPOSITORY / "scripts" / "build_addon.py"), "--output-dir", temporary]
        subprocess.run([*build, "--folder", str(extension)], check=True, stdout=sys.stderr)
        given = {
            "python": sys.executable,
            "results": str(Path(temporary, "results")),
            "picture": str(settings.picture.absolute()),
            "iterations": settings.iterations,
            "jobs": _WARM_UP + settings.jobs,
        }
        return {
            name: _over_jobs(blender, resources, {**given, "undo_steps": steps}) for name, steps in _HISTORIES.items()
        }


def _over_jobs(blender: Path, resources: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The figures of one Blender that does the jobs with a history of some length."""
    done = subprocess.run(
        [str(blender), "-c", _JOBS, json.dumps(given)],
        env={**os.environ, "BLENDER_USER_RESOURCES": str(resources), "PYTHONPATH": str(_REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    marked = [line for line in done.stdout.splitlines() if line.startswith("ROW ")]
    rows = [json.loads(line.removeprefix("ROW ")) for line in marked]
    if done.returncode != 0 or len(rows) != given["jobs"]:
        raise UserError(f"Expected {given['jobs']} jobs, got {len(rows)}; what Blender said stands above.")
    read = ("worker", "blender", "untrimmed")
    growths = {f"{who}_growth": _growth([row[f"{who}_bytes"] for row in rows]) for who in read}
    measured = [row["allocated_bytes"] for row in rows[_WARM_UP:]]
    return {
        "undo_steps": given["undo_steps"],
        "jobs": rows,
        "one_worker": len({row["worker"] for row in rows}) == 1,
        **growths,
        "allocated_bytes_a_job": (measured[-1] - measured[0]) / (len(measured) - 1),
    }


def _growth(resident: list[int]) -> float:
    """Share by which the last job leaves more in memory than the last that warmed up."""
    return resident[-1] / resident[_WARM_UP - 1] - 1


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    short, own = (result[name] for name in _HISTORIES)
    lines = [
        f"| job | worker, MB | Blender, {short['undo_steps']} steps of undo, MB | free given back | "
        f"Blender, {own['undo_steps']} steps, MB | free given back |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    columns = ((short, "worker"), (short, "untrimmed"), (short, "blender"), (own, "untrimmed"), (own, "blender"))
    for place in range(len(short["jobs"])):
        label = "warm-up" if place < _WARM_UP else str(place - _WARM_UP + 1)
        memory = [measured["jobs"][place][f"{who}_bytes"] for measured, who in columns]
        lines.append(f"| {label} | {' | '.join(f'{bytes_ / 1e6:.0f}' for bytes_ in memory)} |")
    growths = [measured[f"{who}_growth"] for measured, who in columns]
    lines.append(f"| **growth** | {' | '.join(f'{growth:+.1%}' for growth in growths)} |")
    left, kept = (measured["allocated_bytes_a_job"] / 1e6 for measured in (short, own))
    lines += [
        "",
        f"A job leaves {left:.2f} MB allocated in Blender where its result cannot be undone any more, and "
        f"{kept:.2f} MB where it can.",
    ]
    return "\n".join(lines)
