"""The cameras that are drawn before a texture is made: where the job's cameras stand, at no cost for a redraw."""

from pathlib import Path

import numpy as np
import pytest

from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

OVERLAY = """
import math
import numpy as np
from bl_ext.user_default.onestep3d.texturing import camera_overlay, mesh_export, texture_cameras
texture = scene.onestep3d_texture
texture.cameras, texture.show_cameras, texture.num_views, texture.azimuth_degrees = "RING", True, 8, 20.0

def settled():
    '''The lines once they are of the mesh as it is.'''
    camera_overlay.camera_lines(bpy.context)
    while camera_overlay.look() is not None:
        time.sleep(0.01)
    return camera_overlay.camera_lines(bpy.context)

def of_the_job(thing):
    captured = mesh_export.captured_mesh(thing, bpy.context.evaluated_depsgraph_get())
    frames = texture_cameras.ring_frames("RING", 8, 20.0)
    in_unit = np.concatenate([texture_cameras.frustum_lines(frame, 0.35) for frame in frames])
    to_world = np.linalg.inv(captured.world_to_unit)
    return in_unit @ to_world[:3, :3].T + to_world[:3, 3], to_world[0, 0]

def off(thing):
    '''How far the lines are from those of the job, in radii of the mesh.'''
    expected, radius = of_the_job(thing)
    return float(np.abs(settled() - expected).max() / radius)
"""


def test_they_stand_where_the_job_takes_its_views_from(tmp_path: Path) -> None:
    found = run_addon(
        OVERLAY
        + """
bpy.ops.mesh.primitive_monkey_add()
monkey = bpy.context.object
monkey.rotation_euler, monkey.location, monkey.scale = (0.2, 0.1, 0.7), (3, -2, 1), (1.5, -0.9, 1.2)
monkey.data.vertices.add(1)
monkey.data.vertices[-1].co = (50, 50, 50)  # no face uses it
monkey.data.update()
bpy.context.view_layer.update()
found["off"] = [off(monkey)]
monkey.modifiers.new("finer", "SUBSURF").levels = 1
bpy.context.view_layer.update()
found["off"].append(off(monkey))
monkey.rotation_euler, monkey.location = (1.0, 2.0, 3.0), (-4, 5, 6)
bpy.context.view_layer.update()
found["off"].append(off(monkey))
monkey.modifiers["finer"].levels = 3
bpy.context.view_layer.update()
found["large"] = [off(monkey)]
monkey.scale = (0.1, 5, 1)
bpy.context.view_layer.update()
found["large"].append(off(monkey))
# Another mesh does not wear the cameras of the one before, not even for a moment.
bpy.ops.mesh.primitive_cube_add(location=(100, 0, 0))
found["at once"] = camera_overlay.camera_lines(bpy.context) is None
found["off"].append(off(bpy.context.object))
# Nothing to look at: no cameras.
bpy.ops.mesh.primitive_cube_add()
bpy.context.object.data.clear_geometry()
bpy.context.view_layer.update()
found["empty"] = settled() is None
""",
        tmp_path,
    )
    assert max(found["off"]) < 1e-4
    # A hundredth of the distance at which a camera of 40 degrees sees a ball from edge to edge.
    assert max(found["large"]) < 0.01 / np.sin(np.radians(20))
    assert found["at once"]
    assert found["empty"]


def test_a_redraw_costs_less_than_two_milliseconds_with_a_million_triangles(tmp_path: Path) -> None:
    found = run_addon(
        OVERLAY
        + """
bpy.ops.mesh.primitive_grid_add(x_subdivisions=708, y_subdivisions=708)
grid = bpy.context.object
found["triangles"] = 2 * len(grid.data.polygons)
found["off"] = off(grid)

def redrawn():
    '''Milliseconds that a redraw takes of the main thread.'''
    bpy.context.view_layer.update()
    began = time.thread_time()
    assert camera_overlay.camera_lines(bpy.context) is not None
    return 1000 * (time.thread_time() - began)

found["moved"], found["changed"], found["looked"] = [], [], []
for step in range(20):
    grid.location.x, grid.rotation_euler.z = step, 0.1 * step
    found["moved"].append(redrawn())
for step in range(10):
    grid.data.vertices[0].co.z = -10 - step
    grid.data.update()
    found["changed"].append(redrawn())
    began = time.thread_time()
    camera_overlay.look()
    found["looked"].append(1000 * (time.thread_time() - began))
    settled()
found["off after"] = off(grid)
""",
        tmp_path,
    )
    assert found["triangles"] >= 999_000
    assert max(found["off"], found["off after"]) < 0.03
    assert np.median(found["moved"]) < 2
    assert np.median(found["changed"]) < 2
    assert np.median(found["looked"]) < 20  # once a change, by the timer
