"""Whether Blender's window stays alive while the add-on works: gaps between ticks of a timer, with and without a job.

A timer that asks to be called every 10 ms notes when it was, and has the 3D viewport drawn five times a second: first
with nothing else to do, then while views and splats are made. What the add-on itself holds the main thread for is
measured inside: each of its ticks, each drawing of its panels.
"""

import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.blender_window import BlenderWindow, WindowSettings, built_extension
from distill_core.errors import UserError

_MODULE = "bl_ext.user_default.onestep3d"
_JOB_SECONDS = 1800.0
_SECONDS_BETWEEN_LOOKS = 10.0

# Panels are timed from before they are registered: Blender takes their methods then.
_PREPARE = f"""
import sys, time, addon_utils
DRAWN = {{}}
addon_utils.disable("{_MODULE}")
def time_panel(panel):
    plain = panel.draw
    def draw(self, context):
        began = time.perf_counter()
        plain(self, context)
        DRAWN.setdefault(panel.__name__, []).append(time.perf_counter() - began)
    panel.draw = draw
for name in sorted(name for name in sys.modules if name.startswith("{_MODULE}")):
    for found in getattr(sys.modules[name], "CLASSES", ()):
        if issubclass(found, bpy.types.Panel):
            time_panel(found)
addon_utils.enable("{_MODULE}", default_set=True)
from {_MODULE} import jobs, preferences
chosen = preferences.of(bpy.context)
chosen.worker, chosen.python, chosen.device = "PYTHON", GIVEN["python"], "cpu"
chosen.results_folder = GIVEN["results"]
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
settings = bpy.context.scene.onestep3d
settings.picture_path, settings.iterations = GIVEN["picture"], GIVEN["iterations"]
area()[1].spaces.active.show_region_ui = True
TICKS, DRAW_AT = [], [0.0]
def note():
    now = time.perf_counter()
    TICKS.append(now)
    if now >= DRAW_AT[0]:
        DRAW_AT[0] = now + 0.2
        area()[1].tag_redraw()
    return 0.01
bpy.app.timers.register(note)
"""


class Settings(WindowSettings):
    """Which Blender, which picture, how long."""

    window_size: str = Field(default="1024x700", description="of the screen that Blender fills")
    rest_seconds: float = Field(default=30.0, ge=1, description="how long the window is watched without a job")


def run(settings: Settings) -> dict[str, Any]:
    """Watch the window at rest, then during two jobs.

    Args:
        settings: which Blender, which picture.

    Raises:
        UserError: no window can be had, or a job failed.
    """
    settings.check_files()
    with tempfile.TemporaryDirectory(prefix="onestep3d-window-") as temporary:
        folder = Path(temporary)
        given = {
            "python": sys.executable,
            "results": str(folder / "results"),
            "picture": str(settings.picture.resolve()),
            "iterations": settings.iterations,
        }
        window = BlenderWindow(
            settings.window_program.resolve(), settings.suite, folder / "state", settings.window_size
        )
        window.install(built_extension(folder))
        with window:
            window.run(f"GIVEN = {given!r}\n{_PREPARE}")
            window.run(
                "next(region for region in area()[1].regions if region.type == 'UI').active_panel_category "
                "= 'OneStep3D'"
            )
            return _watch(window, settings)


def _watch(window: BlenderWindow, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"blender": window.value("bpy.app.version_string"), "window": settings.window_size}
    # The first draws compile shaders and fill caches.
    window.run("bpy.context.scene.onestep3d.num_views = 4; bpy.ops.onestep3d.generate_views()")
    _finish(window)
    window.run("for thing in list(bpy.data.objects): bpy.data.objects.remove(thing)")
    window.run("bpy.context.scene.onestep3d.num_views = 16; redraw(3)")
    found["rest"] = _gaps(window, f"time.perf_counter() - TICKS[0] > {settings.rest_seconds}")
    window.run("DRAWN.clear(); jobs.longest_tick_seconds = jobs.longest_undo_seconds = 0.0")
    for name in ("generate_views", "make_splats"):
        found[name] = _gaps(window, "jobs.queue.jobs[-1].ended and not jobs._finished", f"bpy.ops.onestep3d.{name}()")
        _finish(window)
        after = _gaps(window, "len(TICKS) > 100")  # the drawing of the result is felt, too
        found[name]["longest_gap_seconds"] = max(found[name]["longest_gap_seconds"], after["longest_gap_seconds"])
        found[name]["job_seconds"] = round(float(str(window.value("jobs.queue.jobs[-1].seconds"))), 1)
    found["longest_tick_seconds"] = window.value("jobs.longest_tick_seconds")
    found["longest_undo_seconds"] = window.value("jobs.longest_undo_seconds")
    found["draws"] = window.value("{name: (len(times), sum(times) / len(times)) for name, times in DRAWN.items()}")
    return found


def _gaps(window: BlenderWindow, until: str, begin: str = "") -> dict[str, float]:
    """Watch until something holds. Little is asked of Blender meanwhile, for that would be felt too."""
    window.run(
        f"{begin}\n"
        "TICKS[:] = [time.perf_counter()]\n"
        "WATCHED = {}\n"
        "def watch():\n"
        f"    if not ({until}):\n"
        "        return 0.05\n"
        "    WATCHED['ticks'] = list(TICKS)\n"
        "bpy.app.timers.register(watch)"
    )
    began = time.monotonic()
    while not window.value("bool(WATCHED)"):
        if time.monotonic() - began > _JOB_SECONDS:
            raise UserError(f"Expected a job to end within {_JOB_SECONDS:g} s, but it did not.")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    ticks = window.value("WATCHED['ticks']")
    assert isinstance(ticks, list)
    # What the question itself costs comes in the first and in the last moments.
    inside = [when for when in ticks if ticks[0] + 0.5 < when < ticks[-1]]
    gaps = sorted(after - before for before, after in itertools.pairwise(inside))
    return {
        "ticks": len(inside),
        "median_gap_seconds": gaps[len(gaps) // 2],
        "longest_gap_seconds": gaps[-1],
    }


def _finish(window: BlenderWindow) -> None:
    window.wait("jobs.queue.jobs[-1].ended", seconds=_JOB_SECONDS)
    state, sentence = (window.value(f"jobs.queue.jobs[-1].{name}") for name in ("state", "sentence"))
    if state != "done":
        raise UserError(f"Expected the job to succeed, got {state}: {sentence}")


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    names = {"rest": "no job", "generate_views": "Generate views", "make_splats": "Make splats"}
    figures = ("median_gap_seconds", "longest_gap_seconds")
    gaps = {label: [result[name][figure] for figure in figures] for name, label in names.items()}
    rows = [f"| {label} | {median * 1e3:.0f} | {longest * 1e3:.0f} |" for label, (median, longest) in gaps.items()]
    drawn = sum(seconds for _, seconds in result["draws"].values())
    return "\n".join(
        [
            f"| Blender {result['blender']}, {result['window']} | median gap, ms | longest gap, ms |",
            "| --- | ---: | ---: |",
            *rows,
            "",
            f"The add-on's longest tick: {result['longest_tick_seconds'] * 1e3:.0f} ms; Blender's step of undo for a "
            f"result: {result['longest_undo_seconds'] * 1e3:.0f} ms; all panels drawn: {drawn * 1e3:.1f} ms.",
        ]
    )
