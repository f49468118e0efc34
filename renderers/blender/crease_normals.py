"""Normals of faces that come without any: one rule for every renderer, numpy alone, since Blender runs it too.

The faces around a position are averaged, weighted by their angle there, as far as they hang together over edges that
turn by less than a crease angle; sharper edges stay sharp. Positions are merged first, since they repeat at texture
seams.
"""

import numpy as np


def merged_positions(vertices: np.ndarray) -> np.ndarray:
    """For each vertex [N, 3] float64 the first at the same position [N]: equal bits after adding 0 (-0 is 0)."""
    keys = np.ascontiguousarray(vertices + 0.0).view(np.dtype((np.void, 24))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse.ravel()]


def corner_normals(vertices: np.ndarray, faces: np.ndarray, crease_degrees: float) -> np.ndarray:
    """Unit normals [F, 3, 3] float32 at the corners of faces [F, 3] on vertices [N, 3] float64.

    They are zero at faces without area that touch no other.
    """
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
    return _connected(
        3 * num_faces,
        np.concatenate([corner_of_low[one], corner_of_high[one]]),
        np.concatenate([corner_of_low[other], corner_of_high[other]]),
    )


def _connected(number: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The smallest member of each element's connected component: [number].

    Labels only fall, and each round also follows a label to its own, so that rounds grow with the logarithm of the
    longest way: fans around a position are short.
    """
    labels = np.arange(number)
    while True:
        lower = np.minimum(labels[one], labels[other])
        before = labels.copy()
        np.minimum.at(labels, labels[one], lower)
        np.minimum.at(labels, labels[other], lower)
        np.minimum.at(labels, one, lower)
        np.minimum.at(labels, other, lower)
        labels = labels[labels]
        if (labels == before).all():
            return labels


def _corner_angles(corners: np.ndarray) -> np.ndarray:
    """Angles [F, 3] in radians of triangles [F, 3, 3]."""
    to_next = np.roll(corners, -1, axis=1) - corners
    to_previous = np.roll(corners, 1, axis=1) - corners
    cross = np.linalg.norm(np.cross(to_next, to_previous), axis=-1)
    return np.arctan2(cross, np.einsum("fkd,fkd->fk", to_next, to_previous))
