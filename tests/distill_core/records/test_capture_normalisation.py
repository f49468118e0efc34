import numpy as np
import pytest

from distill_core.cameras import Camera, look_at, orbit_rig, transform_cameras
from distill_core.errors import UserError
from distill_core.records.capture_normalisation import bounding_sphere, normalising_transform, upright_direction

CENTRE, RADIUS = np.array([0.7, -0.4, 0.2]), 1.3


def ball_silhouette(camera: Camera) -> np.ndarray:
    """1 where the ray through a pixel's centre passes the ball at less than its radius."""
    rows, columns = np.mgrid[: camera.height, : camera.width]
    pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    rays = camera.unproject(pixels, np.ones(len(pixels))) - camera.position
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distance = np.linalg.norm(np.cross(camera.position - CENTRE, rays), axis=1)
    return (distance < RADIUS).reshape(camera.height, camera.width).astype(np.float64)


def ring(elevations=(15.0, 50.0), num_views: int = 16) -> list[Camera]:
    return orbit_rig(num_views, elevations_degrees=elevations, distance=7.0, field_of_view_degrees=50, width=160)


def similarity() -> np.ndarray:
    generator = np.random.default_rng(3)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = 2.5 * turn * np.sign(np.linalg.det(turn))
    matrix[:3, 3] = (3, -8, 5)
    return matrix


def test_a_ball_is_found_where_it_is() -> None:
    cameras = ring()
    centre, radius = bounding_sphere(cameras, [ball_silhouette(camera) for camera in cameras])
    # A pixel at the ball is 0.05 wide; edges are known to half of one in each view.
    pixel = 7.0 / cameras[0].fx
    assert np.linalg.norm(centre - CENTRE) < 0.5 * pixel
    assert abs(radius - RADIUS) < 0.75 * pixel


def test_specks_beside_the_object_do_not_count() -> None:
    cameras = ring()
    alphas = [ball_silhouette(camera) for camera in cameras]
    expected = bounding_sphere(cameras, alphas)[1]
    alphas[3][0, 0] = 1
    assert bounding_sphere(cameras, alphas)[1] == pytest.approx(expected)


def test_a_capture_in_any_world_becomes_the_same_record() -> None:
    """The law of normalisation: what the similarity of the world was is forgotten."""
    cameras = ring()
    alphas = [ball_silhouette(camera) for camera in cameras]
    plain = transform_cameras(cameras, normalising_transform(cameras, alphas))
    moved = transform_cameras(cameras, similarity())
    again = transform_cameras(moved, normalising_transform(moved, alphas))
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_allclose(one.camera_to_world, other.camera_to_world, atol=1e-6)
    first = plain[0].position
    assert abs(first[0]) < 1e-9  # in front: azimuth 0
    assert first[1] < 0
    # Up stays up: the rig's cameras stand at the heights they had over the ball, in units of its radius.
    heights = [(camera.position[2] - CENTRE[2]) / RADIUS for camera in cameras]
    np.testing.assert_allclose([camera.position[2] for camera in plain], heights, atol=0.05)


@pytest.mark.parametrize("elevation", [-20.0, 30.0, 60.0])
def test_level_cameras_say_what_is_up(elevation: float) -> None:
    # An eighth of a turn is enough, and a tilt does not matter.
    cameras = orbit_rig(24, elevations_degrees=(elevation,))[:4]
    np.testing.assert_allclose(upright_direction(cameras), (0, 0, 1), atol=1e-9)


def test_cameras_that_look_one_way_have_their_pictures_up() -> None:
    cameras = [Camera(8, 8, 8, 8, 4, 4, look_at((x, -3, 2), (x, 0, 0))) for x in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(upright_direction(cameras), -cameras[0].camera_to_world[:3, 1], atol=1e-9)


def test_what_leaves_the_place_open_is_refused() -> None:
    cameras = ring()
    alphas = [ball_silhouette(camera) for camera in cameras]
    with pytest.raises(UserError, match="at least two views that show the object, got 1"):
        bounding_sphere(cameras, [alphas[0], *[np.zeros_like(alpha) for alpha in alphas[1:]]])
    with pytest.raises(UserError, match="from different places"):
        bounding_sphere([cameras[0]] * 2, [np.pad(np.ones((1, 1)), ((64, 63), (80, 79)))] * 2)
