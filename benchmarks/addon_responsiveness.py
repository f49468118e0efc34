"""Whether Blender's window stays alive while the add-on works: gaps between ticks of a timer, with and without a job.

A timer that asks to be called every 10 ms notes when it was, and has the 3D viewport drawn five times a second: first
with nothing else to do, then while views, splats and a texture are made, results brought in and drawn. Splats are much
to draw where no graphics card does it, whoever brought them: from when they come, gaps stand beside those of a window
that holds the same splats without a job. Its view turns, for Blender draws what stands still eight times and no more.

What the add-on itself holds the main thread for is measured inside: each press of a button, each of its ticks, each
drawing of its panels.
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
_SECONDS_OF_DRAWING = 4.0
"""From when a result comes: it is brought into the scene and drawn."""
_TURN_RADIANS = 0.02

# Panels are timed from before they are registered: Blender takes their methods then.
_PREPARE = f"""
import mathutils, pathlib, sys, time, addon_utils
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
TICKS, PRESSED, DRAW_AT, TURNED = [], [], [0.0], [0.0]
def note():
    now = time.perf_counter()
    state = jobs.queue.jobs[-1].state if PRESSED else ""
    TICKS.append((now, state in ("applying", "done", "failed", "cancelled")))
    if now >= DRAW_AT[0]:
        DRAW_AT[0] = now + 0.2
        area()[1].spaces.active.region_3d.view_rotation @= mathutils.Quaternion((0, 1, 0), TURNED[0])
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
    _watch_job(window, "onestep3d.make_splats")
    window.run("bpy.context.scene.onestep3d.num_views = 16; redraw(3)")
    found["rest"] = _watch_rest(window, settings.rest_seconds)
    window.run("DRAWN.clear(); jobs.longest_tick_seconds = jobs.longest_undo_seconds = 0.0")
    for name in ("generate_views", "make_splats"):
        found[name] = _watch_job(window, f"onestep3d.{name}")
    window.run("bpy.ops.mesh.primitive_monkey_add(calc_uvs=False); redraw(3)")
    found["texture_mesh"] = _watch_job(window, "onestep3d.texture_mesh")
    file = window.value("str(jobs.queue.jobs[-2].folder / 'results' / 'splats.ply')")
    window.run(f"bpy.ops.onestep3d.import_splats(filepath={file!r}); TURNED[0] = {_TURN_RADIANS}; redraw(3)")
    found["rest_with_splats"] = _watch_rest(window, settings.rest_seconds)
    found["splats"] = window.value("len(bpy.context.active_object.data.vertices)")
    found["longest_tick_seconds"] = window.value("jobs.longest_tick_seconds")
    found["longest_undo_seconds"] = window.value("jobs.longest_undo_seconds")
    found["draws"] = window.value("{name: (len(times), sum(times) / len(times)) for name, times in DRAWN.items()}")
    return found


def _watch_rest(window: BlenderWindow, seconds: float) -> dict[str, float]:
    """The gaps of a window in which nothing is done."""
    return _gaps([when for when, _ in _ticks(window, f"since > {seconds}", "PRESSED = []")])


def _watch_job(window: BlenderWindow, operator: str) -> dict[str, Any]:
    """Press a button, watch its job and the drawing of what it made, and take that away again."""
    ticks = _ticks(
        window,
        f"PRESSED and jobs.queue.jobs[-1].ended and not jobs._finished and since_result > {_SECONDS_OF_DRAWING}",
        "PRESSED = []\n"
        "def press():\n"
        "    began = time.perf_counter()\n"
        f"    bpy.ops.{operator}()\n"
        "    PRESSED.append(time.perf_counter() - began)\n"
        f"bpy.app.timers.register(press, first_interval={2 * _SECONDS_OF_QUESTION})",
    )
    state, sentence = (window.value(f"jobs.queue.jobs[-1].{name}") for name in ("state", "sentence"))
    if state != "done":
        raise UserError(f"Expected the job to succeed, got {state}: {sentence}")
    came = next(place for place, (_, result_came) in enumerate(ticks) if result_came)
    times = [when for when, _ in ticks]
    found = {
        **_gaps(times),
        "until_result": _gaps(times[:came]),
        "from_result": _gaps(times[came - 1 :]),
        "job_seconds": round(float(str(window.value("jobs.queue.jobs[-1].seconds"))), 1),
        "press_seconds": window.value("PRESSED[0]"),
    }
    window.run("for thing in list(bpy.data.objects): bpy.data.objects.remove(thing)")
    return found


def _ticks(window: BlenderWindow, until: str, begin: str = "") -> list[tuple[float, bool]]:
    """Watch until something holds: when each tick was, and whether the last job's result had come.

    Little is asked of Blender meanwhile, for that would be felt too.
    """
    window.run(
        f"{begin}\n"
        "TICKS[:] = []\n"
        "WATCHED = {}\n"
        "def watch():\n"
        "    now = time.perf_counter()\n"
        "    since = now - TICKS[0][0] if TICKS else 0.0\n"
        "    since_result = now - next((when for when, came in TICKS if came), now)\n"
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
    return [(when, came) for when, came in ticks if when > ticks[0][0] + _SECONDS_OF_QUESTION]


def _gaps(times: list[float]) -> dict[str, float]:
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    return {"ticks": len(gaps), "median_gap_seconds": gaps[len(gaps) // 2], "longest_gap_seconds": gaps[-1]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    made = result["make_splats"]
    gaps = {
        "no job": result["rest"],
        "Generate views": result["generate_views"],
        "Texture mesh": result["texture_mesh"],
        "Make splats until they come": made["until_result"],
        f"no job, {result['splats']:,} splats in the scene": result["rest_with_splats"],
        "Make splats from when they come": made["from_result"],
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
