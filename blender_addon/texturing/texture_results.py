"""A finished texture on its mesh: image, material, coordinates where there were none; what was there is kept."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bmesh
import bpy
import bpy.utils.previews
import numpy as np

from ..queueing.background import Background, waited_for
from ..queueing.job_requests import JobError
from ..references import Reference
from ..view_layers import layers_with
from .mesh_export import LAYER_NAME, CapturedMesh
from .texture_coordinates import NewCoordinates, new_coordinates

_PREVIEW = "texture"
_previews: Any = None


def add_texture(folder: Path, findings: Mapping[str, Any], mesh: Reference, captured: CapturedMesh) -> Iterator[None]:
    """Put a texture on the object that it was made for, in short steps.

    Every material slot of the object gets the new material; those of the mesh itself stay what they are, so that a slot
    whose link is set back to Data wears the old one. Coordinates that were made become a new layer. Where modifiers
    change the faces and coordinates had to be made, the result is a copy with its modifiers applied, and the object is
    hidden.

    Args:
        folder: of the job's results.
        findings: of the job; "coordinates" says whether those that were sent were kept.
        mesh: the object.
        captured: what was sent of it.

    Raises:
        JobError: the object is gone or was changed, or the results are not as they should be.
    """
    coordinates, layer = None, captured.uv_layer
    if findings.get("coordinates") != "kept":
        reading = Background(lambda: new_coordinates(folder / "textured.glb", captured))
        yield from waited_for(reading)
        if reading.error is not None:
            raise reading.error
        coordinates, layer = reading.result, LAYER_NAME
    image = Reference.of(_image(folder / "texture.png", captured.name))
    yield
    thing = _object(mesh)
    _check_unchanged(thing, captured, made=coordinates is not None)
    if coordinates is not None and captured.reshaped:
        thing = _applied_copy(thing, captured)
        mesh = Reference.of(thing)
        yield
    if coordinates is not None:
        _add_layer(_object(mesh).data, coordinates, captured)
        yield
    picture = image.found()
    if picture is None:
        raise JobError("The texture was undone before it was complete: run the job again.")
    dress(_object(mesh), textured_material(picture, layer))
    yield


def textured_material(image: bpy.types.Image, layer: str) -> bpy.types.Material:
    """A rough material of one picture.

    Args:
        image: the base colour.
        layer: of the texture coordinates.
    """
    material = bpy.data.materials.new(image.name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    where, picture = nodes.new("ShaderNodeUVMap"), nodes.new("ShaderNodeTexImage")
    surface, output = nodes.new("ShaderNodeBsdfPrincipled"), nodes.new("ShaderNodeOutputMaterial")
    for place, node in enumerate((where, picture, surface, output)):
        node.location = (300 * place, 0)
    where.uv_map, picture.image = layer, image
    # The light of its picture is in a texture already: no gloss beside it.
    surface.inputs["Roughness"].default_value = 1.0
    surface.inputs["Specular IOR Level"].default_value = 0.0
    links.new(where.outputs["UV"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], surface.inputs["Base Color"])
    links.new(surface.outputs["BSDF"], output.inputs["Surface"])
    nodes.active = picture
    return material


def dress(thing: bpy.types.Object, material: bpy.types.Material) -> None:
    """Let an object wear a material on all its faces, and keep what it wore.

    Args:
        thing: of type MESH.
        material: the new one.
    """
    if not thing.material_slots:
        thing.data.materials.append(None)
    for slot in thing.material_slots:
        if slot.link == "OBJECT" and slot.material is not None:
            slot.material.use_fake_user = True  # nothing else may hold it
        slot.link = "OBJECT"
        slot.material = material


def show_preview(picture: np.ndarray) -> None:
    """Show the texture as it is while it denoises.

    Args:
        picture: uint8 [H, W, 3], row 0 on top.
    """
    height, width = picture.shape[:2]
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = picture[::-1] / np.float32(255)
    shown = _previews.get(_PREVIEW) or _previews.new(_PREVIEW)
    shown.image_size = (width, height)
    shown.image_pixels_float.foreach_set(rgba.ravel())


def preview_icon() -> int:
    """The icon of the preview; 0 if there is none."""
    shown = None if _previews is None else _previews.get(_PREVIEW)
    return 0 if shown is None else shown.icon_id


def forget_preview() -> None:
    """Show no preview any more."""
    if _previews is not None:
        _previews.clear()


def _image(file: Path, name: str) -> bpy.types.Image:
    try:
        image = bpy.data.images.load(str(file))
        image.pack()
    except RuntimeError as error:
        raise JobError(f"Blender cannot read {file}: {' '.join(str(error).split())} Run the job again.") from None
    image.name = f"Texture of {name}"
    return image


def _object(mesh: Reference) -> bpy.types.Object:
    found = mesh.found()
    if found is None or found.type != "MESH":
        raise JobError(f"The mesh {mesh.name} is gone, for which the texture was made: undo until it is back.")
    return found


def _check_unchanged(thing: bpy.types.Object, captured: CapturedMesh, *, made: bool) -> None:
    own = thing.data
    if not made:
        if captured.layer_is_own and captured.uv_layer not in own.uv_layers:
            raise JobError(f"{thing.name} has no texture coordinates {captured.uv_layer} any more: run the job again.")
    elif not captured.reshaped and len(own.loops) != captured.num_loops:
        raise JobError(f"The faces of {thing.name} were changed meanwhile: run the job again.")


def _applied_copy(thing: bpy.types.Object, captured: CapturedMesh) -> bpy.types.Object:
    """A copy of an object with its modifiers applied, in its collections; the object itself is hidden."""
    mesh = _mesh_by_modifiers(thing, captured)
    mesh.name = f"{thing.name} textured"
    copy = thing.copy()
    copy.name, copy.data = mesh.name, mesh
    copy.modifiers.clear()
    for collection in thing.users_collection:
        collection.objects.link(copy)
    for layer in layers_with(thing):
        thing.hide_set(True, view_layer=layer)
    thing.hide_render = True
    return copy


def _mesh_by_modifiers(thing: bpy.types.Object, captured: CapturedMesh) -> bpy.types.Mesh:
    """What modifiers make of an object, wherever it is: in the window's scene or another, shown, hidden or left out."""
    for layer in layers_with(thing):
        if (mesh := _evaluated(thing, layer, captured)) is not None:
            return mesh
    # No view layer evaluates it now: a scene of the moment does.
    scene, hidden = bpy.data.scenes.new(thing.name), thing.hide_viewport
    try:
        scene.collection.objects.link(thing)
        scene.frame_current = bpy.context.scene.frame_current
        thing.hide_viewport = False
        mesh = _evaluated(thing, scene.view_layers[0], captured)
    finally:
        thing.hide_viewport = hidden
        bpy.data.scenes.remove(scene)
    if mesh is None:
        raise JobError(f"The faces of {thing.name} were changed meanwhile: run the job again.")
    return mesh


def _evaluated(thing: bpy.types.Object, layer: bpy.types.ViewLayer, captured: CapturedMesh) -> bpy.types.Mesh | None:
    """A new mesh of an object as a view layer evaluates it; None if it is not the one that was captured."""
    layer.update()
    evaluated = thing.evaluated_get(layer.depsgraph)
    if len(evaluated.data.loops) != captured.num_loops:
        return None
    return bpy.data.meshes.new_from_object(evaluated)


def _add_layer(mesh: bpy.types.Mesh, coordinates: NewCoordinates, captured: CapturedMesh) -> None:
    """Add a layer of coordinates, and cut faces that lie in several places of the texture.

    Renders go on to use the layer that they used: other materials, and other objects with this mesh, wear it.
    """
    layer = mesh.uv_layers.get(LAYER_NAME) or mesh.uv_layers.new(name=LAYER_NAME, do_init=False)
    if layer is None:
        raise JobError(f"{mesh.name} has as many texture coordinates as Blender can hold: remove one, run it again.")
    layer.uv.foreach_set("vector", coordinates.by_loop.ravel())
    if len(mesh.uv_layers) == 1:
        layer.active_render = True
        mesh.uv_layers.active = layer
    if len(coordinates.split):
        _cut(mesh, coordinates, captured)
    mesh.update()


def _cut(mesh: bpy.types.Mesh, coordinates: NewCoordinates, captured: CapturedMesh) -> None:
    """Replace faces by their triangles, each with its own coordinates; all else of faces and corners goes along."""
    triangles: dict[int, list[int]] = {int(polygon): [] for polygon in coordinates.split}
    for number in np.flatnonzero(np.isin(captured.polygons, coordinates.split)):
        triangles[int(captured.polygons[number])].append(int(number))
    starts = {polygon: mesh.polygons[polygon].loop_start for polygon in triangles}
    edited = bmesh.new()
    edited.from_mesh(mesh)
    edited.faces.ensure_lookup_table()
    layer = edited.loops.layers.uv[LAYER_NAME]
    whole = [edited.faces[polygon] for polygon in triangles]
    for (polygon, numbers), face in zip(triangles.items(), whole, strict=True):
        corners = [loop.vert for loop in face.loops]
        placed = {
            frozenset(corners[place] for place in captured.loops[number] - starts[polygon]): number
            for number in numbers
        }
        for piece in _pieces(face, list(placed)):
            number = placed[frozenset(piece.verts)]
            where = dict(
                zip(captured.loops[number] - starts[polygon], coordinates.by_triangle[number].tolist(), strict=True)
            )
            for loop in piece.loops:
                loop[layer].uv = where[corners.index(loop.vert)]
    edited.to_mesh(mesh)
    edited.free()


def _pieces(face: Any, triangles: list[frozenset[Any]]) -> list[Any]:
    """Split a face along the sides of its triangles, given as sets of vertices; returns the pieces."""
    pieces = [face]
    for side in {frozenset(pair) for triangle in triangles for pair in itertools.combinations(triangle, 2)}:
        one, other = side
        for piece in pieces:
            around = list(piece.verts)
            if one in around and other in around:
                apart = (around.index(one) - around.index(other)) % len(around)
                if 1 < apart < len(around) - 1:
                    pieces.append(bmesh.utils.face_split(piece, one, other)[0])
                    break
    return pieces


def register() -> None:
    """Keep a place for the preview."""
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    """Give the place back."""
    global _previews
    bpy.utils.previews.remove(_previews)
    _previews = None
