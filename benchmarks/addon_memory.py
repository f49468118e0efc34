"""Memory of the worker and of Blender over jobs in a row, in a real window, as its buttons ask for them.

Each result is drawn, and removed from the scene again; two jobs warm up first. Memory is what the system holds resident
(Linux), some seconds later. It is read of the Blender that people run: Blender's Python module has another allocator.

What was removed can still be undone: Blender keeps as many steps of its history as its preferences say, 32 if nobody
changed them, and each holds the result that it brings back. That is the person's, and bounded. So the jobs run twice:
once with the shortest history that Blender admits, where what grows is what nobody can have back, and once with
Blender's own.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.blender_window import BlenderWindow, WindowSettings, built_extension
from distill_core.errors import UserError

_MODULE = "bl_ext.user_default.onestep3d"
_WARM_UP = 2
_HISTORIES = {"short_history": 2, "own_history": 32}
"""Steps of undo that Blender keeps: the fewest that it admits, and what it comes with."""
_JOB_SECONDS = 1800.0
_SETTLING_SECONDS = 12.0
"""Blender's allocator, jemalloc, gives back what has been free for ten seconds."""

_PREPARE = f"""
import os, pathlib, time, addon_utils
addon_utils.enable("{_MODULE}", default_set=True)
from {_MODULE} import jobs, preferences
chosen = preferences.of(bpy.context)
chosen.worker, chosen.python, chosen.device = "PYTHON", GIVEN["python"], "cpu"
chosen.results_folder = GIVEN["results"]
settings = bpy.context.scene.onestep3d
settings.picture_path, settings.splats_from = GIVEN["picture"], "PICTURE"
settings.iterations = GIVEN["iterations"]
bpy.context.preferences.edit.undo_steps = GIVEN["undo_steps"]
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
area()[1].spaces.active.show_region_ui = True

def resident_bytes(process):
    for line in pathlib.Path(f"/proc/{{process}}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])

def forget():
    for mesh in [thing.data for thing in bpy.data.objects if thing.type == "MESH"]:
        bpy.data.meshes.remove(mesh)  # and its object; how splats look, their node group and material, stays
    for job in list(jobs.queue.jobs):
        jobs.queue.dismiss(job)
"""


class Settings(WindowSettings):
    """Which Blender, which picture, how many jobs."""

    jobs: int = Field(default=10, ge=2, le=1000, description="jobs that are measured, after two that warm up")
    iterations: int = Field(default=60, ge=1, le=10_000, description="of each fit; more take longer, not more memory")
    window_size: str = Field(default="1024x700", description="of the screen that Blender fills")


def run(settings: Settings) -> dict[str, Any]:
    """Run the jobs and look at the memory after each.

    Args:
        settings: which Blender, which picture, how many jobs.

    Raises:
        UserError: no window can be had, or a job failed.
    """
    settings.check_files()
    with tempfile.TemporaryDirectory(prefix="onestep3d-window-") as temporary:
        folder = Path(temporary)
        window = BlenderWindow(
            settings.window_program.resolve(), settings.suite, folder / "state", settings.window_size
        )
        window.install(built_extension(folder))
        given = {
            "python": sys.executable,
            "results": str(folder / "results"),
            "picture": str(settings.picture.resolve()),
            "iterations": settings.iterations,
        }
        found: dict[str, Any] = {"window": settings.window_size}
        for name, steps in _HISTORIES.items():
            with window:
                window.run(f"GIVEN = { ({**given, 'undo_steps': steps})!r}\n{_PREPARE}")
                found["blender"] = window.value("bpy.app.version_string")
                found[name] = _over_jobs(window, _WARM_UP + settings.jobs, steps)
        return found


def _over_jobs(window: BlenderWindow, num_jobs: int, undo_steps: int) -> dict[str, Any]:
    """The figures of one Blender that does the jobs with a history of some length."""
    rows = []
    for _ in range(num_jobs):
        window.run("bpy.ops.onestep3d.make_splats() and None")
        window.wait("jobs.queue.jobs[-1].ended and not jobs._finished", seconds=_JOB_SECONDS)
        state, sentence, splats, seconds = (
            window.value(f"jobs.queue.jobs[-1].{name}")
            for name in ("state", "sentence", "findings.get('splats')", "seconds")
        )
        if state != "done":
            raise UserError(f"Expected the job to succeed, got {state}: {sentence}")
        window.run("redraw(3)\nforget()\nredraw(3) and None")
        time.sleep(_SETTLING_SECONDS)
        window.run("redraw(3) and None")
        worker, worker_bytes, blender_bytes = (
            window.value(expression)
            for expression in (
                "jobs.queue.hello['process']",
                "resident_bytes(jobs.queue.hello['process'])",
                "resident_bytes(os.getpid())",
            )
        )
        row = {"splats": splats, "seconds": seconds, "worker": worker}
        rows.append({**row, "worker_bytes": worker_bytes, "blender_bytes": blender_bytes})
    growths = {f"{who}_growth": _growth([row[f"{who}_bytes"] for row in rows]) for who in ("worker", "blender")}
    return {"undo_steps": undo_steps, "jobs": rows, "one_worker": len({row["worker"] for row in rows}) == 1, **growths}


def _growth(resident: list[int]) -> float:
    """Share by which the last job leaves more in memory than the last that warmed up."""
    return resident[-1] / resident[_WARM_UP - 1] - 1


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    short, own = (result[name] for name in _HISTORIES)
    heads = [
        f"{who}, {found['undo_steps']} steps of undo, MB" for found in (short, own) for who in ("worker", "Blender")
    ]
    lines = [f"| Blender {result['blender']}: job | {' | '.join(heads)} |", "| --- | ---: | ---: | ---: | ---: |"]
    columns = [(found, who) for found in (short, own) for who in ("worker", "blender")]
    for place in range(len(short["jobs"])):
        label = "warm-up" if place < _WARM_UP else str(place - _WARM_UP + 1)
        memory = [found["jobs"][place][f"{who}_bytes"] for found, who in columns]
        lines.append(f"| {label} | {' | '.join(f'{bytes_ / 1e6:.0f}' for bytes_ in memory)} |")
    growths = [found[f"{who}_growth"] for found, who in columns]
    return "\n".join([*lines, f"| **growth** | {' | '.join(f'{growth:+.1%}' for growth in growths)} |"])
