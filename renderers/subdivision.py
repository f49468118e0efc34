"""Triangles cut until their edges are short, so that what is baked into corners is fine enough."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from distill_core.errors import UserError
from renderers.meshes import TexturedMesh
from renderers.normals import shading_normals

_MAX_FACES = 4_000_000


def subdivided(
    mesh: TexturedMesh, corner_normals: Float[np.ndarray, "faces 3 3"] | None = None, *, max_edge: float = 0.07
) -> TexturedMesh:
    """The same surface with every edge at most `max_edge` long.

    Edges that are too long are halved, the longest of a face first. Both faces at an edge halve it at the same places,
    so a closed mesh stays closed. Shading normals are interpolated and kept as `corner_normals`.

    Args:
        mesh: what to cut.
        corner_normals: [F, 3, 3] its shading normals; None computes them.
        max_edge: in units of the mesh, positive.

    Raises:
        UserError: more than four million triangles would be needed.
    """
    if not max_edge > 0:
        raise ValueError(f"expected a positive length of edges, got {max_edge}")
    vertices, faces = mesh.vertices, mesh.faces
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    # No triangle of such edges is larger than the equilateral one.
    _check_count(float(area / (3**0.5 / 4 * max_edge**2)), mesh, max_edge)
    # What hangs on corners goes through the cuts as one table; pictures as the number of the original face.
    colours = np.zeros((len(faces), 3, 0), np.float32) if mesh.corner_colours is None else mesh.corner_colours
    normals = shading_normals(mesh) if corner_normals is None else corner_normals
    corners = np.concatenate([mesh.corner_uvs, normals, colours], axis=-1)
    original = np.arange(len(faces))
    while True:
        ends = vertices[faces]
        lengths = np.linalg.norm(np.roll(ends, -1, axis=1) - ends, axis=-1)
        cut = lengths.max(axis=1) > max_edge
        if not cut.any():
            break
        _check_count(float(len(faces) + cut.sum()), mesh, max_edge)
        vertices, halves, half_corners = _halved(vertices, faces[cut], corners[cut], lengths[cut].argmax(axis=1))
        faces = np.concatenate([faces[~cut], halves])
        corners = np.concatenate([corners[~cut], half_corners])
        original = np.concatenate([original[~cut], original[cut], original[cut]])
    # In the order of the original faces, so that the pieces of a face lie together.
    order = np.argsort(original, kind="stable")
    faces, corners, original = faces[order], corners[order], original[order]
    normals = corners[..., 2:5]
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return replace(
        mesh,
        vertices=vertices,
        faces=faces,
        corner_uvs=np.ascontiguousarray(corners[..., :2]),
        corner_normals=np.divide(normals, length, out=np.zeros_like(normals), where=length > 1e-6),
        corner_colours=None if mesh.corner_colours is None else np.ascontiguousarray(corners[..., 5:]),
        face_picture=mesh.face_picture[original],
    )


def _check_count(num_faces: float, mesh: TexturedMesh, max_edge: float) -> None:
    if num_faces > _MAX_FACES:
        raise UserError(
            f"{mesh.name}: expected at most {_MAX_FACES:,} triangles with edges of {max_edge:g}, it takes "
            f"{num_faces:,.0f} or more; normalise the mesh or allow longer edges."
        )


def _halved(
    vertices: np.ndarray, faces: np.ndarray, corners: np.ndarray, longest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces cut from the middle of the edge that starts at corner `longest` to the opposite corner.

    Returns:
        The vertices with the new ones behind, the first halves and then the second ones, and their corners.
    """
    rows = np.arange(len(faces))
    start, end = longest, (longest + 1) % 3
    low = np.minimum(faces[rows, start], faces[rows, end])
    high = np.maximum(faces[rows, start], faces[rows, end])
    edges, number = np.unique(low * len(vertices) + high, return_inverse=True)
    middle = len(vertices) + number
    middle_corner = (corners[rows, start] + corners[rows, end]) / 2
    vertices = np.concatenate([vertices, (vertices[edges // len(vertices)] + vertices[edges % len(vertices)]) / 2])
    first, second = faces.copy(), faces.copy()
    first_corners, second_corners = corners.copy(), corners.copy()
    first[rows, end], second[rows, start] = middle, middle
    first_corners[rows, end], second_corners[rows, start] = middle_corner, middle_corner
    return vertices, np.concatenate([first, second]), np.concatenate([first_corners, second_corners])
