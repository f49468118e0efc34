"""The cameras of a texture drawn in the viewport, before anything runs."""

from typing import Any

import bpy
import gpu
import numpy as np
from bpy.app.handlers import persistent
from gpu_extras.batch import batch_for_shader

from .job_requests import JobError
from .mesh_export import captured_mesh, mesh_problem
from .texture_cameras import AUTOMATIC, SELECTED, frustum_lines, ring_frames

_COLOUR = (1.0, 0.62, 0.18, 0.9)
_DEPTH = 0.35
"""Of a drawn camera, in radii of the mesh."""

_TAB = "OneStep3D"

_handle: Any = None
_known: dict[tuple[Any, ...], np.ndarray] = {}
"""Ends of lines by what they depend on: one entry, since one mesh is active."""


def camera_lines(context: bpy.types.Context) -> np.ndarray | None:
    """Ends of the lines [2 K, 3] that show the cameras around the active mesh, in the world; None if there are none.

    Args:
        context: of a viewport.
    """
    chosen, thing = context.scene.onestep3d_texture, context.active_object
    if not chosen.show_cameras or mesh_problem(thing) or chosen.cameras in (AUTOMATIC, SELECTED):
        return None
    place = tuple(value for row in thing.matrix_world for value in row)
    key = (thing.session_uid, place, chosen.cameras, chosen.num_views, chosen.azimuth_degrees)
    if key not in _known:
        _known.clear()
        _known[key] = _lines(context, thing)
    return _known[key] if len(_known[key]) else None


def _lines(context: bpy.types.Context, thing: bpy.types.Object) -> np.ndarray:
    chosen = context.scene.onestep3d_texture
    try:
        captured = captured_mesh(thing, context.evaluated_depsgraph_get())
    except JobError:  # the operator says why
        return np.zeros((0, 3), np.float32)
    frames = ring_frames(chosen.cameras, chosen.num_views, chosen.azimuth_degrees)
    in_unit = np.concatenate([frustum_lines(frame, _DEPTH) for frame in frames])
    unit_to_world = np.linalg.inv(captured.world_to_unit)
    return (in_unit @ unit_to_world[:3, :3].T + unit_to_world[:3, 3]).astype(np.float32)


def _draw() -> None:
    context = bpy.context
    if context.space_data is None or not context.space_data.overlay.show_overlays or not _tab_is_open(context):
        return
    lines = camera_lines(context)
    if lines is None:
        return
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    batch = batch_for_shader(shader, "LINES", {"pos": lines})
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", 1.5)
    shader.uniform_float("color", _COLOUR)
    batch.draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


def _tab_is_open(context: bpy.types.Context) -> bool:
    """Whether this viewport's sidebar shows the tab where cameras are chosen: elsewhere they would be in the way."""
    sidebar = next((region for region in context.area.regions if region.type == "UI"), None)
    if sidebar is None or not context.space_data.show_region_ui:
        return False
    return getattr(sidebar, "active_panel_category", _TAB) == _TAB


@persistent
def _forget(_: Any, depsgraph: Any) -> None:
    if _known and any(update.is_updated_geometry for update in depsgraph.updates):
        _known.clear()


def register() -> None:
    """Draw in every viewport that shows overlays."""
    global _handle
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    bpy.app.handlers.depsgraph_update_post.append(_forget)


def unregister() -> None:
    """Draw no more."""
    bpy.app.handlers.depsgraph_update_post.remove(_forget)
    bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _known.clear()
