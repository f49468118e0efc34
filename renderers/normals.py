"""Shading normals: those of the file, else smoothed across edges that turn by less than a crease angle."""

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64

from renderers.blender import crease_normals as rule
from renderers.meshes import TexturedMesh


def shading_normals(mesh: TexturedMesh, *, crease_degrees: float = 40.0) -> Float32[np.ndarray, "faces 3 3"]:
    """Unit normals at the corners of every face.

    A normal that the file stored is kept, turned about where it points to the back of its face: leaves of two sheets
    often share the normals of one. For other corners, the faces around a position are averaged, weighted by
    their angle there, as far as they hang together over edges that turn by less than `crease_degrees`; sharper
    edges stay sharp. Positions are merged first, since they repeat at texture seams.

    Args:
        mesh: F faces.
        crease_degrees: the largest turn that is smoothed, 0..180.

    Returns:
        [F, 3, 3] float32; zero at faces without area that touch no other.
    """
    stored = mesh.corner_normals
    if stored is None:
        return crease_normals(mesh.vertices, mesh.faces, crease_degrees=crease_degrees)
    stored = _on_the_front(stored, mesh)
    if np.abs(stored).max(axis=-1).min() > 0:
        return stored
    computed = crease_normals(mesh.vertices, mesh.faces, crease_degrees=crease_degrees)
    return np.where(np.abs(stored).max(axis=-1, keepdims=True) > 0, stored, computed)


def _on_the_front(normals: np.ndarray, mesh: TexturedMesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    behind = np.einsum("fd,fkd->f", face_normals, normals) < 0
    return np.where(behind[:, None, None], -normals, normals) if behind.any() else normals


def crease_normals(
    vertices: Float64[np.ndarray, "vertices 3"], faces: Int64[np.ndarray, "faces 3"], *, crease_degrees: float
) -> Float32[np.ndarray, "faces 3 3"]:
    """Normals [F, 3, 3] float32 of faces [F, 3] on vertices [N, 3] by the crease rule of `shading_normals`."""
    return rule.corner_normals(vertices, faces, crease_degrees)


def merged_positions(vertices: Float64[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " vertices"]:
    """For each vertex [N] the first vertex at the same position; equal bits after adding 0 (so that -0 is 0)."""
    return rule.merged_positions(vertices)
