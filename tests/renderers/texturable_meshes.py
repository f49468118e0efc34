"""Meshes made by hand for the tests of texturing."""

import numpy as np

from renderers.meshes import TexturedMesh


def bare_mesh(vertices: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray | None = None) -> TexturedMesh:
    """A white mesh, with texture coordinates where they are given."""
    return TexturedMesh(
        vertices=np.asarray(vertices, np.float64),
        faces=np.asarray(faces, np.int64),
        corner_uvs=np.zeros((len(faces), 3, 2), np.float32) if corner_uvs is None else corner_uvs.astype(np.float32),
        base_colours=(np.full((1, 1, 4), 255, np.uint8),),
        face_picture=np.zeros(len(faces), np.int64),
        corner_colours=None,
        corner_normals=None,
        source_to_object=np.eye(4),
        name="made by hand",
    )


def charted_box() -> TexturedMesh:
    """A cube in the unit ball, each side a chart: thirds of the texture across, halves down, a margin around each."""
    half = 1 / 3**0.5
    faces, vertices, uvs = [], [], []
    margin = 0.02
    for side in range(6):
        axis, sign = side % 3, 1 if side < 3 else -1
        right, up = np.roll(np.eye(3)[axis], 1) * sign, np.roll(np.eye(3)[axis], 2)
        centre = sign * np.eye(3)[axis]
        start = len(vertices)
        low = np.array([side % 3 / 3 + margin, side // 3 / 2 + margin])
        extent = 1 / 3 - 2 * margin
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            vertices.append(half * (centre + x * right + y * up))
            uvs.append(low + extent * (np.array([x, y]) + 1) / 2)
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    return bare_mesh(np.array(vertices), np.array(faces), np.array(uvs)[np.array(faces)])


def volume(mesh: TexturedMesh) -> float:
    """Signed by the winding, from the divergence theorem about the mesh's own middle."""
    corners = (mesh.vertices - mesh.vertices.mean(axis=0))[mesh.faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
