"""Shading normals: those of the file, else smoothed across edges that turn by less than a crease angle."""

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

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
    num_faces = len(faces)
    merged = merged_positions(vertices)[faces]
    corners = vertices[faces]
    corners = corners / max(np.abs(corners - corners.mean(axis=(0, 1))).max(), 1e-300)
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(face_normals, axis=1, keepdims=True)
    np.divide(face_normals, length, out=face_normals, where=length > 0)

    groups = _corner_groups(merged, face_normals, crease_degrees)
    weighted = _corner_angles(corners)[..., None] * face_normals[:, None]
    sums = np.stack(
        [np.bincount(groups, weights=weighted[..., axis].ravel(), minlength=3 * num_faces) for axis in range(3)], axis=1
    )[groups].reshape(num_faces, 3, 3)
    length = np.linalg.norm(sums, axis=-1, keepdims=True)
    flat = np.broadcast_to(face_normals[:, None], sums.shape)
    return np.where(length > 1e-12, sums / np.maximum(length, 1e-12), flat).astype(np.float32)


def merged_positions(vertices: Float64[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " vertices"]:
    """For each vertex [N] the first vertex at the same position; equal bits after adding 0 (so that -0 is 0)."""
    keys = np.ascontiguousarray(vertices + 0.0).view(np.dtype((np.void, 24))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def _corner_groups(merged: np.ndarray, face_normals: np.ndarray, crease_degrees: float) -> np.ndarray:
    """Group number of each of the 3F corners: corners of one position joined over smooth edges."""
    num_faces = len(merged)
    # The edge k of a face goes from corner k to corner k + 1.
    start, end = merged.ravel(), np.roll(merged, -1, axis=1).ravel()
    corner_of_start = np.arange(3 * num_faces)
    corner_of_end = (corner_of_start // 3) * 3 + (corner_of_start % 3 + 1) % 3
    forward = start < end
    low, high = np.where(forward, start, end), np.where(forward, end, start)
    corner_of_low = np.where(forward, corner_of_start, corner_of_end)
    corner_of_high = np.where(forward, corner_of_end, corner_of_start)
    order = np.argsort(low * (merged.max() + 1) + high, kind="stable")
    low, high = low[order], high[order]
    same_edge = (low[1:] == low[:-1]) & (high[1:] == high[:-1]) & (low[1:] != high[1:])
    one, other = order[:-1][same_edge], order[1:][same_edge]
    cosine = np.einsum("ij,ij->i", face_normals[one // 3], face_normals[other // 3])
    smooth = cosine > np.cos(np.radians(crease_degrees))
    one, other = one[smooth], other[smooth]
    rows = np.concatenate([corner_of_low[one], corner_of_high[one]])
    columns = np.concatenate([corner_of_low[other], corner_of_high[other]])
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(3 * num_faces, 3 * num_faces))
    return connected_components(graph, directed=False)[1]


def _corner_angles(corners: np.ndarray) -> np.ndarray:
    """Angles [F, 3] in radians of triangles [F, 3, 3]."""
    to_next = np.roll(corners, -1, axis=1) - corners
    to_previous = np.roll(corners, 1, axis=1) - corners
    cross = np.linalg.norm(np.cross(to_next, to_previous), axis=-1)
    return np.arctan2(cross, np.einsum("fkd,fkd->fk", to_next, to_previous))
