"""Models made by tests: written as .ply, which has z up and stores no normals."""

from pathlib import Path

import numpy as np
import trimesh

BALL_RADIUS = 0.06
# Far from each other and from the box, so that each is seen apart from most sides.
BALL_CENTRES = np.array([[0.9, 0.1, 0.2], [-0.8, 0.3, -0.5], [0.1, -0.7, 0.8], [0.2, 0.8, -0.8]])


def box_and_balls() -> trimesh.Trimesh:
    """A turned box with sharp edges and four balls that are smooth by the 40-degree rule."""
    turn = trimesh.transformations.rotation_matrix(0.5, (1, 2, 3))
    parts = [trimesh.creation.box((0.5, 0.7, 0.9), transform=turn)]
    for centre in BALL_CENTRES:
        ball = trimesh.creation.icosphere(subdivisions=3, radius=BALL_RADIUS)
        ball.apply_translation(centre)
        parts.append(ball)
    joined = trimesh.util.concatenate(parts)
    assert isinstance(joined, trimesh.Trimesh)
    return joined


def write_ply(mesh: trimesh.Trimesh, path: Path) -> Path:
    content = mesh.export(file_type="ply", vertex_normal=False)
    assert isinstance(content, bytes)
    path.write_bytes(content)
    return path
