"""What the active camera sees, as a picture without view transform and before nothing, rendered beside the scene."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import bpy

from . import jobs
from .references import Reference

_LONGEST_SIDE_PX = 1024


def render_picture(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    then: Callable[[bpy.types.Operator | None, bytes], set[str]],
) -> set[str]:
    """Render the scene's active camera and go on with the picture.

    With a window Blender renders as it always does, beside its work; Esc in the render cancels it.

    Args:
        operator: that asked.
        context: with a scene that has an active camera.
        then: is given the operator, None if it is gone by now, and the bytes of a PNG.

    Returns:
        What the operator returns.
    """
    if bpy.app.is_job_running("RENDER"):
        operator.report({"ERROR"}, "Blender renders already. Wait for it to end, or cancel it.")
        return {"CANCELLED"}
    folder = tempfile.TemporaryDirectory(prefix="onestep3d-render-")
    file = Path(folder.name) / "picture.png"
    scene = _plain_copy(context.scene, file)
    copy = Reference.of(scene)
    if bpy.app.background:
        try:
            bpy.ops.render.render(scene=scene.name, write_still=True)
            return then(operator, file.read_bytes())
        finally:
            _remove(copy, folder)
    view = context.preferences.view
    shown = view.render_display_type
    view.render_display_type = "NONE"
    try:
        bpy.ops.render.render("INVOKE_DEFAULT", scene=scene.name, write_still=True)
    finally:
        view.render_display_type = shown

    def go_on() -> None:
        content = file.read_bytes() if file.is_file() else None
        _remove(copy, folder)
        if content is not None:
            then(None, content)

    jobs.when(lambda: not bpy.app.is_job_running("RENDER"), go_on)
    return {"FINISHED"}


def _plain_copy(scene: bpy.types.Scene, file: Path) -> bpy.types.Scene:
    """A scene of the same objects, whose settings nobody has to put back."""
    copy = scene.copy()
    copy.name = f"{scene.name} (OneStep3D)"
    render, view = copy.render, copy.view_settings
    render.filepath, render.film_transparent = str(file), True
    if hasattr(render.image_settings, "media_type"):  # from Blender 5.0 on it says which formats there are
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "8"
    render.image_settings.color_management = "FOLLOW_SCENE"
    render.use_compositing = render.use_sequencer = render.use_border = render.use_stamp = False
    render.use_multiview, render.use_file_extension = False, False
    sides = [side * render.resolution_percentage / 100 for side in (render.resolution_x, render.resolution_y)]
    shrink = min(1.0, _LONGEST_SIDE_PX / max(sides))
    render.resolution_x, render.resolution_y = (max(4, round(side * shrink)) for side in sides)
    render.resolution_percentage = 100
    view.view_transform, view.look, view.exposure, view.gamma = "Standard", "None", 0.0, 1.0
    view.use_curve_mapping = False
    return copy


def _remove(copy: Reference, folder: "tempfile.TemporaryDirectory[str]") -> None:
    if (scene := copy.found()) is not None:
        bpy.data.scenes.remove(scene)
    folder.cleanup()
