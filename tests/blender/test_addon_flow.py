"""The way of a person through the panels, with the shipped checkpoint, in Blender without its window."""

import math
import os
from pathlib import Path

import pytest

from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

VIEWS = """
settings.picture_path, settings.num_views = GIVEN["picture"], 6
"""

# The own processor time of each tick, which other programs do not stretch. A result's one step of undo, which Blender
# keeps by itself, is a tick of its own and is not the add-on's.
TIMED = """
# The first picture that a Blender without a window loads makes its image readers ready, 11 to 19 ms that are its own; a
# window has drawn icons before.
bpy.data.images.remove(bpy.data.images.load(GIVEN["picture"]))
spent = []
plain_tick = jobs.tick
def timed_tick():
    undo, began = bool(jobs._finished), time.thread_time()
    wanted = plain_tick()
    if not undo:
        spent.append(time.thread_time() - began)
    return wanted
jobs.tick = timed_tick
"""


@pytest.fixture
def picture(shared_assets: Path) -> str:
    return str(shared_assets / "pictures" / "backpack.png")


def test_views_are_made_kept_discarded_and_made_anew_and_become_splats(picture: str, tmp_path: Path) -> None:
    found = run_addon(
        VIEWS
        + TIMED
        + """
from bl_ext.user_default.onestep3d.views import view_list
assert bpy.ops.onestep3d.test_connection() == {"FINISHED"}
found["status"] = dict(jobs.queue.status)
assert bpy.ops.onestep3d.generate_views() == {"FINISHED"}
collection = settings.views
cameras = view_list.views_of(collection)
found["names"] = [camera.name for camera in cameras]
found["sources"] = [camera.onestep3d_view.is_source for camera in cameras]
frames = [json.loads(camera.onestep3d_view.frame) for camera in cameras]
found["frames"] = frames
found["shared"] = json.loads(collection.onestep3d_views.shared)
found["matrices"] = [[list(row) for row in camera.matrix_world] for camera in cameras]
found["angles"] = [camera.data.angle_y for camera in cameras]
found["packed"] = all(camera.onestep3d_view.image.packed_file is not None for camera in cameras)
found["behind"] = all(
    camera.data.show_background_images
    and camera.data.background_images[0].image == camera.onestep3d_view.image for camera in cameras
)
found["sheet"] = list(collection.onestep3d_views.sheet.size)
found["sheet packed"] = collection.onestep3d_views.sheet.packed_file is not None
before = cameras[2].onestep3d_view.image.packed_file.data
others = [bytes(camera.onestep3d_view.image.packed_file.data) for camera in cameras if camera is not cameras[2]]
assert bpy.ops.onestep3d.reseed_view(camera=cameras[2].name) == {"FINISHED"}
found["reseeded"] = bytes(before) != bytes(cameras[2].onestep3d_view.image.packed_file.data)
found["others as before"] = others == [
    bytes(camera.onestep3d_view.image.packed_file.data) for camera in cameras if camera is not cameras[2]
]
found["seeds"] = [camera.onestep3d_view.seed for camera in cameras]
found["images"] = len([image for image in bpy.data.images if "view" in image.name])
assert bpy.ops.onestep3d.keep_view(camera=cameras[1].name) == {"FINISHED"}
settings.splats_from, settings.iterations, settings.max_splats = "VIEWS", 20, 2000
assert bpy.ops.onestep3d.make_splats() == {"FINISHED"}
sent = sorted(file.name for file in (jobs.queue.jobs[-1].folder / "inputs").rglob("*.png"))
found["sent"] = sent
splats = bpy.context.view_layer.objects.active
found["splats"] = len(splats.data.vertices)
found["extent"] = [max(abs(value) for vertex in splats.data.vertices for value in vertex.co)]
again = bpy.ops.onestep3d.run_again(number=jobs.queue.jobs[-1].number)
found["again"] = [job.state for job in jobs.queue.jobs]
first, second = [(job.folder / "results" / "splats.ply").read_bytes() for job in jobs.queue.jobs[-2:]]
found["same again"] = first == second
found["longest tick"] = max(spent)
bpy.ops.wm.save_as_mainfile(filepath=GIVEN["results"] + "/saved.blend")
bpy.ops.wm.open_mainfile(filepath=GIVEN["results"] + "/saved.blend")
kept = view_list.kept_views(bpy.context.scene.onestep3d.views)
found["kept in the file"] = [camera.name for camera in kept]
""",
        tmp_path,
        picture=picture,
    )
    assert found["status"]["checkpoint"] == "small"
    assert found["names"] == ["backpack source", *(f"backpack view {number:03d}" for number in range(1, 7))]
    assert found["sources"] == [True] + [False] * 6
    # A frame's matrix is the camera's, in the axes that both share; angles follow from the focal length.
    for matrix, frame, angle in zip(found["matrices"], found["frames"], found["angles"], strict=True):
        about = {**found["shared"], **frame}
        assert matrix == [[pytest.approx(value, abs=1e-5) for value in row] for row in frame["transform_matrix"]]
        assert angle == pytest.approx(2 * math.atan(about["h"] / 2 / about["fl_y"]), abs=1e-5)
    assert found["packed"]
    assert found["behind"]
    assert found["sheet packed"]
    assert found["reseeded"]
    assert found["others as before"]
    assert found["seeds"] == [0, 0, 1, 0, 0, 0, 0]
    assert found["images"] == 6
    assert len(found["sent"]) == 6  # the source and five views
    assert 100 < found["splats"] <= 2000
    assert found["extent"][0] < 1.5
    assert found["again"] == ["done"] * 4
    assert found["same again"]
    # Programs that share the caches stretch even a thread's own time.
    assert found["longest tick"] < 0.02 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert found["kept in the file"] == [name for name in found["names"] if name != "backpack view 001"]


def test_a_picture_becomes_splats_and_an_image_is_a_picture(picture: str, tmp_path: Path) -> None:
    """An image without a file gives the same as its file, but for eight bits: its pixels are sent as a PNG."""
    found = run_addon(
        """
settings.num_views, settings.iterations, settings.max_splats = 4, 5, 1000
loaded = bpy.data.images.load(GIVEN["picture"])
drawn = bpy.data.images.new("drawn", *loaded.size, alpha=True)
drawn.pixels = loaded.pixels[:]
settings.source, settings.image = "IMAGE", drawn
assert bpy.ops.onestep3d.generate_views() == {"FINISHED"}
settings.image = loaded
assert bpy.ops.onestep3d.generate_views() == {"FINISHED"}
found["files"] = [str(job.folder) for job in jobs.queue.jobs]
assert bpy.ops.onestep3d.make_splats() == {"FINISHED"}
found["splats"] = len(bpy.context.view_layer.objects.active.data.vertices)
""",
        tmp_path,
        picture=picture,
    )
    from distill_core.pictures.images import read_picture

    pictures = [read_picture(Path(folder) / "inputs" / "picture.png").rgba for folder in found["files"]]
    assert abs(pictures[0] - pictures[1]).max() <= 1 / 255
    views = [(Path(folder) / "results" / "views" / "001.png").read_bytes() for folder in found["files"]]
    assert views[0] == views[1]
    assert found["splats"] > 100


def test_what_the_camera_sees_is_a_picture_without_view_transform(tmp_path: Path) -> None:
    """An emitting cube comes out as the sRGB value of its colour, whatever the view transform; the scene stays."""
    found = run_addon(
        """
for thing in list(bpy.data.objects):
    if thing.type != "CAMERA":
        bpy.data.objects.remove(thing)
bpy.ops.mesh.primitive_cube_add(size=1.2)
material = bpy.data.materials.new("grey")
material.use_nodes = True
nodes = material.node_tree.nodes
nodes.clear()
light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
light.inputs[0].default_value = (0.5, 0.2, 0.05, 1.0)
material.node_tree.links.new(light.outputs[0], output.inputs[0])
bpy.context.object.data.materials.append(material)
scene.render.engine = "CYCLES"
scene.cycles.samples, scene.cycles.use_denoising = 4, False
scene.render.resolution_x, scene.render.resolution_y = 96, 64
scene.view_settings.view_transform = "AgX"
scene.camera.location, scene.camera.rotation_euler = (0, -4, 2.3094), (1.0471975, 0, 0)
before = things(), scene.render.filepath, scene.view_settings.view_transform
settings.source, settings.rig, settings.num_views = "RENDER", "RING", 4
assert bpy.ops.onestep3d.generate_views() == {"FINISHED"}
found["same scenes"] = things()["scenes"] == before[0]["scenes"]
found["same settings"] = (scene.render.filepath, scene.view_settings.view_transform) == before[1:]
found["folder"] = str(jobs.queue.jobs[-1].folder)
found["settings"] = dict(jobs.queue.jobs[-1].request.settings["picture"])
settings.rig = "CAMERAS"
for thing in bpy.data.objects:
    thing.select_set(thing == scene.camera)
assert bpy.ops.onestep3d.generate_views() == {"FINISHED"}
found["given"] = [
    list(thing.onestep3d_view.image.size) for thing in settings.views.objects if not thing.onestep3d_view.is_source
]
""",
        tmp_path,
    )
    from distill_core.pictures.images import read_picture

    rgba = read_picture(Path(found["folder"]) / "inputs" / "picture.png").rgba
    assert rgba.shape == (4, 64, 96)
    centre = rgba[:, 32, 48]
    # IEC 61966-2-1, eight bits.
    expected = [1.055 * value ** (1 / 2.4) - 0.055 for value in (0.5, 0.2, 0.05)]
    assert list(centre[:3]) == [pytest.approx(value, abs=1.5 / 255) for value in expected]
    assert centre[3] == 1
    assert rgba[3, 0, 0] == 0
    assert found["same scenes"]
    assert found["same settings"]
    # The camera looks down by 30 degrees, so it stands 30 degrees above the horizon.
    assert found["settings"]["elevation_degrees"] == pytest.approx(30.0, abs=0.01)
    assert found["given"] == [[512, 341]]
