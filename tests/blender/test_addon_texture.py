"""A mesh of the scene textured by the worker, with the shipped checkpoint, in Blender without its window."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distill_core.cameras import Camera, transform_cameras
from distill_core.records.transforms_files import stated_views
from gs_integration.texturing.texture_cameras import ring_and_poles_cameras
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import load_mesh
from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

SIDE = 256

START = """
import math, mathutils
import numpy as np
from bl_ext.user_default.onestep3d.texturing import mesh_export, texture_cameras, camera_overlay, texture_results
for thing in list(bpy.data.objects):
    bpy.data.objects.remove(thing)
texture = scene.onestep3d_texture
settings.picture_path = GIVEN["picture"]
texture.num_views, texture.steps, texture.texture_size = 4, 1, "256"

def about(thing):
    return {
        "materials": [slot.material.name for slot in thing.material_slots],
        "links": [slot.link for slot in thing.material_slots],
        "own": [None if material is None else material.name for material in thing.data.materials],
        "layers": [layer.name for layer in thing.data.uv_layers],
        "render layer": [layer.name for layer in thing.data.uv_layers if layer.active_render],
        "faces": len(thing.data.polygons),
        "corners": sum(len(face.loop_indices) for face in thing.data.polygons),
    }

def picture_of(thing):
    material = thing.material_slots[0].material
    return next(node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
"""

TEXTURE = """
bpy.ops.mesh.primitive_monkey_add()
monkey = bpy.context.view_layer.objects.active
monkey.rotation_euler, monkey.location, monkey.scale = (0.2, 0.1, 0.7), (3, -2, 1), (1.5, 0.9, 1.2)
while monkey.data.uv_layers:
    monkey.data.uv_layers.remove(monkey.data.uv_layers[0])
painted = bpy.data.materials.new("painted")
monkey.data.materials.append(painted)
bpy.context.view_layer.update()
found["before"] = about(monkey)
found["problem"] = bpy.ops.onestep3d.texture_mesh.poll()
captured = mesh_export.captured_mesh(monkey, bpy.context.evaluated_depsgraph_get())
found["world to unit"] = captured.world_to_unit.tolist()
found["rings"] = texture_cameras.ring_frames("RING_AND_POLES", 4, 25.0)
texture.azimuth_degrees = 25.0
previews = []
shown = texture_results.show_preview
def counted(picture):
    previews.append([*picture.shape, float(picture.mean())])
    shown(picture)
texture_results.show_preview = counted
assert bpy.ops.onestep3d.texture_mesh() == {"FINISHED"}
job = jobs.queue.jobs[-1]
found["findings"] = dict(job.findings)
found["previews"] = previews
shown_last = texture_results._previews["texture"]  # without a window it has no icon
found["shown"] = [*shown_last.image_size, float(np.mean(shown_last.image_pixels_float[:]))]
found["after"] = about(monkey)
found["packed"] = picture_of(monkey).packed_file is not None
found["results"] = str(job.folder / "results")
# Seen by the cameras of the result, unlit, as the picture's own values.
material = monkey.material_slots[0].material
nodes, links = material.node_tree.nodes, material.node_tree.links
light = nodes.new("ShaderNodeEmission")
links.new(next(node for node in nodes if node.type == "TEX_IMAGE").outputs["Color"], light.inputs["Color"])
links.new(light.outputs[0], next(node for node in nodes if node.type == "OUTPUT_MATERIAL").inputs["Surface"])
scene.render.engine, scene.cycles.samples, scene.render.film_transparent = "CYCLES", 32, True
scene.cycles.pixel_filter_type, scene.cycles.use_denoising = "BOX", False
scene.view_settings.view_transform = "Standard"
scene.render.resolution_x = scene.render.resolution_y = GIVEN["side"]
scene.render.resolution_percentage = 100
scene.render.image_settings.color_mode = "RGBA"
lens = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
scene.collection.objects.link(lens)
scene.camera = lens
from bl_ext.user_default.onestep3d.views.camera_conversion import set_camera
described = json.loads((job.folder / "results" / "transforms.json").read_text())
unit_to_world = np.linalg.inv(captured.world_to_unit)
for number, frame in enumerate(described["frames"][1:]):
    pose = np.array(frame["transform_matrix"])
    pose[:3, 3] = unit_to_world[:3, :3] @ pose[:3, 3] + unit_to_world[:3, 3]
    set_camera(lens, {**frame, "transform_matrix": pose.tolist()}, described)
    scene.render.filepath = f"{GIVEN['out']}/view{number}.png"
    bpy.ops.render.render(write_still=True)
bpy.ops.wm.save_as_mainfile(filepath=GIVEN["out"] + "/scene.blend")
bpy.ops.wm.open_mainfile(filepath=GIVEN["out"] + "/scene.blend")
monkey = bpy.data.objects["Suzanne"]
found["reopened"] = about(monkey)
found["size"] = list(picture_of(monkey).size)
"""


@pytest.fixture(scope="module")
def textured(shared_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("texture")
    picture = str(shared_assets / "pictures" / "toy_bus.png")
    return folder, run_addon(START + TEXTURE, folder, picture=picture, out=str(folder), side=SIDE)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return -10 * math.log10(max(float(((one - other) ** 2).mean()), 1e-12))


def test_the_new_material_is_on_the_object_and_the_old_one_on_its_mesh(textured: tuple[Path, dict[str, Any]]) -> None:
    _, found = textured
    before, after = found["before"], found["after"]
    assert before["materials"] == ["painted"]
    assert after["materials"] == ["Texture of Suzanne"]
    assert (after["own"], after["links"]) == (["painted"], ["OBJECT"])
    assert (before["layers"], after["layers"], after["render layer"]) == ([], ["OneStep3D"], ["OneStep3D"])
    assert found["findings"]["coordinates"] == "xatlas"
    assert found["packed"]
    assert found["reopened"] == after
    assert found["size"] == [256, 256]
    # A face that would lie in two places of the texture is cut; its corners grow by those of one triangle more or less.
    assert before["faces"] <= after["faces"] < 1.5 * before["faces"]


def test_a_preview_was_shown_while_it_denoised(textured: tuple[Path, dict[str, Any]]) -> None:
    _, found = textured
    assert found["previews"]
    height, width, channels, mean = found["previews"][-1]
    assert channels == 3
    assert found["shown"][:2] == [width, height]
    assert found["shown"][2] == pytest.approx((3 * mean / 255 + 1) / 4, abs=1e-3)


def test_the_cameras_that_are_shown_are_those_of_the_job(textured: tuple[Path, dict[str, Any]]) -> None:
    """And they are the project's own."""
    _, found = textured
    ours = ring_and_poles_cameras(4, width=128, height=128, start_azimuth_degrees=25.0)
    views, _ = stated_views(Path(found["results"]) / "transforms.json")
    for camera, frame, view in zip(ours, found["rings"], views[1:], strict=True):
        of_job = view.camera_at(128, 128)
        np.testing.assert_allclose(of_job.camera_to_world, camera.camera_to_world, atol=1e-6)
        np.testing.assert_allclose(
            frame["transform_matrix"] @ np.diag([1, -1, -1, 1]), camera.camera_to_world, atol=1e-9
        )
        assert (of_job.fx, frame["fl_x"]) == (pytest.approx(camera.fx), pytest.approx(camera.fx))


def test_blender_renders_what_the_pipeline_renders(textured: tuple[Path, dict[str, Any]]) -> None:
    folder, found = textured
    results = Path(found["results"])
    views, _ = stated_views(results / "transforms.json")
    cameras: list[Camera] = [view.camera_at(128, 128).resized(SIDE, SIDE) for view in views[1:]]
    # What was sent stood in the unit ball already, and so does what came back.
    mesh = prepare(load_mesh(results / "textured.glb"))
    worst = 99.0
    for number, camera in enumerate(transform_cameras(cameras, np.eye(4))):
        ours = render_views(mesh, [camera], supersampling=4, with_normals=False).colour[0]
        shown = np.asarray(Image.open(folder / f"view{number}.png"), np.float32).transpose(2, 0, 1) / 255
        over_white = [picture[:3] * picture[3] + 1 - picture[3] for picture in (ours, shown)]
        assert 0.1 < ours[3].mean() < 0.9
        worst = min(worst, psnr(*over_white))

    assert worst > 30, worst


# --- other meshes -------------------------------------------------------------------------------------------

OTHERS = """
def textured_cube(name):
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.view_layer.objects.active
    cube.name = name
    return cube

# Coordinates that serve are kept: no new layer, whatever the modifiers.
kept = textured_cube("kept")
bevel = kept.modifiers.new("smooth", "SUBSURF")
bevel.levels = 2
bpy.context.view_layer.update()
assert bpy.ops.onestep3d.texture_mesh() == {"FINISHED"}
found["kept"] = {**about(kept), "findings": dict(jobs.queue.jobs[-1].findings)}

# Two objects share a mesh without coordinates; modifiers make more faces of one: a copy gets them.
shaped = textured_cube("shaped")
while shaped.data.uv_layers:
    shaped.data.uv_layers.remove(shaped.data.uv_layers[0])
shaped.data.update_tag()
shaped.modifiers.new("smooth", "SUBSURF").levels = 1
bpy.context.view_layer.update()
assert bpy.ops.onestep3d.texture_mesh() == {"FINISHED"}
copy = bpy.data.objects["shaped textured"]
found["shaped"] = {"original": about(shaped), "copy": about(copy), "modifiers": len(copy.modifiers)}
found["hidden"] = shaped.hide_get()

# A mirrored object, and one that is textured again: the texture before stays in the file.
mirrored = textured_cube("mirrored")
mirrored.scale = (-1, 1, 1)
while mirrored.data.uv_layers:
    mirrored.data.uv_layers.remove(mirrored.data.uv_layers[0])
mirrored.data.update_tag()
bpy.context.view_layer.update()
for _ in range(2):
    assert bpy.ops.onestep3d.texture_mesh() == {"FINISHED"}
found["mirrored"] = about(mirrored)
found["textures"] = sorted(material.name for material in bpy.data.materials if "mirrored" in material.name)
area = 0.0
layer = mirrored.data.uv_layers["OneStep3D"].uv
for face in mirrored.data.polygons:
    points = np.array([layer[corner].vector for corner in face.loop_indices])
    x, y = points.T
    area += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
found["mirrored area"] = area

# Removed while the worker works: one sentence.
gone = textured_cube("gone")
from bl_ext.user_default.onestep3d.texturing import texture_operators
state = jobs.queue.jobs[-1]
bpy.context.view_layer.objects.active = gone
captured = mesh_export.captured_mesh(gone, bpy.context.evaluated_depsgraph_get())
from bl_ext.user_default.onestep3d.references import Reference
reference = Reference.of(gone)
bpy.data.objects.remove(gone)
try:
    for _ in texture_results.add_texture(state.folder / "results", {"coordinates": "kept"}, reference, captured):
        pass
except job_requests.JobError as error:
    found["gone"] = str(error)

# What cannot be textured says why.
problems = {}
bpy.context.view_layer.objects.active = None
problems["none"] = mesh_export.mesh_problem(None)
light = bpy.data.objects.new("light", bpy.data.lights.new("light", "POINT"))
problems["light"] = mesh_export.mesh_problem(light)
empty = bpy.data.objects.new("empty", bpy.data.meshes.new("empty"))
scene.collection.objects.link(empty)
bpy.context.view_layer.update()
try:
    mesh_export.captured_mesh(empty, bpy.context.evaluated_depsgraph_get())
except job_requests.JobError as error:
    problems["empty"] = str(error)
bpy.context.view_layer.objects.active = kept
texture.num_views = 2
problems["few"] = texture_operators.texture_problem(bpy.context)
texture.guided_by = "PROMPT"
texture.num_views = 4
problems["prompt"] = texture_operators.texture_problem(bpy.context)
texture.prompt = "a bus"
problems["checkpoint"] = texture_operators.texture_problem(bpy.context)
texture.guided_by, texture.cameras = "PICTURE", "SELECTED"
problems["selected"] = texture_operators.texture_problem(bpy.context)
found["problems"] = problems
texture.cameras, texture.show_cameras = "RING", True
while (lines := camera_overlay.camera_lines(bpy.context)) is None:
    camera_overlay.look()
    time.sleep(0.01)
captured = mesh_export.captured_mesh(kept, bpy.context.evaluated_depsgraph_get())
found["lines"] = [len(lines), float(np.linalg.norm(lines, axis=1).max() * captured.world_to_unit[0, 0])]
"""


def test_other_meshes(shared_assets: Path, tmp_path: Path) -> None:
    found = run_addon(START + OTHERS, tmp_path, picture=str(shared_assets / "pictures" / "toy_bus.png"))
    kept = found["kept"]
    assert kept["findings"]["coordinates"] == "kept"
    assert (kept["layers"], kept["faces"]) == (["UVMap"], 6)
    assert kept["materials"] == ["Texture of kept"]
    shaped = found["shaped"]
    assert shaped["original"]["layers"] == shaped["original"]["materials"] == []
    assert found["hidden"]
    assert shaped["modifiers"] == 0
    assert shaped["copy"]["faces"] >= 24
    assert shaped["copy"]["layers"] == ["OneStep3D"]
    assert shaped["copy"]["materials"] == ["Texture of shaped"]
    assert found["mirrored"]["materials"] == ["Texture of mirrored.001"]
    assert found["textures"] == ["Texture of mirrored", "Texture of mirrored.001"]
    assert 0.3 < found["mirrored area"] <= 1  # six sides, apart in the texture
    assert "gone" in found["gone"]
    problems = found["problems"]
    assert all(isinstance(problem, str) and problem for problem in problems.values()), json.dumps(problems)
    assert len(set(problems.values())) == 7
    # Ten lines a camera; a camera of 40 degrees that sees a ball from edge to edge stands 2.92 radii away.
    assert found["lines"][0] == 4 * 20
    assert found["lines"][1] == pytest.approx(1 / math.sin(math.radians(20)), rel=1e-4)
