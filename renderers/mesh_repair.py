"""What can be mended about a mesh before it is textured, without guessing."""

import logging
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from distill_core.errors import UserError
from renderers.mesh_topology import SharedEdges, shared_edges
from renderers.meshes import TexturedMesh
from renderers.normals import merged_positions

_LOG = logging.getLogger(__name__)
_SMALLEST_AREA = 1e-14  # of a mesh with an extent of 1


def repaired(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh without empty and repeated faces, its parts wound alike and closed ones turned right side out.

    Open parts keep the winding that most of their area has: which side of a sheet is outside, nothing says.

    Args:
        mesh: any size.

    Raises:
        UserError: no face with an area is left.
    """
    kept = _distinct(mesh)
    if not kept.any():
        raise UserError(f"{mesh.name}: expected a mesh with an area, got faces without any; export it again.")
    sound = with_faces(mesh, np.flatnonzero(kept))
    turned = _turned_over(sound)
    notes = [
        f"{count:,} faces {what}"
        for count, what in ((int((~kept).sum()), "empty or repeated, left out"), (int(turned.sum()), "turned over"))
        if count
    ]
    if notes:
        _LOG.info("%s: repaired: %s.", mesh.name, "; ".join(notes))
    return _flipped(sound, turned) if turned.any() else sound


def with_faces(mesh: TexturedMesh, kept: Int64[np.ndarray, " kept"]) -> TexturedMesh:
    """The mesh with the faces of the numbers [K] alone; vertices stay."""
    return replace(
        mesh,
        faces=mesh.faces[kept],
        corner_uvs=mesh.corner_uvs[kept],
        face_picture=mesh.face_picture[kept],
        corner_colours=None if mesh.corner_colours is None else mesh.corner_colours[kept],
        corner_normals=None if mesh.corner_normals is None else mesh.corner_normals[kept],
    )


def _distinct(mesh: TexturedMesh) -> np.ndarray:
    """Faces [F] that have an area and stand where no earlier one does."""
    corners = mesh.vertices[mesh.faces]
    extent = max(float(np.ptp(corners.reshape(-1, 3), axis=0).max()), 1e-300)
    corners = (corners - corners[0, 0]) / extent
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    places = np.sort(merged_positions(mesh.vertices)[mesh.faces], axis=1)
    _, first = np.unique(places, axis=0, return_index=True)
    is_first = np.zeros(len(places), bool)
    is_first[first] = True
    return is_first & (areas > _SMALLEST_AREA)


def _turned_over(mesh: TexturedMesh) -> Bool[np.ndarray, " faces"]:
    """Faces [F] to turn over."""
    num_faces = len(mesh.faces)
    shared = shared_edges(mesh.vertices, mesh.faces)
    parts, against_root = _parities(shared, num_faces)
    corners = mesh.vertices[mesh.faces]
    # About the first corner of its part, since a part far from the origin would drown in rounding.
    first = np.zeros(int(parts.max()) + 1, np.int64)
    first[parts[::-1]] = np.arange(num_faces)[::-1]
    corners = corners - corners[first[parts], 0][:, None]
    sign = np.where(against_root, -1.0, 1.0)
    cross = np.cross(corners[:, 1], corners[:, 2])
    volumes = np.bincount(parts, sign * np.einsum("fd,fd->f", corners[:, 0], cross))
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    agreeing = np.bincount(parts, sign * areas)
    num_edges = np.bincount(parts[shared.faces[:, 0]], minlength=len(volumes))
    closed = 2 * num_edges == 3 * np.bincount(parts)
    turn_part = np.where(closed, volumes < 0, agreeing < 0)
    return against_root ^ turn_part[parts]


def _parities(shared: SharedEdges, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """The connected part of each face [F], and whether the face is wound against the part's first [F].

    Each face stands twice in a graph, as it is and turned over; neighbours that are wound alike join like with like,
    the others crosswise. A part then falls into two halves, each wound alike, or, where no winding fits all of its
    edges (a Moebius strip), hangs together as one, and is left as it is.
    """
    one, other = shared.faces.T
    crosswise = np.where(shared.turned, num_faces, 0)
    rows = np.concatenate([one, one + num_faces])
    columns = np.concatenate([other + crosswise, other + num_faces - crosswise])
    both = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(2 * num_faces, 2 * num_faces))
    halves = connected_components(both, directed=False)[1]
    single = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(num_faces, num_faces))
    parts = connected_components(single, directed=False)[1]
    first = np.zeros(int(parts.max()) + 1, np.int64)
    first[parts[::-1]] = np.arange(num_faces)[::-1]
    return parts, halves[:num_faces] != halves[first[parts]]


def _flipped(mesh: TexturedMesh, turned: np.ndarray) -> TexturedMesh:
    def back_to_front(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.where(turned.reshape((-1,) + (1,) * (values.ndim - 1)), values[:, ::-1], values))

    normals = mesh.corner_normals
    return replace(
        mesh,
        faces=back_to_front(mesh.faces),
        corner_uvs=back_to_front(mesh.corner_uvs),
        corner_colours=None if mesh.corner_colours is None else back_to_front(mesh.corner_colours),
        corner_normals=None if normals is None else back_to_front(normals),
    )
