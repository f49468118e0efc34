"""Runs inside Blender: whatever was imported becomes still meshes in the unit ball, in a scene of their own.

Everything else that came with the file (cameras, lights, worlds, modifiers, skins, instances, drivers, compositing) is
evaluated once or left behind.
"""

# pyright: reportMissingImports=false

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from renderers.blender.model_import import Refused

# As everywhere in this project, normals that a file does not store are smooth over edges that turn by less.
CREASE_DEGREES = 40.0
_MAX_FACES = 20_000_000
_SMALLEST_AREA = 1e-14  # of a box with edges of 2; rounding of doubles gives less


@dataclass(frozen=True)
class JoinedModel:
    """What stands in the new scene.

    Attributes:
        source_to_object: [4, 4] rows, from Blender's world after the import to the normalised object.
        num_faces: triangles and polygons in all.
        objects: one a mesh, in the order of their index (1 and up).
    """

    source_to_object: list[list[float]]
    num_faces: int
    objects: list[Any]


@dataclass
class _Part:
    """A mesh of its own with the coordinates it is going to have."""

    mesh: Any
    vertices: np.ndarray
    normals: np.ndarray | None
    mirrored: bool


def join_model(scene: Any, normalisation: str, name: str) -> JoinedModel:
    """Put still copies of all that is visible in the current scene into another, normalised.

    Args:
        scene: where to; empty.
        normalisation: "unit-ball": the box's centre at the origin, the farthest vertex at distance 1; or
            "longest-side": the same centre, the longest side of the box 1.
        name: the model's, for messages.

    Raises:
        Refused: nothing to be seen, coordinates that are not finite, or too many faces.
    """
    parts = _visible_parts(name)
    used = [part.vertices[_used_vertices(part.mesh)] for part in parts]
    centre, radius = _centre_and_radius(used, normalisation, name)
    _check_area(parts, centre, radius, name)
    objects = []
    for index, part in enumerate(parts, 1):
        _place(part, centre, radius)
        thing = bpy.data.objects.new(f"part {index}", part.mesh)
        thing.pass_index = index
        scene.collection.objects.link(thing)
        objects.append(thing)
    matrix = np.eye(4)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return JoinedModel(matrix.tolist(), sum(len(part.mesh.polygons) for part in parts), objects)


def _visible_parts(name: str) -> list[_Part]:
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    found: list[tuple[Any, np.ndarray]] = []
    for instance in depsgraph.object_instances:
        thing = instance.instance_object if instance.is_instance else instance.object
        if not instance.show_self or thing.original.hide_render:
            continue
        if thing.type in ("MESH", "CURVE", "SURFACE", "FONT", "META"):
            found.append((thing.original, np.array(instance.matrix_world, np.float64)))
    parts = []
    # The list above belongs to a depsgraph that new meshes would change under the loop.
    for original, matrix in found:
        evaluated = original.evaluated_get(depsgraph)
        mesh = bpy.data.meshes.new_from_object(evaluated, preserve_all_data_layers=True, depsgraph=depsgraph)
        if mesh is not None and len(mesh.polygons):
            parts.append(_part(mesh, matrix))
    num_faces = sum(len(part.mesh.polygons) for part in parts)
    if num_faces == 0:
        raise Refused(f"{name}: The mesh has no faces; expected at least one, export it with its faces.")
    if num_faces > _MAX_FACES:
        raise Refused(f"{name}: expected at most {_MAX_FACES:,} faces, got {num_faces:,}; simplify it.")
    return parts


def _part(mesh: Any, matrix: np.ndarray) -> _Part:
    linear = matrix[:3, :3]
    vertices = _read(mesh.vertices, "co", 3)
    normals = None
    if mesh.has_custom_normals and np.linalg.det(linear) != 0:
        normals = _read(mesh.corner_normals, "vector", 3) @ np.linalg.inv(linear)
    return _Part(mesh, vertices @ linear.T + matrix[:3, 3], normals, bool(np.linalg.det(linear) < 0))


def _read(collection: Any, attribute: str, width: int) -> np.ndarray:
    values = np.zeros(len(collection) * width, np.float32)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width).astype(np.float64)


def _used_vertices(mesh: Any) -> np.ndarray:
    indices = np.zeros(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", indices)
    return np.unique(indices)


def _centre_and_radius(used: list[np.ndarray], normalisation: str, name: str) -> tuple[np.ndarray, float]:
    """Centre of the bounding box, and the length that becomes 1."""
    not_finite = sum(int((~np.isfinite(vertices).all(axis=1)).sum()) for vertices in used)
    if not_finite:
        raise Refused(f"{name}: its mesh has {not_finite:,} vertices that are not finite; export it again.")
    lowest = np.min([vertices.min(axis=0) for vertices in used], axis=0)
    highest = np.max([vertices.max(axis=0) for vertices in used], axis=0)
    centre = lowest / 2 + highest / 2
    largest = float((highest / 2 - lowest / 2).max())
    if not largest > 0:
        raise Refused(f"{name}: expected a mesh with an extent, got one whose vertices are all one point.")
    if normalisation == "longest-side":
        return centre, 2 * largest
    # Scaled by the largest coordinate first: squares of 1e200 would overflow.
    return centre, largest * max(float(np.linalg.norm((v - centre) / largest, axis=1).max()) for v in used)


def _check_area(parts: list[_Part], centre: np.ndarray, radius: float, name: str) -> None:
    for part in parts:
        part.mesh.calc_loop_triangles()
        corners = np.zeros(3 * len(part.mesh.loop_triangles), np.int32)
        part.mesh.loop_triangles.foreach_get("vertices", corners)
        triangles = ((part.vertices - centre) / radius)[corners].reshape(-1, 3, 3)
        crosses = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        if len(crosses) and np.linalg.norm(crosses, axis=1).max() >= _SMALLEST_AREA:
            return
    raise Refused(f"{name}: the mesh has no area: expected triangles, got points or lines; export it again.")


def _place(part: _Part, centre: np.ndarray, radius: float) -> None:
    mesh = part.mesh
    vertices = (part.vertices - centre) / radius
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.update()
    if part.normals is None:
        _smooth_by_crease(mesh)
    normals = part.normals
    if normals is not None:
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
        mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
        mesh.normals_split_custom_set(normals.astype(np.float32))
    if part.mirrored:
        mesh.flip_normals()
    mesh.update()


def _smooth_by_crease(mesh: Any) -> None:
    """The 40-degree rule of `renderers.normals`: faces that meet at a position count as joined, seams or not."""
    import bmesh

    merged = bmesh.new()
    merged.from_mesh(mesh)
    # Only what lies at the same place up to rounding: corners keep their own texture coordinates.
    bmesh.ops.remove_doubles(merged, verts=merged.verts, dist=1e-7)
    merged.to_mesh(mesh)
    merged.free()
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.set_sharp_from_angle(angle=np.radians(CREASE_DEGREES))
    mesh.update()
