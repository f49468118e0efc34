"""Run by a Blender of its own, without a window: objects of a .blend file, each as a .glb with its materials.

    blender -b --factory-startup --disable-autoexec --python model_export.py -- OBJECTS.blend NAMES.json FOLDER

Modifiers are applied. FOLDER gets NUMBER.glb for each of the names. bpy and the standard library alone.
"""

import json
import sys
from pathlib import Path

import bpy


def export_objects(library: Path, names: Path, folder: Path) -> None:
    """Write objects of a .blend file.

    Args:
        library: holds the objects, and what they need.
        names: a list of their names.
        folder: exists.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(library)) as (there, here):
        here.objects = list(there.objects)
    for thing in here.objects:
        # Parents too: an object stands where it does by them.
        bpy.context.scene.collection.objects.link(thing)
    for number, name in enumerate(json.loads(names.read_text(encoding="utf-8"))):
        thing = bpy.data.objects[name]
        bpy.ops.object.select_all(action="DESELECT")
        thing.hide_viewport = False
        thing.hide_set(False)
        thing.select_set(True)
        bpy.context.view_layer.objects.active = thing
        bpy.ops.export_scene.gltf(
            filepath=str(folder / f"{number}.glb"),
            export_format="GLB",
            use_selection=True,
            export_apply=True,
            export_animations=False,
            export_cameras=False,
            export_lights=False,
        )


if __name__ == "__main__":
    export_objects(*map(Path, sys.argv[sys.argv.index("--") + 1 :]))
