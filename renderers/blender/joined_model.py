"""Runs inside Blender: whatever was imported becomes still meshes in the unit ball, in a scene of their own.

Everything else that came with the file (cameras, lights, worlds, modifiers, skins, instances, drivers, compositing) is
evaluated once a moment or left behind.
"""

# pyright: reportMissingImports=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from renderers.blender.crease_normals import corner_normals
from renderers.blender.model_import import Refused
from renderers.blender.moments import Clip

# As everywhere in this project, normals that a file does not store are smooth over edges that turn by less.
CREASE_DEGREES = 40.0
_MAX_FACES = 20_000_000
LARGEST_INDEX = 32_767  # that Blender's `pass_index` takes
_SMALLEST_AREA = 1e-14  # of a box with edges of 2; rounding of doubles gives less


@dataclass(frozen=True)
class JoinedModel:
    """What stands in the new scene.

    Attributes:
        source_to_object: [4, 4] rows, from Blender's world after the import to the normalised object.
        num_faces: triangles and polygons in all, at the first moment.
        moments: the objects of each moment, one a mesh; one moment for a model at rest.
        names: of the file's objects; a mesh's `pass_index` is its object's place, counted from 1.
    """

    source_to_object: list[list[float]]
    num_faces: int
    moments: list[list[Any]]
    names: list[str]

    def show(self, moment: int) -> None:
        """Let the objects of one moment be rendered, and no others."""
        for number, objects in enumerate(self.moments):
            for thing in objects:
                thing.hide_render = number != moment


@dataclass
class _Part:
    """A mesh of its own, wound outwards, with the coordinates and stored normals that it is going to have."""

    source_name: str
    mesh: Any
    vertices: np.ndarray
    normals: np.ndarray | None


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
    return _joined(scene, [_visible_parts(name)], normalisation, name)


def join_moments(scene: Any, clip: Clip, times: Sequence[float], normalisation: str, name: str) -> JoinedModel:
    """Put still copies of a moving model at moments of a clip into another scene, normalised as one.

    The box and the ball are those around the model at all moments together, so that it does not jump.

    Args:
        scene: where to; empty.
        clip: that moves the model.
        times: of the moments, in parts of the clip.
        normalisation: as for `join_model`.
        name: the model's, for messages.

    Raises:
        Refused: the model does not move, or what `join_model` refuses.
    """
    moments, num_faces = [], 0
    for time in times:
        clip.go_to(bpy.context.scene, time)
        moments.append(_visible_parts(name))
        num_faces += sum(len(part.mesh.polygons) for part in moments[-1])
        if num_faces > _MAX_FACES:
            raise Refused(f"{name}: expected at most {_MAX_FACES:,} faces in all moments; ask for fewer --frames.")
    if len(set(times)) > 1 and all(_same_shape(moments[0], parts) for parts in moments[1:]):
        raise Refused(
            f"{name}: expected a model that moves, got the same shape at all {len(times)} moments; ask for more "
            "--frames (a cycle ends as it begins), or for none."
        )
    return _joined(scene, moments, normalisation, name)


def _joined(scene: Any, moments: list[list[_Part]], normalisation: str, name: str) -> JoinedModel:
    every = [part for parts in moments for part in parts]
    centre, radius = _centre_and_radius(
        [part.vertices[_used_vertices(part.mesh)] for part in every], normalisation, name
    )
    for part in every:
        part.vertices = (part.vertices - centre) / radius
        part.mesh.calc_loop_triangles()
    names: dict[str, int] = {}
    joined = []
    for parts in moments:
        _check_area(parts, name)
        if any(part.normals is None for part in parts):
            _compute_normals(parts)
        joined.append([_placed(scene, part, names) for part in parts])
    matrix = np.eye(4)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return JoinedModel(matrix.tolist(), sum(len(part.mesh.polygons) for part in moments[0]), joined, list(names))


def _placed(scene: Any, part: _Part, names: dict[str, int]) -> Any:
    """An object of the mesh, numbered as the file's object that it was; instances of one have one number."""
    _settle(part)
    thing = bpy.data.objects.new("part", part.mesh)
    thing.pass_index = min(names.setdefault(part.source_name, len(names) + 1), LARGEST_INDEX)
    scene.collection.objects.link(thing)
    return thing


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
            parts.append(_part(original.name, mesh, matrix))
    num_faces = sum(len(part.mesh.polygons) for part in parts)
    if num_faces == 0:
        raise Refused(f"{name}: The mesh has no faces; expected at least one, export it with its faces.")
    if num_faces > _MAX_FACES:
        raise Refused(f"{name}: expected at most {_MAX_FACES:,} faces, got {num_faces:,}; simplify it.")
    return parts


def _same_shape(one: list[_Part], other: list[_Part]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.vertices, b.vertices) for a, b in zip(one, other, strict=True)
    )


def _part(source_name: str, mesh: Any, matrix: np.ndarray) -> _Part:
    linear = matrix[:3, :3]
    turning = np.linalg.det(linear)
    vertices = _read(mesh.vertices, "co", 3) @ linear.T + matrix[:3, 3]
    normals = None
    if mesh.has_custom_normals and turning != 0:
        normals = _read(mesh.corner_normals, "vector", 3) @ np.linalg.inv(linear)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    if turning < 0:
        before = _corner_vertices(mesh)
        mesh.flip_normals()
        if normals is not None:
            normals = normals[_flipped_corners(mesh, before)]
    return _Part(source_name, mesh, vertices, normals)


def _flipped_corners(mesh: Any, before: np.ndarray) -> np.ndarray:
    """Where each corner was before the polygons were turned over: in its own polygon, at the same vertex."""
    sizes = np.zeros(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    polygon = np.repeat(np.arange(len(sizes)), sizes)
    was, now = np.lexsort((before, polygon)), np.lexsort((_corner_vertices(mesh), polygon))
    places = np.zeros(len(before), np.int64)
    places[now] = was
    return places


def _corner_vertices(mesh: Any) -> np.ndarray:
    indices = np.zeros(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", indices)
    return indices


def _triangles(mesh: Any, attribute: str) -> np.ndarray:
    """Indices [T, 3] of the "vertices" or "loops" at the corners of the triangles that polygons are cut into."""
    indices = np.zeros(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get(attribute, indices)
    return indices.reshape(-1, 3)


def _read(collection: Any, attribute: str, width: int) -> np.ndarray:
    values = np.zeros(len(collection) * width, np.float32)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width).astype(np.float64)


def _used_vertices(mesh: Any) -> np.ndarray:
    return np.unique(_corner_vertices(mesh))


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


def _check_area(parts: list[_Part], name: str) -> None:
    for part in parts:
        triangles = part.vertices[_triangles(part.mesh, "vertices")]
        crosses = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        if len(crosses) and np.linalg.norm(crosses, axis=1).max() >= _SMALLEST_AREA:
            return
    raise Refused(f"{name}: the mesh has no area: expected triangles, got points or lines; export it again.")


def _compute_normals(parts: list[_Part]) -> None:
    """Give parts without normals those of the one rule, over all parts at once: they may share edges."""
    faces = [_triangles(part.mesh, "vertices").astype(np.int64) for part in parts]
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    joined = np.concatenate([part_faces + offset for part_faces, offset in zip(faces, offsets[:-1], strict=True)])
    normals = corner_normals(np.concatenate([part.vertices for part in parts]), joined, CREASE_DEGREES)
    begin = 0
    for part, part_faces in zip(parts, faces, strict=True):
        end = begin + len(part_faces)
        if part.normals is None:
            part.normals = np.zeros((len(part.mesh.loops), 3))
            part.normals[_triangles(part.mesh, "loops")] = normals[begin:end]
        begin = end


def _settle(part: _Part) -> None:
    """Write coordinates and normals into the mesh."""
    assert part.normals is not None
    mesh = part.mesh
    mesh.vertices.foreach_set("co", part.vertices.astype(np.float32).ravel())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.update()
    _separate_fans(mesh)
    mesh.normals_split_custom_set(part.normals.astype(np.float32))
    mesh.update()


def _separate_fans(mesh: Any) -> None:
    """Mark the rims of the surface as sharp.

    Cycles keeps one normal a vertex. It gives faces on two sides of a sharp edge vertices of their own, but not faces
    that touch in a vertex alone.
    """
    edges = np.zeros(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", edges)
    sharp = np.zeros(len(mesh.edges), bool)
    mesh.edges.foreach_get("use_edge_sharp", sharp)
    mesh.edges.foreach_set("use_edge_sharp", sharp | (np.bincount(edges, minlength=len(mesh.edges)) != 2))
