"""Other proportions for a model, held against geometry."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from renderers.mesh_rendering import RenderableMesh, prepare
from renderers.meshes import load_mesh, normalised
from renderers.training.shape_variation import ShapeVariation, varied

_SEEDS = range(6)


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> RenderableMesh:
    path: Path = tmp_path_factory.mktemp("ball") / "ball.ply"
    trimesh.creation.icosphere(subdivisions=5).export(path)
    return prepare(normalised(load_mesh(path)))


@pytest.mark.parametrize("seed", _SEEDS)
def test_normals_stay_those_of_the_surface(ball: RenderableMesh, seed: int) -> None:
    changed = varied(ball, ShapeVariation.drawn(np.random.default_rng(seed)))
    sides = changed.corners[:, 1:] - changed.corners[:, :1]
    across = np.cross(sides[:, 0], sides[:, 1])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    middle = changed.corner_normals.mean(1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    # Normals turn by 2 degrees across a face of this ball, and by several times that where it has become sharp; the
    # mean of the corners' normals differs from the face's own by a fraction of it.
    assert np.degrees(np.arccos(np.clip((across * middle).sum(1), -1, 1))).max() < 2.0


@pytest.mark.parametrize("seed", _SEEDS)
def test_the_result_lies_in_the_unit_ball_and_is_not_turned_inside_out(ball: RenderableMesh, seed: int) -> None:
    corners = varied(ball, ShapeVariation.drawn(np.random.default_rng(seed))).corners
    points = corners.reshape(-1, 3)
    assert np.abs(points.min(0) + points.max(0)).max() < 1e-9
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-9)
    assert np.linalg.det(corners).sum() > 0  # six times the volume


@pytest.mark.parametrize("seed", _SEEDS)
def test_what_is_symmetric_and_upright_stays_so(seed: int) -> None:
    variation = ShapeVariation.drawn(np.random.default_rng(seed))
    points = np.random.default_rng(100 + seed).uniform(-1, 1, (500, 3))
    for mirror in (np.diag([-1.0, 1, 1]), np.diag([1.0, -1, 1])):
        np.testing.assert_allclose(variation.moved(points @ mirror), variation.moved(points) @ mirror, atol=1e-12)
    above = variation.moved(points + np.array([0, 0, 0.1]))[:, 2] - variation.moved(points)[:, 2]
    np.testing.assert_allclose(above, above[0], atol=1e-12)


def test_draws_differ_and_depend_on_the_generator_alone(ball: RenderableMesh) -> None:
    first, again, other = (
        varied(ball, ShapeVariation.drawn(np.random.default_rng(seed)), with_normals=False) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.corners, again.corners)
    assert np.abs(first.corners - other.corners).max() > 0.05
    assert first.corner_normals is ball.corner_normals
