"""Long edges cut, so that what is stored at corners (baked light) is fine enough."""

from dataclasses import replace

import numpy as np

from renderers.meshes import TexturedMesh


def subdivided(mesh: TexturedMesh, corner_normals: np.ndarray, *, max_edge: float = 0.1) -> TexturedMesh:
    """The same surface with every edge at most `max_edge` long, by halving longest edges.

    Neighbours are not kept conforming: a cut edge may meet an uncut one, which no renderer of the same
    surface can see but for rounding.

    Args:
        mesh: What to cut.
        corner_normals: [F, 3, 3] unit shading normals of its corners, cut along.
        max_edge: World units, positive.

    Returns:
        The mesh with vertices of its own for every corner, and `corner_normals` set.
    """
    # Position 3, normal 3, uv 2, colour 4, all linear along an edge.
    colours = np.ones((len(mesh.faces), 3, 4)) if mesh.corner_colours is None else mesh.corner_colours
    corners = np.concatenate([mesh.vertices[mesh.faces], corner_normals, mesh.corner_uvs, colours], axis=-1)
    pictures = mesh.face_picture
    finished, finished_pictures = [], []
    while len(corners):
        lengths = np.linalg.norm(corners[:, [1, 2, 0], :3] - corners[:, :, :3], axis=-1)
        long = lengths.max(axis=1) > max_edge
        finished.append(corners[~long])
        finished_pictures.append(pictures[~long])
        corners, pictures, lengths = corners[long], pictures[long], lengths[long]
        if not len(corners):
            break
        first = lengths.argmax(axis=1)
        rows = np.arange(len(corners))
        a, b, c = (corners[rows, (first + turn) % 3] for turn in range(3))
        middle = (a + b) / 2
        corners = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        pictures = np.concatenate([pictures, pictures])
    corners = np.concatenate(finished)
    normals = corners[..., 3:6]
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    return replace(
        mesh,
        vertices=corners[..., :3].reshape(-1, 3),
        faces=np.arange(3 * len(corners), dtype=np.int64).reshape(-1, 3),
        corner_uvs=corners[..., 6:8].astype(np.float32),
        corner_colours=None if mesh.corner_colours is None else corners[..., 8:].astype(np.float32),
        corner_normals=(normals / np.maximum(lengths, 1e-12)).astype(np.float32),
        face_picture=np.concatenate(finished_pictures),
    )
