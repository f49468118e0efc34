"""Whether Blender's window stays alive while the add-on works: gaps between ticks of a timer, with and without a job.

A timer that asks to be called every 10 ms notes when it was, turns the view a little five times a second and has the
whole window drawn: before a job, until its result comes, while that is brought in and drawn, and afterwards. What a
result costs to draw where no graphics card does it is Blender's own affair, and as long as it lies in the scene: so the
gaps until it comes stand beside those before the job, and the gaps from then on beside those afterwards.

Time in which the whole machine stood still, as a virtual one does when its host has others to run, is taken out of the
gaps, and they are returned with it too: whether it falls into the job or beside it is chance. For the same reason free
memory is kept in the machine (`BackedMemory`), and Blender's allocator is told to do without large pages, which only
come from what such a machine gives away: the first touch of one may cost more than all that is measured here.

What the add-on itself holds the main thread for is measured inside: each press of a button, each of its ticks, each
drawing of its panels.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.backed_memory import BackedMemory
from benchmarks.blender_window import BlenderWindow, WindowSettings, built_extension
from benchmarks.standstill import Span, StandstillWatch, seconds_within
from distill_core.errors import UserError

_MODULE = "bl_ext.user_default.onestep3d"
_JOBS = {"generate_views": "Generate views", "make_splats": "Make splats", "texture_mesh": "Texture mesh"}
_PARTS = ("before", "until_result", "from_result", "after")
_JOB_SECONDS = 1800.0
_SECONDS_BETWEEN_LOOKS = 10.0
_SECONDS_OF_QUESTION = 0.5
"""What it costs to ask Blender for something comes in the first moments after."""
_SECONDS_OF_DRAWING = 4.0
"""From when a result comes: it is brought into the scene and drawn."""
_TURN_RADIANS = 0.02
_NO_LARGE_PAGES = {"MALLOC_CONF": "thp:never,metadata_thp:disabled"}
"""For jemalloc, Blender's allocator, which else asks for them."""

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
TICKS, PRESSED, DRAW_AT = [], [], [0.0]
def note():
    now = time.perf_counter()
    state = jobs.queue.jobs[-1].state if PRESSED else ""
    TICKS.append((now, state in ("applying", "done", "failed", "cancelled")))
    if now >= DRAW_AT[0]:
        DRAW_AT[0] = now + 0.2
        window, viewport = area()
        viewport.spaces.active.region_3d.view_rotation @= mathutils.Quaternion((0, 1, 0), {_TURN_RADIANS})
        for editor in window.screen.areas:
            editor.tag_redraw()
    return 0.01
bpy.app.timers.register(note)
"""


class Settings(WindowSettings):
    """Which Blender, which picture, how long."""

    window_size: str = Field(default="1024x700", description="of the screen that Blender fills")
    rest_seconds: float = Field(
        default=20.0, ge=1, description="how long the window is watched before and after each job"
    )
    backed_gibibytes: float = Field(
        default=4.0, ge=0, description="of free memory that a virtual machine must not give away; 0: as it comes"
    )


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
            settings.window_program.resolve(),
            settings.suite,
            folder / "state",
            settings.window_size,
            _NO_LARGE_PAGES if settings.backed_gibibytes else None,
        )
        window.install(built_extension(folder))
        with BackedMemory(settings.backed_gibibytes), StandstillWatch() as watch, window:
            window.run(f"GIVEN = {given!r}\n{_PREPARE}")
            window.run(
                "next(region for region in area()[1].regions if region.type == 'UI').active_panel_category "
                "= 'OneStep3D'"
            )
            return _watch(window, settings, watch)


def _watch(window: BlenderWindow, settings: Settings, watch: StandstillWatch) -> dict[str, Any]:
    found: dict[str, Any] = {
        "blender": window.value("bpy.app.version_string"),
        "window": settings.window_size,
        "standstill_watched": watch.possible,
    }
    # The first draws compile shaders and fill caches.
    window.run("bpy.context.scene.onestep3d.num_views = 4")
    for name in _JOBS:
        _watch_job(window, watch, name, rest_seconds=1.0)
    window.run("bpy.context.scene.onestep3d.num_views = 16; DRAWN.clear()")
    window.run("jobs.longest_tick_seconds = jobs.longest_undo_seconds = 0.0")
    for name in _JOBS:
        found[name] = _watch_job(window, watch, name, settings.rest_seconds)
    found["longest_tick_seconds"] = window.value("jobs.longest_tick_seconds")
    found["longest_undo_seconds"] = window.value("jobs.longest_undo_seconds")
    found["draws"] = window.value("{name: (len(times), sum(times) / len(times)) for name, times in DRAWN.items()}")
    return found


def _watch_job(window: BlenderWindow, watch: StandstillWatch, name: str, rest_seconds: float) -> dict[str, Any]:
    """Press a button and watch the window before, during and after its job; then take away what it made."""
    if name == "texture_mesh":
        window.run("bpy.ops.mesh.primitive_monkey_add(calc_uvs=False); redraw(3)")
    before = _watch_rest(window, rest_seconds)
    ticks = _ticks(
        window,
        f"PRESSED and jobs.queue.jobs[-1].ended and not jobs._finished and since_result > {_SECONDS_OF_DRAWING}",
        "PRESSED = []\n"
        "def press():\n"
        "    began = time.perf_counter()\n"
        f"    bpy.ops.onestep3d.{name}()\n"
        "    PRESSED.append(time.perf_counter() - began)\n"
        f"bpy.app.timers.register(press, first_interval={2 * _SECONDS_OF_QUESTION})",
    )
    pressed = window.value("PRESSED[0]")
    state, sentence = (window.value(f"jobs.queue.jobs[-1].{what}") for what in ("state", "sentence"))
    if state != "done":
        raise UserError(f"Expected the job to succeed, got {state}: {sentence}")
    came = next(place for place, (_, result_came) in enumerate(ticks) if result_came)
    times = [when for when, _ in ticks]
    parts = {
        "before": before,
        "until_result": times[:came],
        "from_result": times[came - 1 :],
        "after": _watch_rest(window, rest_seconds),
    }
    still = watch.spans()
    found = {
        **{part: _gaps(ticks_of_part, still) for part, ticks_of_part in parts.items()},
        "job_seconds": round(float(str(window.value("jobs.queue.jobs[-1].seconds"))), 1),
        "press_seconds": pressed,
    }
    window.run("for thing in list(bpy.data.objects): bpy.data.objects.remove(thing)")
    return found


def _watch_rest(window: BlenderWindow, seconds: float) -> list[float]:
    """When the ticks were of a window in which nothing is done."""
    return [when for when, _ in _ticks(window, f"since > {_SECONDS_OF_QUESTION + seconds}", "PRESSED = []")]


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


def _gaps(times: list[float], still: Sequence[Span]) -> dict[str, float]:
    """Figures of the gaps between ticks, each less what the machine stood still in it where nothing else is said."""
    spans = list(itertools.pairwise(times))
    gaps = sorted(after - before - seconds_within(still, before, after) for before, after in spans)
    return {
        "ticks": len(gaps),
        "median_gap_seconds": gaps[len(gaps) // 2],
        "longest_gap_seconds": gaps[-1],
        "longest_gap_as_it_was_seconds": max(after - before for before, after in spans),
        "stood_still_seconds": seconds_within(still, times[0], times[-1]),
        "watched_seconds": times[-1] - times[0],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    rows = [
        f"| {label} | {' | '.join(_cell(result[name][part]) for part in _PARTS)} |" for name, label in _JOBS.items()
    ]
    parts = [result[name][part] for name in _JOBS for part in _PARTS]
    watched, still = (sum(part[f"{what}_seconds"] for part in parts) for what in ("watched", "stood_still"))
    drawn = sum(seconds for _, seconds in result["draws"].values())
    pressed = max(result[name]["press_seconds"] for name in _JOBS)
    standstill = (
        f"The whole machine stood still for {still:.1f} s of {watched:.0f} s, which is taken out of the gaps; in "
        "brackets: the longest with it."
        if result["standstill_watched"]
        else "Whether the machine itself stood still was not watched: the system admits no real-time priority."
    )
    return "\n".join(
        [
            f"| Blender {result['blender']}, {result['window']}: longest gap, ms | no job | "
            "until the result comes | from then on | no job, with the result |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            standstill,
            "",
            f"The add-on's longest tick: {result['longest_tick_seconds'] * 1e3:.0f} ms; a button pressed: "
            f"{pressed * 1e3:.0f} ms; Blender's step of undo for a result: {result['longest_undo_seconds'] * 1e3:.0f} "
            f"ms; all panels drawn: {drawn * 1e3:.1f} ms.",
        ]
    )


def _cell(part: dict[str, float]) -> str:
    """The longest gap in ms, and in brackets as it was where that is another number."""
    longest, as_it_was = (f"{part[f'longest_gap_{which}seconds'] * 1e3:.0f}" for which in ("", "as_it_was_"))
    return longest if longest == as_it_was else f"{longest} ({as_it_was})"
