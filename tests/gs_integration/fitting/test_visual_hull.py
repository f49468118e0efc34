import numpy as np
import pytest

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.errors import UserError
from gs_integration.fitting.visual_hull import (
    common_volume,
    project,
    solid_grid,
    surface_colours,
    surface_points,
    visual_hull,
)

RADIUS = 0.5
CENTRE = np.array([0.1, -0.2, 0.15])


def ball_pictures(cameras: list[Camera], centre: np.ndarray = CENTRE, radius: float = RADIUS) -> np.ndarray:
    """A ball, red where x is above its centre's and blue below, by intersecting each pixel's ray with it."""
    pictures = np.zeros((len(cameras), 4, cameras[0].height, cameras[0].width), np.float32)
    for picture, camera in zip(pictures, cameras, strict=True):
        rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
        in_camera = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)])
        rays = np.einsum("ij,jhw->ihw", camera.camera_to_world[:3, :3], in_camera)
        rays /= np.linalg.norm(rays, axis=0)
        offset = camera.position - centre
        along = np.einsum("ihw,i->hw", rays, offset)
        inside = along**2 - offset @ offset + radius**2
        hit = inside > 0
        x = (camera.position[:, None, None] + rays * (-along - np.sqrt(np.maximum(inside, 0))))[0]
        picture[0], picture[2], picture[3] = hit & (x > centre[0]), hit & (x <= centre[0]), hit
    return pictures


def test_the_hull_of_a_ball_seen_from_everywhere_is_the_ball():
    cameras = fibonacci_rig(40, width=96, height=96)
    hull = visual_hull(cameras, ball_pictures(cameras)[:, 3], resolution=48)
    directions = np.random.default_rng(0).standard_normal((500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Voxels are kept when half inside, and 40 tangent cones stand a little off the ball between their contacts.
    assert hull.contains(CENTRE + directions * (RADIUS - hull.voxel_size)).all()
    assert not hull.contains(CENTRE + directions * (RADIUS + 3 * hull.voxel_size)).any()
    volume = hull.occupied.sum() * hull.voxel_size**3
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.2)


def test_one_wrong_silhouette_is_forgiven_if_asked_for():
    cameras = orbit_rig(8, elevations_degrees=(10.0, 50.0), width=64, height=64)
    alphas = ball_pictures(cameras)[:, 3]
    alphas[3] = 0
    with pytest.raises(UserError, match="silhouettes"):
        visual_hull(cameras, alphas, resolution=32)
    hull = visual_hull(cameras, alphas, resolution=32, allowed_misses=1)
    assert hull.contains(CENTRE[None]).all()


def test_a_view_that_cuts_the_object_off_carves_nothing_outside_its_picture():
    cameras = orbit_rig(12, elevations_degrees=(20.0,), width=64, height=64)
    cut = cameras[0].cropped(0, 0, 32, 64)
    alphas = list(ball_pictures(cameras)[:, 3])
    alphas[0] = alphas[0][:, :32]
    hull = visual_hull([cut, *cameras[1:]], alphas, resolution=32)
    directions = np.random.default_rng(0).standard_normal((500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert hull.contains(CENTRE + directions * (RADIUS - 1.5 * hull.voxel_size)).all()


def test_projection_is_the_cameras():
    camera = orbit_camera(33, 21, width=70, height=50).cropped(5, -3, 60, 50)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    x, y, depth = project(camera, points)
    pixels, their_depth = camera.project(points)
    np.testing.assert_allclose(np.stack([x, y], 1), pixels, atol=1e-9)
    np.testing.assert_allclose(depth, their_depth, atol=1e-12)


def test_points_lie_on_the_surface_and_normals_point_outwards():
    grid = solid_grid(lambda points: ((points - CENTRE) ** 2).sum(1) < RADIUS**2, radius=0.9, resolution=64)
    points = surface_points(grid, 3000, np.random.default_rng(0))
    from_centre = points.positions - CENTRE
    distances = np.linalg.norm(from_centre, axis=1)
    # The blurred grid's level set is smooth to a fraction of a voxel.
    assert np.abs(distances - RADIUS).mean() < 0.3 * grid.voxel_size
    assert np.abs(distances - RADIUS).max() < 1.0 * grid.voxel_size
    cosines = (from_centre / distances[:, None] * points.normals).sum(axis=1)
    assert cosines.min() > np.cos(np.radians(25))
    # Evenly: each octant has its eighth, to four standard deviations of a multinomial.
    octants = np.bincount((from_centre > 0) @ [1, 2, 4], minlength=8)
    assert np.abs(octants - 375).max() < 4 * np.sqrt(3000 / 8)


def test_colours_come_from_the_views_that_see_a_point_not_from_those_behind():
    cameras = orbit_rig(8, elevations_degrees=(0.0,), width=96, height=96)
    pictures = ball_pictures(cameras)
    hull = visual_hull(cameras, pictures[:, 3], resolution=64)
    points = surface_points(hull, 2000, np.random.default_rng(0))
    colours = surface_colours(hull, points, cameras, pictures)
    side = points.positions[:, 0] - CENTRE[0]
    # A ring at the horizon sees nothing of the poles, and the hull has its tips there.
    clear = (np.abs(side) > 0.08) & (np.abs(points.positions[:, 2] - CENTRE[2]) < 0.3)
    assert np.abs(colours[clear] - np.where(side[clear, None] > 0, [1.0, 0, 0], [0, 0, 1.0])).max() < 0.1
    assert np.isfinite(colours).all()


def test_an_empty_solid_is_refused_and_a_faint_one_is_not():
    with pytest.raises(UserError, match="empty"):
        solid_grid(lambda points: np.zeros(len(points)), resolution=8)
    faint = solid_grid(lambda points: 0.2 * (np.abs(points).max(axis=1) < 0.5), resolution=16)
    assert faint.occupied.sum() == 8**3


def test_the_common_volume_of_an_orbit_is_the_unit_ball():
    centre, radius = common_volume(orbit_rig(9, elevations_degrees=(5.0, 40.0)))
    np.testing.assert_allclose(centre, 0, atol=1e-3)
    assert radius == pytest.approx(1, abs=1e-3)


def test_parallel_cameras_share_a_volume_too():
    cameras = [orbit_camera(0, 0).moved(_shifted(orbit_camera(0, 0), offset)) for offset in (-0.3, 0.0, 0.3)]
    centre, radius = common_volume(cameras)
    assert np.isfinite(centre).all()
    assert radius > 0


def _shifted(camera: Camera, offset: float) -> np.ndarray:
    pose = camera.camera_to_world.copy()
    pose[0, 3] += offset
    return pose
