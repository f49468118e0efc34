"""Rays and projections of camera tensors."""

import numpy as np
import torch

from distill_core.cameras import Camera, look_at
from distill_core.rays import pixel_rays, pluecker_rays, project_points, stack_cameras


def _cameras() -> list[Camera]:
    """Two cameras: non-square, off-centre, with different focal lengths."""
    poses = [look_at((0.3, -3.0, 1.0)), look_at((2.0, 1.5, -0.5))]
    return [Camera(40, 24, 50.0, 45.0, 17.0, 13.5, pose) for pose in poses]


def test_rays_pass_through_their_pixels():
    cameras = stack_cameras(_cameras())
    origins, directions = pixel_rays(cameras)
    points = (origins + 2.5 * directions).flatten(2).transpose(1, 2)
    pixels, depth = project_points(points, cameras)
    rows, columns = np.mgrid[0:24, 0:40]
    centres = torch.tensor(np.stack([columns + 0.5, rows + 0.5], -1).reshape(1, -1, 2), dtype=torch.float32)
    # float32 positions of magnitude 3 at a focal length of 50: a few 1e-5 px.
    torch.testing.assert_close(pixels, centres.expand(2, -1, -1), atol=2e-4, rtol=0)
    assert (depth > 0).all()


def test_projection_equals_the_camera_itself():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(50, 3)) * 0.5
    for camera in _cameras():
        pixels, depth = project_points(torch.tensor(points[None], dtype=torch.float32), stack_cameras([camera]))
        expected_pixels, expected_depth = camera.project(points)
        np.testing.assert_allclose(pixels[0].numpy(), expected_pixels, atol=2e-4)
        np.testing.assert_allclose(depth[0].numpy(), expected_depth, atol=1e-5)


def test_pluecker_coordinates_do_not_move_along_the_ray():
    cameras = stack_cameras(_cameras())
    rays = pluecker_rays(cameras)
    origins, directions = pixel_rays(cameras)
    torch.testing.assert_close(rays[:, :3].norm(dim=1), torch.ones(2, 24, 40))
    torch.testing.assert_close((rays[:, :3] * rays[:, 3:]).sum(1), torch.zeros(2, 24, 40), atol=1e-6, rtol=0)
    slid = torch.cross(origins + 1.7 * directions, directions, dim=1)
    torch.testing.assert_close(rays[:, 3:], slid, atol=2e-6, rtol=0)


def test_resizing_scales_the_pixels():
    cameras = stack_cameras(_cameras())
    points = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    pixels, _ = project_points(points, cameras)
    halved, _ = project_points(points, cameras.resized(20, 12))
    torch.testing.assert_close(halved, pixels / 2)
