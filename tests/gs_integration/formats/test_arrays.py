import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gs_integration.formats.arrays import AXES, SplatArrays, axes_rotation, rotation_quaternion


def covariances(splats: SplatArrays) -> np.ndarray:
    rotations = Rotation.from_quat(splats.quaternions_wxyz.astype(np.float64), scalar_first=True).as_matrix()
    spread = rotations * np.exp(splats.log_scales.astype(np.float64))[:, None, :]
    return spread @ spread.transpose(0, 2, 1)


def test_axes_are_what_their_names_say() -> None:
    up = {"y-down": (0, -1, 0), "y-up": (0, 1, 0), "z-up": (0, 0, 1)}
    forward = {"y-down": (0, 0, 1), "y-up": (0, 0, -1), "z-up": (0, 1, 0)}
    for source, target in itertools.product(AXES, AXES):
        rotation = axes_rotation(source, target)
        np.testing.assert_array_equal(rotation @ (1, 0, 0), (1, 0, 0))
        np.testing.assert_array_equal(rotation @ up[source], up[target])
        np.testing.assert_array_equal(rotation @ forward[source], forward[target])
        assert np.linalg.det(rotation) == 1


def test_every_pair_of_axes_leads_back(make_arrays) -> None:
    for source, target in itertools.product(AXES, AXES):
        splats = make_arrays(axes=source)
        there = splats.in_axes(target)
        assert there.axes == target
        back = there.in_axes(source)
        np.testing.assert_array_equal(back.means, splats.means)
        np.testing.assert_allclose(covariances(back), covariances(splats), rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(back.harmonics, splats.harmonics, atol=2e-6)


def test_a_similarity_moves_means_and_shapes(make_arrays) -> None:
    splats = make_arrays()
    rotation = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 2.5 * rotation, (1, -2, 3)
    moved = splats.transformed(matrix)
    np.testing.assert_allclose(moved.means, splats.means @ (2.5 * rotation).T + (1, -2, 3), rtol=1e-6, atol=1e-5)
    expected = 2.5**2 * rotation @ covariances(splats) @ rotation.T
    np.testing.assert_allclose(covariances(moved), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "matrix",
    [np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 2, 1, 1]), np.diag([1.0, 1, 1, 2]), np.full((4, 4), np.nan), np.eye(3)],
)
def test_what_is_no_similarity_is_refused(make_arrays, matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a"):
        make_arrays().transformed(matrix)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_of_rotations_are_scipys(quaternion: list[float]) -> None:
    rotation = Rotation.from_quat(quaternion, scalar_first=True)
    found = rotation_quaternion(rotation.as_matrix())
    assert found[0] >= 0
    np.testing.assert_allclose(abs(found @ rotation.as_quat(scalar_first=True)), 1, atol=1e-12)


def test_shapes_are_checked(make_arrays) -> None:
    splats = make_arrays()
    with pytest.raises(ValueError, match=r"expected shape \(3, 4\), got \(12, 4\)"):
        replace(splats, means=splats.means[:3])
    with pytest.raises(ValueError, match="1, 4, 9 or 16"):
        replace(splats, harmonics=splats.harmonics[:, :5])
