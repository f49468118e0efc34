"""Random cameras for property tests: any rotation, non-square pictures, non-square pixels, off-centre."""

import numpy as np
from hypothesis import strategies as st

from distill_core.cameras import Camera

finite = st.floats(-10, 10, allow_nan=False)


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    # The QR of a random matrix: no formula of the code under test.
    entries = draw(st.lists(st.floats(-1, 1, allow_nan=False), min_size=9, max_size=9))
    q, _ = np.linalg.qr(np.reshape(entries, (3, 3)) + 3 * np.eye(3)[draw(st.permutations(range(3)))])
    return q * np.sign(np.linalg.det(q))


@st.composite
def poses(draw: st.DrawFn) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = draw(rotations())
    pose[:3, 3] = draw(st.tuples(finite, finite, finite))
    return pose


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    width, height = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    return Camera(
        width=width,
        height=height,
        fx=draw(st.floats(10, 5000)),
        fy=draw(st.floats(10, 5000)),
        cx=width * draw(st.floats(-0.5, 1.5)),
        cy=height * draw(st.floats(-0.5, 1.5)),
        camera_to_world=draw(poses()),
    )


def points_in_front(camera: Camera, num_points: int = 20) -> np.ndarray:
    """Points [N, 3] of the world that the camera sees, at depths 1 to 6."""
    random = np.random.default_rng(0)
    pixels = random.uniform(0, 1, (num_points, 2)) * (camera.width, camera.height)
    rays = np.concatenate(
        [(pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy), np.ones((num_points, 1))], axis=1
    )
    in_camera = rays * random.uniform(1, 6, (num_points, 1))
    return in_camera @ camera.camera_to_world[:3, :3].T + camera.camera_to_world[:3, 3]


def assert_same_camera(got: Camera, expected: Camera, tolerance: float = 1e-6) -> None:
    """Equal sizes, and values equal to the tolerance: in parts of the focal length, and of the world's unit."""
    assert (got.width, got.height) == (expected.width, expected.height)
    values = [[camera.fx, camera.fy, camera.cx, camera.cy] for camera in (got, expected)]
    np.testing.assert_allclose(values[0], values[1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got.camera_to_world, expected.camera_to_world, rtol=0, atol=tolerance)
