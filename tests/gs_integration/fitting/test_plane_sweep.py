import numpy as np

from distill_core.cameras import Camera, look_at
from gs_integration.fitting.plane_sweep import agreeing_points


def wall_pictures(cameras: list[Camera]) -> np.ndarray:
    """A coloured pattern on the plane y = 0, seen from in front of it."""
    pictures = np.ones((len(cameras), 4, cameras[0].height, cameras[0].width), np.float32)
    for picture, camera in zip(pictures, cameras, strict=True):
        rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
        in_camera = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)])
        rays = np.einsum("ij,jhw->ihw", camera.camera_to_world[:3, :3], in_camera)
        x, _, z = camera.position[:, None, None] - rays * (camera.position[1] / rays[1])
        picture[:3] = 0.5 + 0.5 * np.stack([np.sin(9 * x + 4 * z), np.sin(7 * z - 3 * x), np.sin(5 * x * z + 8 * x)])
    return pictures


def test_points_lie_on_the_wall_that_all_pictures_show():
    positions = [(x, -3.0, z) for x in (-0.8, -0.4, 0.0, 0.4, 0.8) for z in (-0.3, 0.3)]
    cameras = [Camera(96, 96, 110.0, 110.0, 48.0, 48.0, look_at(position)) for position in positions]
    pictures = wall_pictures(cameras)
    points, colours = agreeing_points(cameras, pictures, num_points=600)
    # The steps of 1 / depth are 5 % here, and a fifth of the pixels may be taken in by the pattern's repeats.
    assert np.median(np.abs(points[:, 1])) < 0.1
    assert (np.abs(points[:, 1]) < 0.3).mean() > 0.75
    x, _, z = points.T
    right = np.abs(points[:, 1]) < 0.1
    expected = 0.5 + 0.5 * np.stack([np.sin(9 * x + 4 * z), np.sin(7 * z - 3 * x), np.sin(5 * x * z + 8 * x)], 1)
    assert np.abs(colours - expected)[right].mean() < 0.1


def test_one_camera_alone_still_gets_finite_points():
    camera = Camera(32, 24, 40.0, 40.0, 16.0, 12.0, look_at((0, -3.0, 0)))
    points, colours = agreeing_points([camera], np.ones((1, 4, 24, 32), np.float32), num_points=50)
    assert np.isfinite(points).all()
    np.testing.assert_allclose(colours, 1, atol=1e-6)
