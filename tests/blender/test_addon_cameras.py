"""Blender's cameras as the add-on states them, against Blender's own pictures and the project's rasterizer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distill_core.cameras import Camera
from distill_core.records.transforms_files import stated_views
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import load_mesh
from tests.blender.addon_process import run_addon
from tests.blender.shapes import write_ply

pytestmark = pytest.mark.blender

# Blender's pictures are four times as large, so that their corners lie within an eighth of a pixel.
FINER = 4
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.5
# Distance, lens, sensor fit, sensor, shift, size in pixels, pixel aspect.
LENSES: list[dict[str, Any]] = [
    {
        "distance": 3.4,
        "lens": 50,
        "fit": "AUTO",
        "sensor": (36, 24),
        "shift": (0, 0),
        "size": (160, 120),
        "aspect": (1, 1),
    },
    {
        "distance": 3.4,
        "lens": 35,
        "fit": "AUTO",
        "sensor": (32, 18),
        "shift": (0.1, -0.05),
        "size": (120, 160),
        "aspect": (1, 1),
    },
    {
        "distance": 3.4,
        "lens": 40,
        "fit": "HORIZONTAL",
        "sensor": (30, 10),
        "shift": (-0.12, 0.2),
        "size": (96, 160),
        "aspect": (1, 1),
    },
    {
        "distance": 3.4,
        "lens": 30,
        "fit": "VERTICAL",
        "sensor": (20, 24),
        "shift": (0.05, 0.1),
        "size": (192, 108),
        "aspect": (1, 1),
    },
    {
        "distance": 6,
        "lens": 45,
        "fit": "AUTO",
        "sensor": (36, 24),
        "shift": (0.08, 0.08),
        "size": (150, 150),
        "aspect": (1.5, 1),
    },
    {
        "distance": 9,
        "lens": 60,
        "fit": "VERTICAL",
        "sensor": (36, 24),
        "shift": (-0.1, 0),
        "size": (160, 100),
        "aspect": (1, 2),
    },
    {
        "distance": 10,
        "lens": 28,
        "fit": "AUTO",
        "sensor": (36, 24),
        "shift": (0.0, 0.05),
        "size": (240, 60),
        "aspect": (1, 1),
    },
]

SCRIPT = """
import math, mathutils
from bl_ext.user_default.onestep3d.views.camera_conversion import frame_of_camera, set_camera, transforms
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
bpy.ops.mesh.primitive_cube_add(size=1)
scene.render.engine, scene.cycles.samples, scene.render.film_transparent = "CYCLES", 1, True
scene.cycles.pixel_filter_type, scene.cycles.filter_width, scene.cycles.max_bounces = "GAUSSIAN", 0.01, 0
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
again = bpy.data.objects.new("again", bpy.data.cameras.new("again"))
for thing in (camera, again):
    scene.collection.objects.link(thing)
parent = bpy.data.objects.new("parent", None)
scene.collection.objects.link(parent)
scene.camera = camera
frames, once_more = [], []
for number, given in enumerate(GIVEN["lenses"]):
    lens = camera.data
    lens.lens, lens.sensor_fit = given["lens"], given["fit"]
    lens.sensor_width, lens.sensor_height = given["sensor"]
    lens.shift_x, lens.shift_y = given["shift"]
    render, (width, height) = scene.render, given["size"]
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100 * GIVEN["finer"]
    render.pixel_aspect_x, render.pixel_aspect_y = given["aspect"]
    angle = 0.7 * number
    place = mathutils.Vector((math.cos(angle), math.sin(angle), 0.4 - 0.1 * number)) * given["distance"]
    turned = (-place).to_track_quat("-Z", "Y").to_matrix().to_4x4() @ mathutils.Matrix.Rotation(0.2 * number, 4, "Z")
    camera.matrix_world = mathutils.Matrix.Translation(place) @ turned
    if number == 1:  # a parent's scale moves a camera, and does not stretch what it sees
        camera.parent, parent.scale = parent, (2, 2, 2)
        bpy.context.view_layer.update()
        camera.matrix_world = mathutils.Matrix.Translation(place) @ turned @ mathutils.Matrix.Scale(2, 4)
    elif number == 2:
        camera.parent = None
        camera.matrix_world = mathutils.Matrix.Translation(place) @ turned
    bpy.context.view_layer.update()
    frame = frame_of_camera(camera, width, height, render=render)
    set_camera(again, frame, {})
    bpy.context.view_layer.update()
    once_more.append(frame_of_camera(again, width, height, render=render))
    frames.append(frame)
    for name, seen_by in (("first", camera), ("again", again)):
        scene.camera = seen_by
        render.filepath = f"{GIVEN['pictures']}/{name}{number}.png"
        render.image_settings.color_mode = "RGBA"
        bpy.ops.render.render(write_still=True)
Path(GIVEN["pictures"], "transforms.json").write_text(json.dumps(transforms(frames)))
found["frames"], found["once more"] = frames, once_more
camera.data.type = "ORTHO"
try:
    frame_of_camera(camera, 10, 10, render=scene.render)
except job_requests.JobError as error:
    found["orthographic"] = str(error)
camera.data.type = "PERSP"
problems = []
for broken in ({}, {"fl_x": -1}, {"transform_matrix": [[1, 0], [0, 1]]}, {"transform_matrix": "here"}, {"w": True},
               {"transform_matrix": [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, {"cx": float("nan")}):
    try:
        set_camera(again, {**frames[0], **broken} if broken else {}, {})
    except job_requests.JobError as error:
        problems.append(str(error))
found["problems"] = problems
"""

DIRECTIONS = np.stack([np.cos(angles := np.arange(0, 2 * np.pi, np.pi / 12)), np.sin(angles)], axis=1)


def reach(points: np.ndarray) -> np.ndarray:
    """How far points [N, 2] reach in each direction: decides their convex hull, and so where a cube's corners lie."""
    return (points @ DIRECTIONS.T).max(axis=0)


def covered(picture: np.ndarray) -> np.ndarray:
    """Middles [N, 2] of the pixels that show something, x and y."""
    rows, columns = np.nonzero(picture > 0.5)
    return np.stack([columns, rows], axis=1) + 0.5


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("cameras")
    return folder, run_addon(SCRIPT, folder, pictures=str(folder), lenses=LENSES, finer=FINER)


def cameras(folder: Path) -> list[Camera]:
    views, _ = stated_views(folder / "transforms.json")
    return [view.camera_at(*lens["size"]) for view, lens in zip(views, LENSES, strict=True)]


@pytest.mark.parametrize("number", range(len(LENSES)))
@pytest.mark.parametrize("which", ["first", "again"])
def test_the_corners_of_a_cube_lie_where_blender_shows_them(
    which: str, number: int, rendered: tuple[Path, dict[str, Any]]
) -> None:
    """`again` is a camera that `set_camera` made of the frame."""
    folder, _ = rendered
    alpha = np.asarray(Image.open(folder / f"{which}{number}.png"), np.float32)[..., 3] / 255
    pixels, _ = cameras(folder)[number].project(CORNERS)
    off = np.abs(reach(covered(alpha) / FINER) - reach(pixels))
    assert (pixels > 2).all(), "the whole cube is in the picture"
    assert (pixels < np.array(LENSES[number]["size"]) - 2).all()
    assert off.max() < 0.5, (LENSES[number], off)


def test_the_rasterizer_sees_what_blender_sees(rendered: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    import trimesh

    folder, _ = rendered
    mesh = prepare(load_mesh(write_ply(trimesh.creation.box((1, 1, 1)), tmp_path / "cube.ply")))
    for number, camera in enumerate(cameras(folder)):
        finer = camera.resized(camera.width * FINER, camera.height * FINER)
        ours = render_views(mesh, [finer], supersampling=1, with_normals=False).colour[0, 3]
        alpha = np.asarray(Image.open(folder / f"first{number}.png"), np.float32)[..., 3] / 255
        off = np.abs(reach(covered(ours) / FINER) - reach(covered(alpha) / FINER))
        assert off.max() < 0.5, (LENSES[number], off)


def test_a_frame_comes_back_from_the_camera_that_was_made_of_it(rendered: tuple[Path, dict[str, Any]]) -> None:
    for one, other in zip(rendered[1]["frames"], rendered[1]["once more"], strict=True):
        for name in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
            assert other[name] == pytest.approx(one[name], rel=1e-5), name  # Blender keeps single precision
        np.testing.assert_allclose(other["transform_matrix"], one["transform_matrix"], atol=1e-5)


def test_what_is_no_such_camera_is_refused(rendered: tuple[Path, dict[str, Any]]) -> None:
    assert "perspective" in rendered[1]["orthographic"]
    assert len(rendered[1]["problems"]) == 7
