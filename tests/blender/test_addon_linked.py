"""Objects and collections that are linked from another file, which Blender lets nobody change for good."""

from pathlib import Path

import numpy as np
import pytest

from gs_integration.formats.arrays import SplatArrays
from gs_integration.formats.by_ending import Writing, write_splat_file
from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

# A library with a cube in a collection; the scene links the collection, and has an object of its own with that mesh.
LINKED = """
from bl_ext.user_default.onestep3d.dataset import dataset_operators
from bl_ext.user_default.onestep3d.splats import splat_objects
from bl_ext.user_default.onestep3d.texturing import mesh_export
from bl_ext.user_default.onestep3d.references import Reference
library = GIVEN["results"] + "-library.blend"
bpy.ops.wm.read_homefile(use_empty=True)
bpy.ops.mesh.primitive_cube_add()
made = bpy.data.collections.new("Of the library")
made.objects.link(bpy.context.object)
bpy.context.object.name = "Of the library"
bpy.data.libraries.write(library, {made})
bpy.ops.wm.read_homefile(use_empty=True)
scene, layer = bpy.context.scene, bpy.context.view_layer
with bpy.data.libraries.load(library, link=True) as (there, here):
    here.collections = list(there.collections)
linked = here.collections[0]
scene.collection.children.link(linked)
cube = linked.objects[0]
local = bpy.data.objects.new("local", cube.data)
scene.collection.objects.link(local)
bpy.ops.mesh.primitive_cube_add()
own = bpy.context.object

def choose(thing):
    bpy.ops.object.select_all(action="DESELECT")
    thing.select_set(True)
    layer.objects.active = thing
"""


def test_linked_meshes_are_refused_before_anything_runs(tmp_path: Path) -> None:
    found = run_addon(
        LINKED
        + """
for thing in (cube, local, own):
    choose(thing)
    name = "own" if thing is own else thing.name
    found[name] = [mesh_export.mesh_problem(thing), dataset_operators.dataset_problem(bpy.context)]
choose(own)
cube.select_set(True)
found["both"] = dataset_operators.dataset_problem(bpy.context)
# What the sentence says helps.
choose(cube)
bpy.ops.object.make_local(type="ALL")
choose(layer.objects.active)
found["mended"] = [mesh_export.mesh_problem(layer.objects.active), dataset_operators.dataset_problem(bpy.context)]
""",
        tmp_path,
    )
    assert found["own"] == found["mended"] == ["", ""]
    for sentence in (*found["Of the library"], found["both"], found["local"][0]):
        assert "linked from another one: make it local" in sentence
    assert found["local"][1] == ""  # a record of it changes nothing


def test_a_record_of_an_object_with_a_linked_mesh(tmp_path: Path) -> None:
    found = run_addon(
        LINKED
        + """
from bl_ext.user_default.onestep3d.dataset.model_capture import captured_models
override = linked.override_hierarchy_create(scene, layer, do_fully_editable=True)
files = captured_models([local, override.objects[0]])
found["models"] = {name: len(content.make(lambda: None)) for name, content in files.items()}
""",
        tmp_path,
    )
    assert sorted(found["models"]) == ["models/Of_the_library.glb", "models/local.glb"]
    assert min(found["models"].values()) > 1000


def test_splats_go_to_the_scene_where_the_active_collection_is_another_file_s(tmp_path: Path) -> None:
    count = 50
    values = np.random.default_rng(0).random((count, 3), np.float32)
    splats = SplatArrays(
        means=values,
        quaternions_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        log_scales=values - 4,
        opacity_logits=values[:, 0],
        harmonics=values[:, None],
        axes="z-up",
        antialiased=False,
    )
    write_splat_file(tmp_path / "splats.ply", splats, Writing("z-up"))
    found = run_addon(
        LINKED
        + """
def activate(collection):
    layer.active_layer_collection = next(
        child for child in layer.layer_collection.children if child.collection == collection
    )

def made(known):
    new = [thing for thing in bpy.data.objects if thing.name not in known]
    return [[collection.name for collection in thing.users_collection] for thing in new]

def both():
    known = {thing.name for thing in bpy.data.objects}
    assert bpy.ops.onestep3d.import_splats(filepath=GIVEN["file"]) == {"FINISHED"}
    imported = made(known)
    known = {thing.name for thing in bpy.data.objects}
    for _ in splat_objects.add_splats(Path(GIVEN["file"]), "made", Reference.of(scene)):
        pass
    return [*imported, *made(known)]

activate(linked)
found["linked"] = both()
own_collection = bpy.data.collections.new("own")
scene.collection.children.link(own_collection)
activate(own_collection)
found["own"] = both()
override = linked.override_hierarchy_create(scene, layer, do_fully_editable=True)
activate(override)
found["override"] = both()
""",
        tmp_path,
        file=str(tmp_path / "splats.ply"),
    )
    assert found["linked"] == found["override"] == [["Scene Collection"], ["Scene Collection"]]
    assert found["own"] == [["own"], ["own"]]
