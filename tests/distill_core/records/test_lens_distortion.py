import cv2
import numpy as np
import pytest

from distill_core.cameras import Camera, look_at
from distill_core.errors import UserError
from distill_core.records.lens_distortion import Distortion, undistort_colours, undistort_values, undistorted_camera

POSE = look_at((0.3, -3, 0.5))
CAMERA = Camera(96, 128, 90.0, 84.0, 45.5, 66.25, POSE)
BARREL = Distortion("opencv", (-0.15, 0.03, 0.002, -0.001, 0.0, 0.0, 0.0, 0.0))
PINCUSHION = Distortion("opencv", (0.12, -0.02, -0.001, 0.002, 0.01, 0.0, 0.0, 0.0))
FISHEYE = Distortion("fisheye", (0.05, -0.01, 0.0, 0.0))


def project_distorted(points: np.ndarray, camera: Camera, distortion: Distortion) -> np.ndarray:
    """OpenCV's own forward model, pixels counted from the corner as ours."""
    turn, _ = cv2.Rodrigues(camera.world_to_camera[:3, :3])
    shift = camera.world_to_camera[:3, 3].copy()
    coefficients = np.array(distortion.coefficients)
    if distortion.model == "fisheye":
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], turn, shift, camera.intrinsics, coefficients)
    else:
        pixels, _ = cv2.projectPoints(points, turn, shift, camera.intrinsics, coefficients)
    return pixels.reshape(-1, 2)


def picture_of_dots(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """White dots, 1.5 pixels wide, on opaque black."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    distance = np.hypot(x[None] - pixels[:, 0, None, None], y[None] - pixels[:, 1, None, None])
    grey = np.exp(-0.5 * (distance / 1.5) ** 2).sum(axis=0)
    return np.stack([grey, grey, grey, np.ones_like(grey)]).clip(0, 1).astype(np.float32)


def brightest(grey: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The centre of the dot within five pixels."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    weight = grey * (np.hypot(x - near[0], y - near[1]) < 5)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("distortion", [BARREL, PINCUSHION, FISHEYE], ids=["barrel", "pincushion", "fisheye"])
def test_points_land_where_the_undistorted_camera_puts_them(distortion: Distortion) -> None:
    x, y = np.meshgrid(np.linspace(18, 78, 4), np.linspace(20, 110, 5))
    points = CAMERA.unproject(np.stack([x.ravel(), y.ravel()], axis=1), np.full(x.size, 3.0))
    dots = picture_of_dots(project_distorted(points, CAMERA, distortion), CAMERA)
    camera = undistorted_camera(CAMERA, distortion)
    grey = undistort_colours(dots, CAMERA, distortion)[0]
    expected, _ = camera.project(points)
    inside = (expected > 7).all(axis=1) & (expected < np.array([camera.width, camera.height]) - 7).all(axis=1)
    assert inside.sum() >= 10
    # A dot stays round to a few hundredths of a pixel; half a pixel of confusion would be 0.5.
    for pixel in expected[inside]:
        assert np.abs(brightest(grey, pixel) - pixel).max() < 0.1


@pytest.mark.parametrize("distortion", [BARREL, PINCUSHION])
def test_every_undistorted_pixel_was_seen(distortion: Distortion) -> None:
    camera = undistorted_camera(CAMERA, distortion)
    x, y = np.meshgrid(np.linspace(0.5, 95.5, 20), np.linspace(0.5, 127.5, 20))
    points = camera.unproject(np.stack([x.ravel(), y.ravel()], axis=1), np.full(400, 2.0))
    pixels = project_distorted(points, CAMERA, distortion)
    # OpenCV finds the rectangle on a grid of 9 x 9: a fifth of a pixel is what it may miss.
    assert (pixels > -0.2).all()
    assert (pixels < np.array([96, 128]) + 0.2).all()


def test_colour_does_not_bleed_out_of_transparent_pixels() -> None:
    rgba = np.zeros((4, 128, 96), np.float32)
    rgba[1] = 1  # transparent pixels are green
    rgba[:, 40:90, 20:70] = np.array([1, 0, 0, 1], np.float32)[:, None, None]
    undistorted = undistort_colours(rgba, CAMERA, BARREL)
    visible = undistorted[3] > 1 / 255
    assert visible.sum() > 2000
    np.testing.assert_allclose(
        undistorted[:, visible][:3], np.array([[1], [0], [0]]) @ np.ones((1, visible.sum())), atol=1e-5
    )


def test_depth_is_not_mixed() -> None:
    depth = np.zeros((64, 48), np.float32)
    depth[:, :24] = 2
    undistorted = undistort_values(depth, CAMERA, BARREL)
    assert undistorted.shape == depth.shape
    assert set(np.unique(undistorted)) == {0, 2}


def test_no_distortion_changes_nothing() -> None:
    none = Distortion("opencv", (0.0,) * 8)
    assert none.is_zero
    camera = undistorted_camera(CAMERA, none)
    np.testing.assert_allclose([camera.fx, camera.fy, camera.cx, camera.cy], [90, 84, 45.5, 66.25], rtol=1e-3)
    assert not Distortion("fisheye", (0.0,) * 4).is_zero


@pytest.mark.parametrize("coefficients", [(float("nan"), *(0.0,) * 7), (1e9, *(0.0,) * 7)])
def test_impossible_coefficients_are_refused(coefficients: tuple) -> None:
    with pytest.raises(UserError):
        Distortion("opencv", coefficients)


@pytest.mark.parametrize("k1", [-500.0, -2.0, 300.0])
def test_a_lens_that_folds_the_picture_ends_in_a_camera_or_a_sentence(k1: float) -> None:
    try:
        camera = undistorted_camera(CAMERA, Distortion("opencv", (k1, *(0.0,) * 7)))
    except UserError:
        return
    assert camera.fx > 0
