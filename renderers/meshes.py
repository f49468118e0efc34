"""One textured mesh: what every model file becomes before it is rendered, lit or textured."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from distill_core.errors import UserError

UpAxis = Literal["y", "z"]

Y_UP_TO_Z_UP = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Takes (x, y, z) with y up to (x, -z, y) with z up; the front, towards +z, then looks along -y."""


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with base colour, in a world with z up.

    Colour at a surface point = texel of the face's picture (sRGB decoded to linear) times the interpolated
    corner colour (linear). Pictures repeat outside 0..1.

    Attributes:
        vertices: [N, 3] float64, world units.
        faces: [F, 3] int64 vertex indices, counter-clockwise seen from outside (mostly: open parts exist).
        corner_uvs: [F, 3, 2] float32, v up (OpenGL's convention).
        base_colours: pictures, each uint8 [height, width, 4] straight sRGB RGBA; alpha cuts holes.
        face_picture: [F] int64, which of `base_colours` a face wears.
        corner_colours: [F, 3, 4] float32 linear RGBA factors 0..1, or None where all are one.
        corner_normals: [F, 3, 3] float32 unit normals stored in the file (zero where a part stored none), or None.
        source_to_object: [4, 4] float64, from the coordinates in the file to these.
        name: the model's name.
    """

    vertices: np.ndarray
    faces: np.ndarray
    corner_uvs: np.ndarray
    base_colours: tuple[np.ndarray, ...]
    face_picture: np.ndarray
    corner_colours: np.ndarray | None
    corner_normals: np.ndarray | None
    source_to_object: np.ndarray
    name: str


def transformed(mesh: TexturedMesh, matrix: np.ndarray) -> TexturedMesh:
    """The mesh after its world was moved by an invertible affine matrix [4, 4]; mirrors turn the winding."""
    matrix = np.asarray(matrix, np.float64)
    linear = matrix[:3, :3]
    faces, corners = mesh.faces, slice(None)
    if np.linalg.det(linear) < 0:
        corners = slice(None, None, -1)
        faces = np.ascontiguousarray(faces[:, ::-1])
    normals = mesh.corner_normals
    if normals is not None:
        normals = _unit_or_zero(normals @ np.linalg.inv(linear)).astype(np.float32)
    return replace(
        mesh,
        vertices=mesh.vertices @ linear.T + matrix[:3, 3],
        faces=faces,
        corner_uvs=np.ascontiguousarray(mesh.corner_uvs[:, corners]),
        corner_colours=None if mesh.corner_colours is None else np.ascontiguousarray(mesh.corner_colours[:, corners]),
        corner_normals=None if normals is None else np.ascontiguousarray(normals[:, corners]),
        source_to_object=matrix @ mesh.source_to_object,
    )


def normalised(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh in the unit ball: centre of its bounding box at the origin, farthest vertex at distance 1.

    Raises:
        UserError: the mesh has no extent.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    lowest, highest = used.min(axis=0), used.max(axis=0)
    centre = lowest / 2 + highest / 2
    # Scaled by the largest coordinate first: squares of 1e200 would overflow.
    largest = np.abs(used - centre).max()
    if not largest > 0:
        raise UserError(f"{mesh.name}: expected a mesh with an extent, got one whose vertices are all one point.")
    radius = largest * np.linalg.norm((used - centre) / largest, axis=1).max()
    matrix = np.eye(4)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return transformed(mesh, matrix)


def _unit_or_zero(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def load_mesh(source: Path | str | bytes, *, file_type: str | None = None, name: str | None = None) -> TexturedMesh:
    """Load a binary glTF model with one textured part.

    Args:
        source: a path, or the bytes of the file.
        file_type: "glb"; needed for bytes.
        name: the model's name; a path's stem if not given.
    """
    import io

    import trimesh

    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = name or ("mesh" if isinstance(source, bytes) else Path(source).stem)
    part = trimesh.load(io.BytesIO(data), file_type=file_type or "glb", force="mesh", process=False)
    faces = np.asarray(part.faces, np.int64)
    picture = np.array(part.visual.material.baseColorTexture.convert("RGB"))
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    normals = part._cache.cache.get("vertex_normals")
    mesh = TexturedMesh(
        vertices=np.asarray(part.vertices, np.float64),
        faces=faces,
        corner_uvs=np.asarray(part.visual.uv, np.float32)[faces],
        base_colours=(np.concatenate([picture, opaque], axis=2),),
        face_picture=np.zeros(len(faces), np.int64),
        corner_colours=None,
        corner_normals=None if normals is None else np.asarray(normals, np.float32)[faces],
        source_to_object=np.eye(4),
        name=name,
    )
    return transformed(mesh, Y_UP_TO_Z_UP)
