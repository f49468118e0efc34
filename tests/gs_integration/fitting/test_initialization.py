import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera, orbit_rig
from distill_core.errors import UserError
from gs_integration.fitting.densification import _rotations
from gs_integration.fitting.initialization import (
    _z_axis_turned_to,
    neighbour_distances,
    splats_from_depth,
    splats_from_hull,
    splats_from_points,
    splats_random,
    unproject,
)
from gs_integration.fitting.visual_hull import solid_grid


def test_splats_on_a_solid_lie_flat_on_it():
    grid = solid_grid(lambda points: (points**2).sum(1) < 0.36, resolution=48)
    cameras = orbit_rig(6, width=32, height=32)
    pictures = np.ones((6, 4, 32, 32), np.float32)
    splats = splats_from_hull(grid, cameras, pictures, num_splats=1500)
    outwards = torch.nn.functional.normalize(splats.means, dim=1)
    thin_axis = _rotations(splats.quaternions_wxyz)[torch.arange(1500), :, splats.log_scales.argmin(dim=1)]
    assert (outwards * thin_axis).sum(1).abs().min() > np.cos(np.radians(25))
    assert splats.means.norm(dim=1).sub(0.6).abs().max() < 2 / 48
    # What nobody sees (the underside) is drawn a thousandth towards grey.
    torch.testing.assert_close(splats.base_colours, torch.ones(1500, 3), atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_bits():
    grid = solid_grid(lambda points: (points**2).sum(1) < 0.36, resolution=24)
    cameras, pictures = orbit_rig(3, width=16, height=16), np.ones((3, 4, 16, 16), np.float32)
    one, two, other = (splats_from_hull(grid, cameras, pictures, num_splats=99, seed=seed) for seed in (5, 5, 6))
    for name in one.tensors():
        torch.testing.assert_close(one.tensors()[name], two.tensors()[name], atol=0, rtol=0)
    assert not torch.equal(one.means, other.means)


def test_quaternions_turn_the_z_axis_to_any_direction():
    normals = np.random.default_rng(0).standard_normal((100, 3))
    normals = np.concatenate([normals, np.eye(3), -np.eye(3)])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turned = _rotations(torch.from_numpy(_z_axis_turned_to(normals)))[:, :, 2]
    np.testing.assert_allclose(turned.numpy(), normals, atol=1e-6)


def test_lifted_pixels_return_to_their_pixels():
    camera = orbit_camera(40, 25, width=20, height=14)
    depth = np.random.default_rng(0).uniform(2, 4, (14, 20))
    picture = np.random.default_rng(1).random((4, 14, 20)).astype(np.float32)
    picture[3] = 1
    splats = splats_from_depth([camera], [picture], [depth], num_splats=280)
    pixels, depths = camera.project(splats.means.numpy())
    columns, rows = np.floor(pixels).astype(int).T
    # float32 positions a few units away: 1e-4 of a pixel.
    np.testing.assert_allclose(pixels - np.floor(pixels), 0.5, atol=1e-3)
    np.testing.assert_allclose(depths, depth[rows, columns], atol=1e-5)
    np.testing.assert_allclose(splats.base_colours.numpy(), picture[:3, rows, columns].T, atol=1e-5)


def test_unprojecting_inverts_projecting():
    camera = orbit_camera(200, -30, width=33, height=47).cropped(3, 4, 30, 40)
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (20, 3))
    pixels, depth = camera.project(points)
    np.testing.assert_allclose(unproject(camera, pixels[:, 0], pixels[:, 1], depth), points, atol=1e-12)


def test_random_splats_are_seen_by_three_cameras_and_have_a_pixels_colour():
    cameras = orbit_rig(7, elevations_degrees=(15.0,), width=24, height=24)
    pictures = np.full((7, 4, 24, 24), 0.25, np.float32)
    splats = splats_random(cameras, pictures, num_splats=500)
    seen = np.zeros(500, int)
    for camera in cameras:
        pixels, depth = camera.project(splats.means.numpy())
        seen += (depth > 0) & (pixels > -0.01).all(axis=1) & (pixels < 24.01).all(axis=1)
    assert len(splats) == 500
    assert seen.min() >= 3
    torch.testing.assert_close(splats.base_colours, torch.full((500, 3), 0.25), atol=1e-5, rtol=0)


def test_cameras_that_share_nothing_still_get_splats():
    away = orbit_camera(0, 0, width=16, height=16)
    turned = away.camera_to_world.copy()
    turned[:3, :3] = turned[:3, :3] @ np.diag([-1.0, 1, -1])
    pictures = np.ones((2, 4, 16, 16), np.float32)
    assert len(splats_random([away, away.moved(turned)], pictures, num_splats=50)) == 50


def test_points_become_splats_as_wide_as_their_spacing():
    lattice = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3)
    splats = splats_from_points(lattice, np.full((216, 3), 0.5))
    np.testing.assert_allclose(neighbour_distances(lattice), 1)
    torch.testing.assert_close(splats.scales, torch.ones(216, 3), atol=1e-6, rtol=0)
    assert len(splats_from_points(lattice, np.full((216, 3), 0.5), num_splats=1000)) == 1000
    assert len(splats_from_points(lattice, np.full((216, 3), 0.5), num_splats=20)) == 20


def test_points_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="finite"):
        splats_from_points(np.full((3, 3), np.nan), np.zeros((3, 3)))
