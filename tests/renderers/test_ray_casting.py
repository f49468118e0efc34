from pathlib import Path

import numpy as np
import pytest
import trimesh

from renderers.meshes import TexturedMesh, load_mesh, normalised
from renderers.ray_casting import RayCaster
from tests.renderers.loading.model_files import exported


@pytest.fixture
def sphere() -> TexturedMesh:
    shape = trimesh.creation.icosphere(subdivisions=4)
    return load_mesh(exported(trimesh.Trimesh(shape.vertices, shape.faces), "ply"), file_type="ply")


def directions(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def moller_trumbore(mesh: TexturedMesh, origin: np.ndarray, direction: np.ndarray) -> tuple[float, int]:
    """Nearest hit of one ray among all faces: Moeller and Trumbore 1997, in doubles."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    p = np.cross(direction, c - a)
    determinant = np.einsum("fd,fd->f", b - a, p)
    determinant = np.where(np.abs(determinant) < 1e-14, np.nan, determinant)
    s = origin - a
    u = np.einsum("fd,fd->f", s, p) / determinant
    q = np.cross(s, b - a)
    v = q @ direction / determinant
    t = np.einsum("fd,fd->f", c - a, q) / determinant
    t = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0), t, np.inf)
    return float(t.min()), int(t.argmin())


def test_hits_are_those_of_brute_force(shared_assets: Path) -> None:
    mesh = normalised(load_mesh(shared_assets / "mixed_formats" / "ycb_072_a_toy_airplane.glb"))
    origins = 3 * directions(60)
    towards = 0.4 * directions(60, seed=1) - origins
    hits = RayCaster(mesh, num_threads=1).closest_hits(origins, towards)
    met = 0
    for index in range(60):
        distance, face = moller_trumbore(mesh, origins[index], towards[index])
        if np.isinf(distance):
            assert hits.faces[index] == -1
            assert np.isinf(hits.distances[index])
            continue
        met += 1
        assert hits.distances[index] == pytest.approx(distance, abs=1e-5)
        assert hits.faces[index] == face
        point = hits.barycentric[index] @ mesh.vertices[mesh.faces[face]]
        np.testing.assert_allclose(point, origins[index] + distance * towards[index], atol=1e-4)
    assert met > 10


def test_an_eye_sees_the_near_cap_of_a_sphere(sphere: TexturedMesh) -> None:
    eye = np.array([0.0, 0.0, 3.0])
    points = directions(2000)
    seen = RayCaster(sphere).visible(points * 0.999, eye, tolerance=1e-2)
    # Tangents from distance 3 touch the unit sphere at height 1/3; the faceted one a little beside that.
    clear = np.abs(points[:, 2] - 1 / 3) > 0.06
    np.testing.assert_array_equal(seen[clear], points[clear, 2] > 1 / 3)


def test_a_sphere_shades_its_own_far_side_only(sphere: TexturedMesh) -> None:
    points, lights = directions(500), directions(40, seed=2)
    blocked = RayCaster(sphere, num_threads=1).occluded(points * 1.002, lights)
    cosines = points @ lights.T
    clear = np.abs(cosines) > 0.1
    np.testing.assert_array_equal(blocked[clear], (cosines < 0)[clear])


def test_rays_in_batches_give_the_same(sphere: TexturedMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    caster = RayCaster(sphere)
    points, lights = 1.1 * directions(101), directions(7, seed=3)
    whole = caster.occluded(points, lights)
    monkeypatch.setattr("renderers.ray_casting._RAYS_AT_ONCE", 50)
    np.testing.assert_array_equal(caster.occluded(points, lights), whole)
    np.testing.assert_array_equal(RayCaster(sphere, num_threads=1).occluded(points, lights), whole)
