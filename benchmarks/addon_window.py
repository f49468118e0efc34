"""The add-on in a real Blender window, end to end: a picture typed in, its buttons pressed, screenshots of each state.

Generate views, Make splats, see them; a mesh without texture coordinates, Texture mesh from the picture, see it. The
buttons are pressed with the display server's pointer; scenes are prepared and results counted by script.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import Field

from benchmarks.blender_window import BlenderWindow, WindowSettings, built_extension
from distill_core.errors import UserError

_MODULE = "bl_ext.user_default.onestep3d"
_VIEWPORT = (60, 82, 760, 805)
_JOB_SECONDS = 1800.0


class Settings(WindowSettings):
    """Which Blender, which picture, where screenshots go."""

    screenshots: Path = Field(default=Path("docs/pictures/addon"), description="folder for a .jpg of each state")


def run(settings: Settings) -> dict[str, Any]:
    """Go the whole way and count what came of it.

    Args:
        settings: which Blender, which picture.

    Raises:
        UserError: no window can be had, a button is missing, a job failed, or nothing can be seen of its result.
    """
    settings.check_files()
    settings.screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onestep3d-window-") as temporary:
        folder = Path(temporary)
        picture = Path(shutil.copyfile(settings.picture, folder / settings.picture.name))
        window = BlenderWindow(settings.window_program.resolve(), settings.suite, folder / "state", "1280x900")
        window.install(built_extension(folder))
        with window:
            try:
                return _walk(window, picture, settings, folder)
            except UserError as error:
                window.screenshot(settings.screenshots / "failed.jpg")
                raise UserError(f"{error} Blender's last words: {window.log()[-500:]}") from None


def _walk(window: BlenderWindow, picture: Path, settings: Settings, folder: Path) -> dict[str, Any]:
    shots = settings.screenshots
    found: dict[str, Any] = {"suite": settings.suite, "blender": window.value("bpy.app.version_string")}
    _open_tab(window)
    window.find("bpy.ops.onestep3d.install_worker")  # what a person meets who has nothing but the extension
    window.screenshot(shots / "fresh.jpg")
    _prepare(window, folder)
    window.enter("onestep3d.picture_path", str(picture))
    if window.value("bpy.context.scene.onestep3d.picture_path") != str(picture):
        raise UserError("Expected the path that was typed in the field of the picture, got another one.")
    window.run(f"bpy.context.scene.onestep3d.iterations = {settings.iterations}")
    window.find("bpy.ops.onestep3d.generate_views")
    window.screenshot(shots / "setup.jpg")

    window.press("bpy.ops.onestep3d.generate_views")
    window.wait("len(jobs.queue.jobs) == 1", seconds=60)
    window.screenshot(shots / "views-running.jpg")
    found["views_seconds"] = _ended(window, 1)
    found["cameras"] = window.value("len([thing for thing in bpy.data.objects if thing.type == 'CAMERA'])")
    _look(window, 9.0)
    window.find("bpy.ops.onestep3d.generate_views")
    window.screenshot(shots / "views.jpg")
    window.press("bpy.ops.onestep3d.show_contact_sheet")
    window.screenshot(shots / "contact-sheet.jpg")
    window.run(
        "with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]): bpy.ops.wm.window_close()"
    )

    window.run("for camera in [thing for thing in bpy.data.objects if thing.type == 'CAMERA']: camera.hide_set(True)")
    before = _viewport(window, folder)
    window.press("bpy.ops.onestep3d.make_splats")
    window.wait("len(jobs.queue.jobs) == 2", seconds=60)
    found["splats_seconds"] = _ended(window, 2)
    found["splats"] = window.value("jobs.queue.jobs[-1].findings['splats']")
    window.press("bpy.ops.onestep3d.show_splats")
    window.press("bpy.ops.onestep3d.standard_colours")
    window.run("bpy.ops.object.select_all(action='DESELECT')")
    _look(window, 4.0)
    found["splats_seen"] = _changed(before, _viewport(window, folder), "splats")
    window.screenshot(shots / "splats.jpg")

    window.run(
        "for thing in list(bpy.data.objects): thing.hide_set(True)\n"
        "bpy.ops.mesh.primitive_monkey_add(calc_uvs=False)\n"
        "monkey = bpy.context.object; monkey.modifiers.new('finer', 'SUBSURF').levels = 1\n"
        "bpy.ops.object.shade_smooth(); bpy.ops.object.modifier_apply(modifier='finer')"
    )
    found["coordinates_before"] = window.value("len(bpy.context.object.data.uv_layers)")
    _look(window, 4.0)
    before = _viewport(window, folder)
    window.press("bpy.ops.onestep3d.texture_mesh")
    window.wait("len(jobs.queue.jobs) == 3", seconds=60)
    window.wait("jobs.queue.jobs[-1].stage in ('views', 'texture') or jobs.queue.jobs[-1].ended", seconds=_JOB_SECONDS)
    window.screenshot(shots / "texture-running.jpg")
    found["texture_seconds"] = _ended(window, 3)
    found["coordinates_after"] = window.value("len(bpy.context.object.data.uv_layers)")
    found["materials"] = window.value("[slot.material.name for slot in bpy.context.object.material_slots]")
    found["texture_seen"] = _changed(before, _viewport(window, folder), "texture")
    window.screenshot(shots / "textured.jpg")
    window.find("bpy.ops.onestep3d.copy_log")
    window.screenshot(shots / "jobs.jpg")
    found["longest_tick_seconds"] = window.value("jobs.longest_tick_seconds")
    # Blender prints what is wrong with a panel and goes on without its buttons.
    if "Traceback" in (said := window.log()):
        raise UserError(f"Expected no error of Python in Blender's terminal, got: {said[said.index('Traceback') :]}")
    return found


def _open_tab(window: BlenderWindow) -> None:
    """The sidebar, and the tab in it."""
    window.run("area()[1].spaces.active.show_region_ui = True")
    window.run(
        "next(region for region in area()[1].regions if region.type == 'UI').active_panel_category = 'OneStep3D'"
    )


def _prepare(window: BlenderWindow, folder: Path) -> None:
    """An empty scene, this environment's Python as the worker."""
    window.run(
        f"from {_MODULE} import jobs, preferences\n"
        "chosen = preferences.of(bpy.context)\n"
        f"chosen.worker, chosen.python, chosen.device = 'PYTHON', {sys.executable!r}, 'cpu'\n"
        f"chosen.results_folder = {str(folder / 'results')!r}\n"
        "for thing in list(bpy.data.objects): bpy.data.objects.remove(thing)"
    )


def _ended(window: BlenderWindow, number: int) -> float:
    """Wait for the end of a job, which must be a good one; returns its seconds."""
    job = f"jobs.queue.jobs[{number - 1}]"
    window.wait(f"{job}.ended", seconds=_JOB_SECONDS)
    state, sentence, seconds = (window.value(f"{job}.{name}") for name in ("state", "sentence", "seconds"))
    if state != "done":
        raise UserError(f"Expected job {number} to succeed, got {state}: {sentence}")
    return round(float(str(seconds)), 1)


def _look(window: BlenderWindow, distance: float) -> None:
    """Turn the view to the origin, from a little above and from the side."""
    window.run(
        "import mathutils\n"
        "view = area()[1].spaces.active.region_3d\n"
        "view.view_location = (0, 0, 0)\n"
        f"view.view_distance = {distance}\n"
        "view.view_rotation = mathutils.Euler((1.25, 0, 0.2)).to_quaternion()"
    )


def _viewport(window: BlenderWindow, folder: Path) -> Any:
    """The pixels of the viewport, [H, W, 3] in 0..1."""
    import numpy as np
    from PIL import Image

    file = folder / "viewport.jpg"
    window.screenshot(file)
    with Image.open(file) as picture:
        return np.asarray(picture.crop(_VIEWPORT), np.float32) / 255


def _changed(before: Any, after: Any, what: str) -> float:
    """Share of the viewport's pixels that look otherwise than before."""
    share = float((abs(after - before).max(axis=-1) > 0.1).mean())
    if share < 0.02:
        raise UserError(f"Expected to see the {what} in the viewport, but only {share:.1%} of it changed.")
    return round(share, 3)


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    rows = [
        ("Generate views", result["views_seconds"], f"{result['cameras']} cameras with their pictures"),
        ("Make splats", result["splats_seconds"], f"{result['splats']:,} splats"),
        ("Texture mesh", result["texture_seconds"], ", ".join(result["materials"])),
    ]
    lines = [f"| pressed in Blender {result['blender']} | seconds | result |", "| --- | ---: | --- |"]
    return "\n".join([*lines, *(f"| {name} | {seconds:.0f} | {what} |" for name, seconds, what in rows)])
