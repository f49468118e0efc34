"""Whether Blender's window stays alive while the add-on works: gaps between ticks of a timer, with and without a job.

A timer that asks to be called every 10 ms notes when it was, and has the 3D viewport drawn five times a second: first
with nothing else to do, then while views, splats and a texture are made. The first drawing of a result is Blender's own
work and comes after the job; it stands beside that of the same splats imported from their file. What the add-on itself
holds the main thread for is measured inside: each press of a button, each of its ticks, each drawing of its panels.
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
_SECONDS_OF_QUESTION = 0.5
"""What it costs to ask Blender for something comes in the first moments after."""
_SECONDS_OF_DRAWING = 2.0
"""After a job: its result is drawn for the first time."""

# Panels are timed from before they are registered: Blender takes their methods then.
_PREPARE = f"""
import pathlib, sys, time, addon_utils
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
TICKS, PRESSED, DRAW_AT = [], [], [0.0]
def note():
    now = time.perf_counter()
    TICKS.append((now, len(PRESSED) > 0 and jobs.queue.jobs[-1].ended))
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
    """Watch the window at rest, then during three jobs.

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
    window.run("bpy.context.scene.onestep3d.num_views = 4")
    _watch_job(window, "onestep3d.generate_views")
    found["splats_drawn_first"] = _watch_job(window, "onestep3d.make_splats")["drawn"]
    window.run("bpy.context.scene.onestep3d.num_views = 16; redraw(3)")
    file = str(window.value("str(next(pathlib.Path(GIVEN['results']).glob('*splats*/results/splats.ply')))"))
    found["imported_splats_drawn"] = _watch_job(window, "onestep3d.import_splats", f"filepath={file!r}")["drawn"]
    found["rest"] = _gaps(_ticks(window, f"since > {settings.rest_seconds}", "PRESSED = []"))
    window.run("DRAWN.clear(); jobs.longest_tick_seconds = jobs.longest_undo_seconds = 0.0")
    for name in ("generate_views", "make_splats"):
        found[name] = _watch_job(window, f"onestep3d.{name}")
    window.run("bpy.ops.mesh.primitive_monkey_add(calc_uvs=False); redraw(3)")
    found["texture_mesh"] = _watch_job(window, "onestep3d.texture_mesh")
    found["longest_tick_seconds"] = window.value("jobs.longest_tick_seconds")
    found["longest_undo_seconds"] = window.value("jobs.longest_undo_seconds")
    found["draws"] = window.value("{name: (len(times), sum(times) / len(times)) for name, times in DRAWN.items()}")
    return found


def _watch_job(window: BlenderWindow, operator: str, given: str = "") -> dict[str, Any]:
    """Press a button, watch its job and the drawing of what it made, and take that away again."""
    ticks = _ticks(
        window,
        f"PRESSED and jobs.queue.jobs[-1].ended and not jobs._finished and since_end > {_SECONDS_OF_DRAWING}",
        "PRESSED = []\n"
        "def press():\n"
        "    began = time.perf_counter()\n"
        f"    bpy.ops.{operator}({given})\n"
        "    PRESSED.append(time.perf_counter() - began)\n"
        f"bpy.app.timers.register(press, first_interval={2 * _SECONDS_OF_QUESTION})",
    )
    state, sentence = (window.value(f"jobs.queue.jobs[-1].{name}") for name in ("state", "sentence"))
    if state != "done":
        raise UserError(f"Expected the job to succeed, got {state}: {sentence}")
    found = {
        **_gaps(ticks),
        "drawn": _gaps(ticks, after_job=True),
        "job_seconds": round(float(str(window.value("jobs.queue.jobs[-1].seconds"))), 1),
        "press_seconds": window.value("PRESSED[0]"),
    }
    window.run("for thing in list(bpy.data.objects): bpy.data.objects.remove(thing)")
    return found


def _ticks(window: BlenderWindow, until: str, begin: str = "") -> list[tuple[float, bool]]:
    """Watch until something holds: when each tick was, and whether the last job had ended.

    Little is asked of Blender meanwhile, for that would be felt too.
    """
    window.run(
        f"{begin}\n"
        "TICKS[:] = []\n"
        "WATCHED = {}\n"
        "def watch():\n"
        "    now = time.perf_counter()\n"
        "    since = now - TICKS[0][0] if TICKS else 0.0\n"
        "    since_end = now - next((when for when, ended in TICKS if ended), now)\n"
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
    return [(when, ended) for when, ended in ticks if when > ticks[0][0] + _SECONDS_OF_QUESTION]


def _gaps(ticks: list[tuple[float, bool]], *, after_job: bool = False) -> dict[str, float]:
    """The gaps during a job, or those after it; that in which it ended is after it, for its result is drawn then."""
    pairs = itertools.pairwise(ticks)
    gaps = sorted(after - before for (before, _), (after, ended) in pairs if ended == after_job)
    return {"ticks": len(gaps), "median_gap_seconds": gaps[len(gaps) // 2], "longest_gap_seconds": gaps[-1]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    gaps = {
        "no job": result["rest"],
        "Generate views": result["generate_views"],
        "Make splats": result["make_splats"],
        "Texture mesh": result["texture_mesh"],
        "the views drawn for the first time": result["generate_views"]["drawn"],
        "the splats drawn for the first time": result["make_splats"]["drawn"],
        "the same splats imported and drawn": result["imported_splats_drawn"],
    }
    rows = [
        f"| {label} | {found['median_gap_seconds'] * 1e3:.0f} | {found['longest_gap_seconds'] * 1e3:.0f} |"
        for label, found in gaps.items()
    ]
    drawn = sum(seconds for _, seconds in result["draws"].values())
    pressed = max(result[name]["press_seconds"] for name in ("generate_views", "make_splats", "texture_mesh"))
    return "\n".join(
        [
            f"| Blender {result['blender']}, {result['window']} | median gap, ms | longest gap, ms |",
            "| --- | ---: | ---: |",
            *rows,
            "",
            f"The add-on's longest tick: {result['longest_tick_seconds'] * 1e3:.0f} ms; a button pressed: "
            f"{pressed * 1e3:.0f} ms; Blender's step of undo for a result: {result['longest_undo_seconds'] * 1e3:.0f} "
            f"ms; all panels drawn: {drawn * 1e3:.1f} ms.",
        ]
    )
