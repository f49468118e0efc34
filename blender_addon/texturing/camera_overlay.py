"""The cameras of a texture drawn in the viewport, before anything runs."""

import functools
from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np
from bpy.app.handlers import persistent
from gpu_extras.batch import batch_for_shader

from ..queueing.background import Background
from ..queueing.job_requests import JobError
from ..references import Reference
from ..view_layers import layers_with
from .mesh_export import mesh_problem, unit_ball
from .mesh_outline import outermost
from .texture_cameras import AUTOMATIC, SELECTED, frustum_lines, ring_frames

_COLOUR = (1.0, 0.62, 0.18, 0.9)
_DEPTH = 0.35
"""Of a drawn camera, in radii of the mesh."""

_TAB = "OneStep3D"
_SECONDS_BETWEEN_LOOKS = 0.02
_SAME_STRETCH = 1e-3

_handle: Any = None


@dataclass(frozen=True, eq=False)
class _Outline:
    """The outermost points of a mesh, found in a thread.

    Attributes:
        session_uid: of the object.
        stretch: [3, 3] of its place in the world, without turn and size.
        work: gives the points [K, 3], in the object's own space.
    """

    session_uid: int
    stretch: np.ndarray
    work: Background


_known: _Outline | None = None
_coming: _Outline | None = None
_wanted: Reference | None = None
_changed = False
"""Whether a mesh was changed since the last outline was begun."""


def camera_lines(context: bpy.types.Context) -> np.ndarray | None:
    """Ends of the lines [2 K, 3] that show the cameras around the active mesh, in the world.

    A redraw asks for them: what takes longer than a fraction of a millisecond is done by the timer and a thread, and
    the lines of a mesh that was changed follow a moment later. Of a large mesh they may stand a hundredth nearer than
    those of the job.

    Args:
        context: of a viewport.

    Returns:
        None if there are none, or none yet.
    """
    chosen, thing = context.scene.onestep3d_texture, context.active_object
    if not chosen.show_cameras or mesh_problem(thing) or chosen.cameras in (AUTOMATIC, SELECTED):
        return None
    evaluated = thing.evaluated_get(context.evaluated_depsgraph_get())
    to_world = np.array(evaluated.matrix_world, np.float64)
    points = _outermost(thing, to_world[:3, :3])
    if points is None or not len(points):
        return None
    try:
        world_to_unit = unit_ball(points @ to_world[:3, :3].T + to_world[:3, 3], thing.name)
    except JobError:  # the operator says why
        return None
    unit_to_world = np.linalg.inv(world_to_unit)
    in_unit = _lines_in_unit(chosen.cameras, chosen.num_views, chosen.azimuth_degrees)
    return (in_unit @ unit_to_world[:3, :3].T + unit_to_world[:3, 3]).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _lines_in_unit(cameras: str, num_views: int, azimuth_degrees: float) -> np.ndarray:
    frames = ring_frames(cameras, num_views, azimuth_degrees)
    return np.concatenate([frustum_lines(frame, _DEPTH) for frame in frames])


def _outermost(thing: bpy.types.Object, to_world: np.ndarray) -> np.ndarray | None:
    """The outermost points of a mesh as far as they are known, those before a change until the new ones come."""
    global _known, _coming, _wanted
    if _coming is not None and _coming.work.finished:
        _known, _coming = _coming, None
    stretch = _stretch(to_world)
    latest = _coming or _known
    same = (
        latest is not None
        and latest.session_uid == thing.session_uid
        and np.allclose(latest.stretch, stretch, atol=_SAME_STRETCH)
    )
    if _changed or not same:
        _wanted = Reference.of(thing)
        if not bpy.app.background and not bpy.app.timers.is_registered(look):
            bpy.app.timers.register(look)
    return _known.work.result if _known is not None and _known.session_uid == thing.session_uid else None


def _stretch(to_world: np.ndarray) -> np.ndarray:
    """A place in the world without its turn and its size."""
    squared = to_world.T @ to_world
    return squared / max(np.trace(squared), np.finfo(np.float64).tiny)


def look() -> float | None:
    """Begin with the points that a redraw missed; once they are there, draw the viewports: what the timer calls.

    Returns:
        Seconds until it is wanted again; None when the points are there.
    """
    if _coming is None and _wanted is not None:
        _begin(_wanted)
    if _coming is not None and not _coming.work.finished:
        return _SECONDS_BETWEEN_LOOKS
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
    return None


def _begin(wanted: Reference) -> None:
    """Copy a mesh, which takes a few milliseconds, and let a thread find its outermost points."""
    global _coming, _wanted, _changed
    _wanted = None
    thing = wanted.found()
    layers = [] if thing is None else layers_with(thing)
    if thing is None or not layers:
        return
    layer = layers[0]
    layer.update()
    _changed = False
    evaluated = thing.evaluated_get(layer.depsgraph)
    mesh, to_world = evaluated.data, np.array(evaluated.matrix_world, np.float64)[:3, :3]
    # Attributes are copied in one go; through `vertices` and `loops` the same takes a hundred times as long.
    places, used = np.zeros((len(mesh.vertices), 3), np.float32), np.zeros(len(mesh.loops), np.int32)
    mesh.attributes["position"].data.foreach_get("vector", places.ravel())
    mesh.attributes[".corner_vert"].data.foreach_get("value", used)
    work = Background(lambda: outermost(places, used, to_world))
    _coming = _Outline(thing.session_uid, _stretch(to_world), work)


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
def _notice(_: Any, depsgraph: Any) -> None:
    global _changed
    _changed = _changed or any(update.is_updated_geometry for update in depsgraph.updates)


def register() -> None:
    """Draw in every viewport that shows overlays."""
    global _handle
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    bpy.app.handlers.depsgraph_update_post.append(_notice)


def unregister() -> None:
    """Draw no more."""
    global _known, _coming, _wanted
    bpy.app.handlers.depsgraph_update_post.remove(_notice)
    bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    if bpy.app.timers.is_registered(look):
        bpy.app.timers.unregister(look)
    _known = _coming = _wanted = None
