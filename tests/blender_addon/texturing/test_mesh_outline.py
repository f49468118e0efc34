"""The outermost points of a mesh bound it as all of its points do."""

import importlib
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def outline(client_module: ModuleType) -> ModuleType:
    return importlib.import_module("onestep3d_addon.texturing.mesh_outline")


def turned(seed: int) -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rotation


def box_and_radius(points: np.ndarray) -> tuple[np.ndarray, float]:
    lowest, highest = points.min(axis=0), points.max(axis=0)
    return highest - lowest, float(np.linalg.norm(points - (lowest + highest) / 2, axis=1).max())


SHAPES = {
    "ball": lambda p: p / np.linalg.norm(p, axis=1, keepdims=True),
    "cloud": lambda p: p,
    "needle": lambda p: p * np.array([0.01, 0.01, 1]),
    "off the middle": lambda p: p + np.array([30, -20, 10]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_bounds_are_those_of_all_points_within_a_hundredth_however_it_is_turned(
    shape: str, outline: ModuleType
) -> None:
    points = SHAPES[shape](np.random.default_rng(0).normal(size=(40_000, 3))).astype(np.float32)
    stretched = turned(1) @ np.diag([8.0, 1.0, 0.2]) @ turned(2)
    kept = outline.outermost(points, np.arange(len(points)), stretched)
    assert len(kept) <= 406
    for seed in range(3, 9):
        to_world = turned(seed) @ stretched  # turned after the points were taken
        box, radius = box_and_radius(points @ to_world.T)
        kept_box, kept_radius = box_and_radius(kept @ to_world.T)
        np.testing.assert_allclose(kept_box, box, atol=0.01 * 2 * radius)
        assert kept_radius == pytest.approx(radius, rel=0.015)  # the centre of the box moves, too
    # As it stood when they were taken, the box is exact.
    np.testing.assert_allclose(
        box_and_radius(kept @ stretched.T)[0], box_and_radius(points @ stretched.T)[0], rtol=1e-4
    )


def test_points_that_no_face_uses_are_left_out(outline: ModuleType) -> None:
    points = np.random.default_rng(0).normal(size=(9_000, 3)).astype(np.float32)
    points[7] = 100
    used = np.delete(np.arange(9_000), 7)
    for count in (len(used), 50):  # many, and so few that all are kept
        kept = outline.outermost(points, used[:count], np.eye(3))
        assert np.abs(kept).max() < 10
    assert len(outline.outermost(points, used[:50], np.eye(3))) == 50


def test_no_faces_and_places_that_are_not_finite_give_no_points(outline: ModuleType) -> None:
    points = np.zeros((9_000, 3), np.float32)
    assert outline.outermost(points, np.zeros(0, np.int32), np.eye(3)).shape == (0, 3)
    points[5] = np.nan
    assert outline.outermost(points, np.arange(9_000), np.eye(3)).shape == (0, 3)
