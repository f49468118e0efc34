"""What the active camera sees, as a picture without view transform and before nothing, rendered beside the scene."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from .. import jobs
from ..queueing.job_requests import JobError
from ..references import Reference

_LONGEST_SIDE_PX = 1024
_MARK = "onestep3d_render"
"""Of a scene that is there for a render alone: steps of undo and files that were made meanwhile hold it, too."""

_in_work: set[int] = set()
"""Session numbers of such scenes whose render has not ended."""


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
    try:
        scene = _plain_copy(context.scene, file)
    except JobError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
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
    copy[_MARK] = True
    try:
        _make_plain(copy, file)
    except TypeError as error:  # the names of view transforms are those of the colour configuration
        bpy.data.scenes.remove(copy)
        raise JobError(
            f"Expected a colour configuration (OCIO) with the view transform Standard: {error}. Render the picture "
            "yourself, and choose it beside File."
        ) from None
    copy.name = f"{scene.name} (OneStep3D)"
    _in_work.add(copy.session_uid)
    return copy


def _make_plain(copy: bpy.types.Scene, file: Path) -> None:
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


def _remove(copy: Reference, folder: "tempfile.TemporaryDirectory[str]") -> None:
    _in_work.discard(copy.session_uid)
    scene = copy.found()
    if scene is not None and _MARK in scene:
        bpy.data.scenes.remove(scene)
    folder.cleanup()


@persistent
def _remove_left_over(*_: object) -> None:
    """A step of undo, or a file, that was made during a render brought its scene back."""
    for scene in [scene for scene in bpy.data.scenes if _MARK in scene and scene.session_uid not in _in_work]:
        bpy.data.scenes.remove(scene)


_HANDLERS = ("undo_post", "redo_post", "load_post")


def register() -> None:
    """See to it that no scene of a render comes back."""
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).append(_remove_left_over)


def unregister() -> None:
    """Look after them no more."""
    for name in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(_remove_left_over)
    _in_work.clear()
