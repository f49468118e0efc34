"""A finished texture finds its object wherever it is by then, and what others wear stays as it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

# What the worker sends back of what was captured, without the minutes: each triangle in a square of its own.
ANSWER = """
import json, struct
import numpy as np
from bl_ext.user_default.onestep3d.texturing import mesh_export, texture_results
from bl_ext.user_default.onestep3d.formats.gltf_file import encode_glb
from bl_ext.user_default.onestep3d.references import Reference
from dataclasses import replace
results = Path(GIVEN["answers"])

def captured_now(thing):
    bpy.context.view_layer.update()
    return Reference.of(thing), mesh_export.captured_mesh(thing, bpy.context.evaluated_depsgraph_get())

def with_numbers(glb):
    '''The same with a list of corners, as the worker writes it.'''
    (length,) = struct.unpack_from("<I", glb, 12)
    document, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    count = document["accessors"][0]["count"]
    numbers = np.arange(count, dtype="<u4").tobytes()
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(numbers)})
    document["accessors"].append({"bufferView": 2, "componentType": 5125, "count": count, "type": "SCALAR"})
    document["meshes"][0]["primitives"][0]["indices"] = 2
    document["buffers"][0]["byteLength"] = len(binary) + len(numbers)
    return encode_glb(document, binary + numbers)

def put_on(reference, captured, coordinates):
    count = len(captured.corners)
    side = int(np.ceil(np.sqrt(count)))
    squares = np.stack(np.divmod(np.arange(count), side), axis=1)[:, None]
    uvs = (squares + np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]])) / side
    (results / "textured.glb").write_bytes(with_numbers(mesh_export.glb_of(replace(captured, uvs=uvs.astype("f4")))))
    for _ in texture_results.add_texture(results, {"coordinates": coordinates}, reference, captured):
        pass

def bare_cube(name, levels=1):
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.view_layer.objects.active
    cube.name = name
    cube.data.uv_layers.remove(cube.data.uv_layers[0])
    cube.data.update_tag()
    if levels:
        cube.modifiers.new("finer", "SUBSURF").levels = levels
    return cube

def layers(mesh):
    return [[layer.name for layer in mesh.uv_layers], [layer.name for layer in mesh.uv_layers if layer.active_render]]
"""


@pytest.fixture
def answers(tmp_path: Path) -> str:
    folder = tmp_path / "answers"
    folder.mkdir()
    Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(folder / "texture.png")
    return str(folder)


def test_it_finds_its_object_in_another_scene_hidden_or_left_out(answers: str, tmp_path: Path) -> None:
    found = run_addon(
        ANSWER
        + """
first, other = bpy.context.scene, bpy.data.scenes.new("Other")
part = bpy.data.collections.new("part")
first.collection.children.link(part)
scenes_before = len(bpy.data.scenes)
def hide_object(thing): thing.hide_set(True)
def hide_in_all(thing): thing.hide_viewport = True
def leave_out(thing): bpy.context.view_layer.layer_collection.children["part"].exclude = True
def hide_collection(thing): part.hide_viewport = True
def leave_scene(thing): bpy.context.window.scene = other
for act in (hide_object, hide_in_all, leave_out, hide_collection, leave_scene):
    thing = bare_cube(act.__name__)
    thing.users_collection[0].objects.unlink(thing)
    part.objects.link(thing)
    asked = captured_now(thing)
    act(thing)
    put_on(*asked, "xatlas")
    copy = bpy.data.objects[f"{act.__name__} textured"]
    found[act.__name__] = [
        len(copy.data.polygons), layers(copy.data), [slot.material.name for slot in copy.material_slots],
        thing.hide_render, [collection.name for collection in copy.users_collection],
    ]
    bpy.context.window.scene = first
    bpy.context.view_layer.layer_collection.children["part"].exclude = part.hide_viewport = False
    found[act.__name__].append(thing.hide_get())
found["scenes"] = len(bpy.data.scenes) - scenes_before
# Changed meanwhile: said, and nothing is left of the attempt.
thing = bare_cube("changed")
asked = captured_now(thing)
thing.modifiers["finer"].levels = 2
try:
    put_on(*asked, "xatlas")
except job_requests.JobError as error:
    found["changed"] = str(error)
""",
        tmp_path,
        answers=answers,
    )
    for name in ("hide_object", "hide_in_all", "leave_out", "hide_collection", "leave_scene"):
        faces, layers, materials, unrendered, collections, hidden = found[name]
        assert faces == 2 * 24, name  # each cut: its triangles lie apart
        assert layers == [["OneStep3D"], ["OneStep3D"]], name
        assert materials == [f"Texture of {name}"]
        assert unrendered, name
        assert collections == ["part"], name
        assert hidden or name == "leave_out", name  # a view layer forgets what it leaves out
    assert found["scenes"] == 0
    assert "The faces of changed were changed meanwhile" in found["changed"]


def test_coordinates_by_a_modifier_are_seen_and_kept(answers: str, tmp_path: Path) -> None:
    found = run_addon(
        ANSWER
        + """
thing = bare_cube("by nodes", levels=0)
tree = bpy.data.node_groups.new("coordinates", "GeometryNodeTree")
tree.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
store, place = tree.nodes.new("GeometryNodeStoreNamedAttribute"), tree.nodes.new("GeometryNodeInputPosition")
store.data_type, store.domain = "FLOAT2", "CORNER"
store.inputs["Name"].default_value = "by nodes"
tree.links.new(start.outputs[0], store.inputs["Geometry"])
tree.links.new(place.outputs[0], store.inputs["Value"])
tree.links.new(store.outputs[0], end.inputs[0])
def has():
    bpy.context.view_layer.update()
    return mesh_export.has_coordinates(thing, bpy.context.evaluated_depsgraph_get())
found["has"] = [has()]
thing.modifiers.new("coordinates", "NODES").node_group = tree
found["has"].append(has())
asked = captured_now(thing)
found["sent"] = [asked[1].uv_layer, asked[1].uvs is not None]
put_on(*asked, "kept")
material = thing.material_slots[0].material
found["worn"] = next(node.uv_map for node in material.node_tree.nodes if node.type == "UVMAP")
""",
        tmp_path,
        answers=answers,
    )
    assert found["has"] == [False, True]
    assert found["sent"] == ["by nodes", True]
    assert found["worn"] == "by nodes"


def test_coordinates_that_a_script_took_away_are_not_sent(answers: str, tmp_path: Path) -> None:
    """Blender does not notice by itself that they are gone: what it evaluated before still has them."""
    found = run_addon(
        ANSWER
        + """
bpy.ops.mesh.primitive_cube_add()
thing = bpy.context.view_layer.objects.active
bpy.context.view_layer.update()
found["before"] = captured_now(thing)[1].uv_layer
thing.data.uv_layers.remove(thing.data.uv_layers[0])
evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
found["evaluated"] = [layer.name for layer in evaluated.data.uv_layers]
captured = mesh_export.captured_mesh(thing, bpy.context.evaluated_depsgraph_get())
found["sent"] = [captured.uv_layer, captured.uvs is None]
""",
        tmp_path,
        answers=answers,
    )
    assert found["before"] == "UVMap"
    assert found["evaluated"] == ["UVMap"]
    assert found["sent"] == ["", True]


def test_what_wears_the_coordinates_before_goes_on_to_wear_them(answers: str, tmp_path: Path) -> None:
    """Two objects share a mesh whose coordinates do not serve."""
    found = run_addon(
        ANSWER
        + """
bpy.ops.mesh.primitive_cube_add()
one = bpy.context.object
twin = bpy.data.objects.new("twin", one.data)
scene.collection.objects.link(twin)
before = [list(corner.vector) for corner in one.data.uv_layers[0].uv]
put_on(*captured_now(one), "xatlas")
found["layers"] = layers(one.data)
found["active"] = one.data.uv_layers.active.name
material = one.material_slots[0].material
found["worn"] = next(node.uv_map for node in material.node_tree.nodes if node.type == "UVMAP")
# Textured once more, the coordinates that were made serve.
found["again"] = captured_now(one)[1].uv_layer
""",
        tmp_path,
        answers=answers,
    )
    assert found["layers"] == [["UVMap", "OneStep3D"], ["UVMap"]]
    assert found["active"] == "UVMap"
    assert found["worn"] == found["again"] == "OneStep3D"
