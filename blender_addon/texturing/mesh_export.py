"""A mesh of the scene as a file for the worker: what modifiers make of it, where it stands, in the unit ball.

Captured at once on the main thread, since the scene may change while the worker works; the file is made of the captured
arrays in a thread. Which corner of which face a triangle came from is kept, so that texture coordinates find their way
back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..formats.gltf_file import encode_glb
from ..queueing.job_requests import JobError

LAYER_NAME = "OneStep3D"
"""Of texture coordinates that were made."""

_MOST_TRIANGLES = 5_000_000
_FLOAT, _UNSIGNED = 5126, 5125


@dataclass(frozen=True, eq=False)
class CapturedMesh:
    """T triangles of a mesh as Blender evaluated it.

    Attributes:
        name: of the object.
        corners: [T, 3, 3] float32 positions in the unit ball: z up, turned as in the world, centre of the bounding box
            at the origin, farthest vertex at distance 1.
        loops: [T, 3] which corner of the evaluated mesh each is.
        polygons: [T] which face of the evaluated mesh a triangle belongs to.
        num_loops: of the evaluated mesh.
        uvs: [T, 3, 2] of the layer below, None if the mesh has none.
        uv_layer: name of that layer: the one that was made here before, else the one that renders use.
        layer_is_own: whether the object's own mesh has it, else modifiers make it.
        world_to_unit: [4, 4].
        reshaped: whether modifiers changed the faces, so that corners are not those of the object's own mesh.
    """

    name: str
    corners: np.ndarray
    loops: np.ndarray
    polygons: np.ndarray
    num_loops: int
    uvs: np.ndarray | None
    uv_layer: str
    layer_is_own: bool
    world_to_unit: np.ndarray
    reshaped: bool


def mesh_problem(thing: Any) -> str:
    """Say why an object cannot be textured; "" if it can. Cheap enough for a panel.

    Args:
        thing: the active object, or None.
    """
    if thing is None:
        return "Select the mesh to texture first"
    if thing.type != "MESH":
        return f"Expected a mesh, got {thing.name} ({thing.type.lower()}): select one, or convert it to a mesh"
    if thing.mode != "OBJECT":
        return "Leave Edit Mode first"
    if "opacity_logit" in thing.data.attributes:
        return f"{thing.name} holds splats, which have their colours: select a mesh"
    # A script may write into a linked mesh, and Blender forgets it when the file is opened again.
    return linked_problem(thing) or linked_problem(thing.data)


def linked_problem(data: Any) -> str:
    """Say what to do about data of another file, which cannot be changed here; "" if it is this file's own.

    Args:
        data: an object or a mesh.
    """
    if data.library is None:
        return ""
    # Its other choices leave an object of a linked collection in no collection at all.
    where = "Object, Relations, Make Local, All"
    return f"Expected a mesh of this file, got {data.name}, linked from another one: make it local ({where})"


def has_coordinates(thing: Any, depsgraph: Any) -> bool:
    """Whether a mesh has texture coordinates, its own or by its modifiers.

    Args:
        thing: an object of type MESH.
        depsgraph: evaluated.
    """
    return _layer(thing.evaluated_get(depsgraph).data) is not None


def captured_mesh(thing: Any, depsgraph: Any) -> CapturedMesh:
    """Capture a mesh with its modifiers.

    Args:
        thing: an object of type MESH.
        depsgraph: evaluated.

    Raises:
        JobError: it has no faces, no extent, or too many faces.
    """
    evaluated = thing.evaluated_get(depsgraph)
    if (layer := _layer(evaluated.data)) is not None and layer.name not in thing.data.uv_layers:
        # Modifiers make it; or a script took it away, which Blender does not notice by itself.
        thing.data.update_tag()
        depsgraph.update()
        evaluated = thing.evaluated_get(depsgraph)
    mesh = evaluated.data
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    if not count:
        raise JobError(f"{thing.name}: expected a mesh with faces, got one without; select another one.")
    if count > _MOST_TRIANGLES:
        raise JobError(f"{thing.name}: expected at most {_MOST_TRIANGLES:,} triangles, got {count:,}; decimate it.")
    vertices = _values(mesh.vertices, "co", 3, np.float32).astype(np.float64)
    loops = _values(mesh.loop_triangles, "loops", 3, np.int32)
    corners = vertices[_values(mesh.loop_triangles, "vertices", 3, np.int32)]
    to_world = np.array(evaluated.matrix_world, np.float64)
    if np.linalg.det(to_world[:3, :3]) < 0:  # a mirrored object would show its inside
        loops, corners = loops[:, ::-1], corners[:, ::-1]
    in_world = corners @ to_world[:3, :3].T + to_world[:3, 3]
    world_to_unit = unit_ball(in_world.reshape(-1, 3), thing.name)
    layer = _layer(mesh)
    uvs = None if layer is None else _values(layer.uv, "vector", 2, np.float32)[loops]
    own = thing.data
    return CapturedMesh(
        name=thing.name,
        corners=(in_world @ world_to_unit[:3, :3].T + world_to_unit[:3, 3]).astype(np.float32),
        loops=np.ascontiguousarray(loops),
        polygons=_values(mesh.loop_triangles, "polygon_index", 1, np.int32)[:, 0],
        num_loops=len(mesh.loops),
        uvs=uvs,
        uv_layer="" if layer is None else layer.name,
        layer_is_own=layer is not None and layer.name in own.uv_layers,
        world_to_unit=world_to_unit,
        reshaped=(len(mesh.loops), len(mesh.polygons)) != (len(own.loops), len(own.polygons)),
    )


def unit_ball(points: np.ndarray, name: str) -> np.ndarray:
    """The matrix [4, 4] that moves points into the unit ball, as the worker does it.

    Args:
        points: [N, 3], at least one.
        name: of the object.

    Raises:
        JobError: one is not finite, or all are one.
    """
    if not np.isfinite(points).all():
        raise JobError(f"{name}: expected vertices at finite places, got some that are not; clean the mesh up.")
    lowest, highest = points.min(axis=0), points.max(axis=0)
    centre = (lowest + highest) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    if not radius > 0:
        raise JobError(f"{name}: expected a mesh with an extent, got a single point; scale it up.")
    matrix = np.eye(4)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return matrix


def glb_of(captured: CapturedMesh) -> bytes:
    """The mesh as a .glb: positions in the unit ball, y up as glTF wants it, and texture coordinates if there are any.

    One vertex a corner of a triangle, in the order of the captured triangles.

    Args:
        captured: the mesh.
    """
    x, y, z = np.moveaxis(captured.corners.reshape(-1, 3), 1, 0)
    attributes = {"POSITION": np.stack([x, z, -y], axis=1)}
    if captured.uvs is not None:
        uvs = captured.uvs.reshape(-1, 2)
        attributes["TEXCOORD_0"] = np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1)
    parts = {name: np.ascontiguousarray(values, "<f4") for name, values in attributes.items()}
    binary, views, accessors, named = b"", [], [], {}
    for name, values in parts.items():
        named[name] = len(views)
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
        binary += values.tobytes()
        accessors.append(
            {
                "bufferView": named[name],
                "componentType": _FLOAT,
                "count": len(values),
                "type": f"VEC{values.shape[1]}",
                "min": values.min(axis=0).tolist(),
                "max": values.max(axis=0).tolist(),
            }
        )
    document = {
        "asset": {"version": "2.0", "generator": "OneStep3D"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": captured.name}],
        "meshes": [{"primitives": [{"attributes": named}]}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    return encode_glb(document, binary)


def _values(collection: Any, name: str, width: int, dtype: Any) -> np.ndarray:
    """A property [N, width] of all things of a collection."""
    values = np.zeros(len(collection) * width, dtype)
    collection.foreach_get(name, values)
    return values.reshape(-1, width)


def _layer(mesh: Any) -> Any | None:
    """The layer of coordinates that serves: one that was made here is whole, what was there before it perhaps not."""
    return mesh.uv_layers.get(LAYER_NAME) or next((layer for layer in mesh.uv_layers if layer.active_render), None)
