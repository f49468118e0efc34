"""Runs inside Blender: a model file of any kind into an emptied Blender, with scripts off.

Pictures are read from the folder of the file alone. Importers are asked for by name, since versions of Blender and
distributions' builds differ in what they have.
"""

# pyright: reportMissingImports=false

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.io_utils import axis_conversion
from mathutils import Matrix

from renderers.blender.up_axis import CUSTOMARY_UP, upward_axis

_WHITE = (1.0, 1.0, 1.0, 1.0)
_WITHOUT_CUT_OUTS = (".obj", ".dae")  # exporters rarely state in these that a picture's alpha counts
_OPAQUE = 128 / 255


class Refused(Exception):
    """This model cannot be rendered, whoever tries: one sentence."""


@dataclass(frozen=True)
class Imported:
    """What is known of a file that was imported.

    Attributes:
        missing_textures: names of those that were not found or lie outside the file's folder: they are white.
        up_axis: "x", "y" or "z" of the file that points up now, where the format does not say which; else None.
    """

    missing_textures: list[str]
    up_axis: str | None


def empty_blender() -> None:
    """Forget everything that was loaded; what a file brings along cannot run code, its drivers included."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False


def import_model(path: Path, up_axis: str | None, *, at_rest: bool = True) -> Imported:
    """Import a file; it lies in the current scene afterwards, z up.

    Args:
        path: the file; its ending says what it is.
        up_axis: "x", "y" or "z" for formats that do not say it; None goes by `up_axis.upward_axis`.
        at_rest: whether what would move it is taken away.

    Raises:
        Refused: this Blender has no importer for it, or the importer failed.
    """
    importer = _IMPORTERS.get(path.suffix.lower())
    if importer is None:
        raise Refused(f"{path.name}: expected a model as {' '.join(sorted(_IMPORTERS))}, got {path.suffix or 'none'}.")
    try:
        up_axis = importer(str(path), up_axis, not at_rest)
    except RuntimeError as error:  # what operators raise for whatever the importer reports
        reason = _first_line(str(error), path)
        if "draco" in reason.lower():
            reason = f"it is compressed with Draco, which this build of Blender {bpy.app.version_string} cannot read"
        raise Refused(f"{path.name}: Blender cannot import it: {reason}") from error
    if at_rest:
        _stop_animation()
    missing = _settle_textures(path.resolve().parent)
    if path.suffix.lower() in _WITHOUT_CUT_OUTS:
        _cut_holes()
    return Imported(missing, up_axis)


def importable_file_types() -> list[str]:
    """Endings without the dot that this Blender has an importer for."""
    names = {"gltf": _GLTF, "glb": _GLTF, "obj": _OBJ, "ply": _PLY, "stl": _STL, "fbx": _FBX, "dae": _DAE}
    names |= dict.fromkeys(("usd", "usda", "usdc", "usdz"), _USD)
    return sorted([ending for ending, name in names.items() if _operator(name) is not None] + ["blend"])


_GLTF, _USD, _DAE = "import_scene.gltf", "wm.usd_import", "wm.collada_import"
_OBJ, _PLY, _STL = "wm.obj_import", "wm.ply_import", "wm.stl_import"
_FBX, _FBX_NEWER = "import_scene.fbx", "wm.fbx_import"


def _operator(name: str) -> Any:
    """An operator by name, None where this Blender has none: `bpy.ops` answers to every name."""
    group, _, operator_name = name.partition(".")
    operator: Any = getattr(getattr(bpy.ops, group), operator_name)
    try:
        operator.get_rna_type()
    except KeyError:
        return None
    return operator


def _call(name: str, path: str, **options: Any) -> None:
    """Call an importer with those of the options that it has in this version."""
    operator = _operator(name)
    if operator is None:
        version = bpy.app.version_string
        raise Refused(
            f"{os.path.basename(path)}: Blender {version} has no importer for it ({name}); export it as .glb."
        )
    known = operator.get_rna_type().properties.keys()
    operator(filepath=path, **{key: value for key, value in options.items() if key in known})


def _import_gltf(path: str, _up_axis: str | None, _animated: bool) -> None:
    # Bones rest where the file's nodes stand, as for the project's own loader, not where they were bound.
    _call(
        _GLTF,
        path,
        import_shading="NORMALS",
        merge_vertices=False,
        disable_bone_shape=True,
        guess_original_bind_pose=False,
    )
    for mesh in bpy.data.meshes:  # before Blender 4.5 colours without a material are left without one
        _wear_vertex_colours(mesh)


def _import_obj(path: str, up_axis: str | None, _animated: bool) -> str:
    _call(_OBJ, path, **_axes(up_axis or CUSTOMARY_UP["obj"]), use_split_objects=False, use_split_groups=False)
    return up_axis or _stand_up("obj")


def _import_ply(path: str, up_axis: str | None, _animated: bool) -> str:
    _call(_PLY, path, **_axes(up_axis or CUSTOMARY_UP["ply"]), merge_verts=False, import_colors="SRGB")
    for mesh in bpy.data.meshes:
        _wear_vertex_colours(mesh)
    return up_axis or _stand_up("ply")


def _import_stl(path: str, up_axis: str | None, _animated: bool) -> str:
    _call(_STL, path, **_axes(up_axis or CUSTOMARY_UP["stl"]))
    return up_axis or _stand_up("stl")


def _import_fbx(path: str, _up_axis: str | None, animated: bool) -> None:
    with open(path, "rb") as file:
        is_text = not file.read(18).startswith(b"Kaydara FBX Binary")
    # The older importer is in every version and reads more of what people have, but no text.
    if is_text and _operator(_FBX_NEWER) is None:
        raise Refused(
            f"{os.path.basename(path)}: expected a binary .fbx, got one that is text, which Blender "
            f"{bpy.app.version_string} cannot read; take Blender 4.5 or later, or export it as .glb."
        )
    _call(_FBX_NEWER if is_text else _FBX, path, use_anim=animated, use_image_search=False, ignore_leaf_bones=True)
    for material in bpy.data.materials:
        _show_material(material)


def _show_material(material: Any) -> None:
    """Exporters disagree on which end of FBX's transparency is opaque: what nothing could be seen of is."""
    for node in material.node_tree.nodes if material.node_tree else ():
        if node.type == "BSDF_PRINCIPLED" and not node.inputs["Alpha"].is_linked:
            if node.inputs["Alpha"].default_value == 0:
                node.inputs["Alpha"].default_value = 1


def _import_dae(path: str, _up_axis: str | None, _animated: bool) -> None:
    _call(_DAE, path, import_units=False)
    if not any(thing.type == "MESH" and thing.data.polygons for thing in bpy.data.objects):
        raise Refused(
            f"{os.path.basename(path)}: Blender's importer found no mesh in it, as where an id has spaces; export it "
            "as .glb."
        )


def _import_usd(path: str, _up_axis: str | None, _animated: bool) -> None:
    _call(_USD, path, import_cameras=False, import_lights=False, read_mesh_colors=True, set_frame_range=True)


def _open_blend(path: str, _up_axis: str | None, _animated: bool) -> None:
    bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
    # A file carries no preferences, but opening one may take another program's: scripts stay off.
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False


_IMPORTERS: dict[str, Callable[[str, str | None, bool], str | None]] = {
    ".glb": _import_gltf,
    ".gltf": _import_gltf,
    ".obj": _import_obj,
    ".ply": _import_ply,
    ".stl": _import_stl,
    ".fbx": _import_fbx,
    ".dae": _import_dae,
    ".usd": _import_usd,
    ".usda": _import_usd,
    ".usdc": _import_usd,
    ".usdz": _import_usd,
    ".blend": _open_blend,
}


def _axes(up_axis: str) -> dict[str, str]:
    """Options of the importers in C++ that turn `up_axis` upwards as the project's own loader does."""
    forward = {"x": "NEGATIVE_Z", "y": "NEGATIVE_Z", "z": "Y"}[up_axis]
    return {"forward_axis": forward, "up_axis": up_axis.upper()}


def _stand_up(file_type: str) -> str:
    """Turn what was imported with the format's custom onto the axis that it stands along, and return that axis."""
    bpy.context.view_layer.update()
    things = [thing for thing in bpy.context.scene.objects if thing.type == "MESH"]
    custom = CUSTOMARY_UP[file_type]
    to_world = _conversion(custom)
    in_file = to_world.inverted()
    corners = [corner for thing in things for corner in _box_of_faces(thing.data, in_file @ thing.matrix_world)]
    if not corners:
        return custom
    axis = upward_axis(file_type, np.min(corners, axis=0).tolist(), np.max(corners, axis=0).tolist())
    if axis == custom:
        return custom
    for thing in [thing for thing in things if thing.parent is None]:
        thing.matrix_world = _conversion(axis) @ in_file @ thing.matrix_world
    return axis


def _box_of_faces(mesh: Any, matrix: Matrix) -> list[np.ndarray]:
    """The lowest and the highest corner of what the faces use, after a transform; nothing where there are none."""
    used = np.zeros(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", used)
    vertices = np.zeros(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    linear, shift = np.array(matrix)[:3, :3], np.array(matrix)[:3, 3]
    turned = vertices.reshape(-1, 3)[np.unique(used)] @ linear.T + shift
    return [turned.min(axis=0), turned.max(axis=0)] if len(used) else []


def _conversion(up_axis: str) -> Matrix:
    """From the axes of a file whose `up_axis` points up to Blender's."""
    axes = _axes(up_axis)
    forward = axes["forward_axis"].replace("NEGATIVE_", "-")
    return axis_conversion(from_forward=forward, from_up=axes["up_axis"], to_forward="Y", to_up="Z").to_4x4()


def _wear_vertex_colours(mesh: Any) -> None:
    """Show colours per vertex, which the importer leaves without a material."""
    if mesh.materials or not mesh.color_attributes:
        return
    material = bpy.data.materials.new("vertex colours")
    material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colours = tree.nodes.new("ShaderNodeVertexColor")
    colours.layer_name = mesh.color_attributes[0].name
    tree.links.new(colours.outputs["Color"], shader.inputs["Base Color"])
    mesh.materials.append(material)


def _stop_animation() -> None:
    """Clear actions and drivers; what an action had posed goes back to rest."""
    rest_bones()
    for datablock in [*bpy.data.objects, *bpy.data.shape_keys]:
        datablock.animation_data_clear()


def rest_bones() -> None:
    """Put bones that an animation moves back to rest."""
    for armature in [thing for thing in bpy.data.objects if thing.type == "ARMATURE" and thing.animation_data]:
        for bone in armature.pose.bones:
            bone.matrix_basis = Matrix.Identity(4)


def _settle_textures(folder: Path) -> list[str]:
    """Make textures white that are not there or lie outside the folder; return their names."""
    missing = []
    for image in list(bpy.data.images):
        if image.source not in ("FILE", "TILED", "SEQUENCE", "MOVIE") or image.packed_file is not None:
            continue
        if not image.users:
            continue
        path = Path(bpy.path.abspath(image.filepath_raw))
        inside = path.resolve().is_relative_to(folder)
        if not inside or image.source in ("SEQUENCE", "MOVIE") or not (image.source == "TILED" or path.is_file()):
            missing.append(path.name)
            _make_white(image)
    return sorted(missing)


def _make_white(image: Any) -> None:
    is_colour = image.colorspace_settings.name != "Non-Color"
    image.source = "GENERATED"
    image.generated_width = image.generated_height = 1
    image.generated_color = _WHITE
    if not is_colour:  # white is no direction and no sensible roughness: whatever read it goes without
        for tree in [material.node_tree for material in bpy.data.materials if material.node_tree] + [
            *bpy.data.node_groups
        ]:
            for node in [node for node in tree.nodes if getattr(node, "image", None) == image]:
                tree.nodes.remove(node)


def _cut_holes() -> None:
    """Let alpha of base colours cut shapes out, leaves of a plant say, as in the project's own loader.

    A picture that is opaque nowhere makes a surface glassy and cuts nothing out of it: it stays opaque.
    """
    for material in bpy.data.materials:
        for node in material.node_tree.nodes if material.node_tree else ():
            if node.type != "BSDF_PRINCIPLED" or node.inputs["Alpha"].is_linked:
                continue
            for link in node.inputs["Base Color"].links:
                if link.from_node.type == "TEX_IMAGE" and _has_holes(link.from_node.image):
                    material.node_tree.links.new(link.from_node.outputs["Alpha"], node.inputs["Alpha"])


def _has_holes(image: Any) -> bool:
    if image is None or image.channels != 4 or not image.has_data:
        return False
    values = np.zeros(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return bool(values[3::4].min() < _OPAQUE <= values[3::4].max())


def _first_line(text: str, path: Path) -> str:
    """The most telling line of what an operator reports: tracebacks end with it."""
    lines = [line.strip().removeprefix("Error: ") for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Location:", "File ", "Traceback", "Python:"))]
    return (lines[-1] if lines else "no reason given").replace(str(path), path.name)[:300]
