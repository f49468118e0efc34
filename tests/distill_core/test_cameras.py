import math

import cv2
import numpy as np
import open3d as o3d
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from trimesh.scene.cameras import Camera as TrimeshCamera

from distill_core.cameras import (
    Camera,
    check_rigid,
    look_at,
    orbit_angles,
    orbit_camera,
    orbit_rig,
    relative_pose,
    transform_cameras,
)
from distill_core.errors import UserError
from tests.distill_core.camera_strategies import cameras, points_in_front, poses, rotations

OFF_CENTRE = Camera(320, 200, 210.0, 260.0, 130.5, 117.25, look_at((1.0, -2.0, 0.7), (0.2, 0.1, -0.3)))


def test_orbit_camera_stands_where_the_convention_says() -> None:
    distance = 1 / math.sin(math.radians(20))
    np.testing.assert_allclose(orbit_camera(0, 0).position, (0, -distance, 0), atol=1e-12)
    np.testing.assert_allclose(orbit_camera(90, 0).position, (distance, 0, 0), atol=1e-12)
    np.testing.assert_allclose(orbit_camera(0, 90).position, (0, 0, distance), atol=1e-12)
    pixels, depth = orbit_camera(30, 20).project([(0, 0, 0)])
    np.testing.assert_allclose(pixels, [(64, 64)], atol=1e-12)
    np.testing.assert_allclose(depth, distance)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (200, 100), (90, 240)])
def test_the_unit_ball_touches_the_edges_of_the_smaller_side(width: int, height: int) -> None:
    camera = orbit_camera(25, 40, field_of_view_degrees=33, width=width, height=height)
    ball = trimesh.creation.icosphere(subdivisions=5).vertices
    pixels, _ = camera.project(ball)
    reach = np.abs(pixels - (width / 2, height / 2)).max()
    # The ball's faces are 0.03 across, so its outline is short by at most 1 - cos(0.03) of its radius.
    assert min(width, height) / 2 * 0.999 < reach <= min(width, height) / 2 + 1e-9


def test_pictures_are_upright_and_not_mirrored() -> None:
    camera = orbit_camera(0, 0)
    (top, right, middle), _ = camera.project([(0, 0, 0.5), (0.5, 0, 0), (0, 0, 0)])
    assert top[1] < middle[1]
    assert right[0] > middle[0]


def test_projection_agrees_with_open3d_rays() -> None:
    rays = o3d.t.geometry.RaycastingScene.create_rays_pinhole(
        o3d.core.Tensor.from_numpy(OFF_CENTRE.intrinsics),
        o3d.core.Tensor.from_numpy(OFF_CENTRE.world_to_camera.copy()),
        OFF_CENTRE.width,
        OFF_CENTRE.height,
    ).numpy()
    y, x = np.mgrid[: OFF_CENTRE.height, : OFF_CENTRE.width]
    pixels, _ = OFF_CENTRE.project((rays[..., :3] + 2.5 * rays[..., 3:]).reshape(-1, 3))
    # Open3D computes rays in float32: 320 pixels at 1e-7.
    np.testing.assert_allclose(pixels, np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5, atol=1e-3)


def test_projection_agrees_with_trimesh_rays() -> None:
    camera = orbit_camera(40, 25, width=64, height=48)
    scene = trimesh.Scene(trimesh.creation.box())
    scene.camera = TrimeshCamera(resolution=(64, 48), focal=(camera.fx, camera.fy))
    opengl_pose = camera.camera_to_world @ np.diag([1.0, -1.0, -1.0, 1.0])
    scene.camera_transform = opengl_pose
    origins, directions, indices = scene.camera_rays()
    pixels, _ = camera.project(origins + 3 * directions)
    expected = np.stack([indices[:, 0], indices[:, 1]], axis=1)
    # trimesh counts rows from the bottom.
    expected = np.stack([expected[:, 0] + 0.5, 48 - (expected[:, 1] + 0.5)], axis=1)
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


@settings(max_examples=30)
@given(cameras())
def test_projection_agrees_with_opencv(camera: Camera) -> None:
    points = points_in_front(camera)
    turn, _ = cv2.Rodrigues(camera.world_to_camera[:3, :3])
    expected, _ = cv2.projectPoints(points, turn, camera.world_to_camera[:3, 3].copy(), camera.intrinsics, None)
    pixels, _ = camera.project(points)
    np.testing.assert_allclose(pixels, expected[:, 0], rtol=1e-6, atol=1e-4 * max(1, camera.fx, camera.fy) / 100)


@settings(max_examples=30)
@given(cameras())
def test_unproject_inverts_project(camera: Camera) -> None:
    points = points_in_front(camera)
    pixels, depth = camera.project(points)
    assert (depth > 0).all()
    np.testing.assert_allclose(camera.unproject(pixels, depth), points, atol=1e-9)


def test_points_behind_the_camera_have_no_pixel() -> None:
    pixels, depth = orbit_camera(0, 0).project([(0, -10, 0), (0, 10, 0)])
    assert np.isnan(pixels[0]).all()
    assert np.isfinite(pixels[1]).all()
    assert depth[0] < 0 < depth[1]


def test_resized_and_cropped_move_the_pixels_along() -> None:
    points = points_in_front(OFF_CENTRE)
    pixels, _ = OFF_CENTRE.project(points)
    resized, _ = OFF_CENTRE.resized(160, 50).project(points)
    np.testing.assert_allclose(resized, pixels * (0.5, 0.25))
    cropped, _ = OFF_CENTRE.cropped(10, 20, 50, 40).project(points)
    np.testing.assert_allclose(cropped, pixels - (10, 20))


def test_field_of_view_is_between_the_rays_of_the_edges() -> None:
    edges = OFF_CENTRE.unproject([(0, 117.25), (320, 117.25)], [1, 1]) - OFF_CENTRE.position
    angle = math.degrees(math.acos(edges[0] @ edges[1] / np.linalg.norm(edges[0]) / np.linalg.norm(edges[1])))
    assert math.isclose(OFF_CENTRE.field_of_view_degrees[0], angle, rel_tol=1e-9)
    assert np.allclose(orbit_camera(0, 0, width=50, height=50).field_of_view_degrees, (40, 40))


@settings(max_examples=40)
@given(st.floats(-180, 180), st.floats(-89.9, 89.9), st.floats(0.1, 10))
def test_look_at_and_orbit_agree(azimuth: float, elevation: float, distance: float) -> None:
    camera = orbit_camera(azimuth, elevation, distance=distance)
    np.testing.assert_allclose(look_at(camera.position), camera.camera_to_world, atol=1e-9)
    got = orbit_angles(camera.position)
    assert abs((got[0] - azimuth + 180) % 360 - 180) < 1e-6
    np.testing.assert_allclose(got[1:], (elevation, distance), atol=1e-9)


def test_looking_along_up_is_defined() -> None:
    for elevation in (-90, 90):
        camera = orbit_camera(0, elevation)
        # Straight from above, the picture's top is where an object's back is.
        assert np.allclose(camera.forward, (0, 0, -np.sign(elevation)), atol=1e-12)
        check_rigid(look_at(camera.position))
    np.testing.assert_allclose(look_at((0, 0, 3)), orbit_camera(0, 90, distance=3).camera_to_world, atol=1e-12)


@given(rotations(), st.floats(0.1, 10), poses())
@settings(max_examples=30)
def test_a_similarity_moves_cameras_with_the_world(rotation: np.ndarray, scale: float, offset: np.ndarray) -> None:
    similarity = np.eye(4)
    similarity[:3, :3], similarity[:3, 3] = scale * rotation, offset[:3, 3]
    points = points_in_front(OFF_CENTRE)
    moved = points @ similarity[:3, :3].T + similarity[:3, 3]
    (camera,) = transform_cameras([OFF_CENTRE], similarity)
    np.testing.assert_allclose(camera.project(moved)[0], OFF_CENTRE.project(points)[0], atol=1e-6)


@given(cameras(), cameras())
@settings(max_examples=30)
def test_relative_pose_takes_source_coordinates_to_target_coordinates(source: Camera, target: Camera) -> None:
    points = np.c_[points_in_front(source), np.ones(20)]
    through_source = relative_pose(source, target) @ source.world_to_camera @ points.T
    np.testing.assert_allclose(through_source, target.world_to_camera @ points.T, atol=1e-9)
    np.testing.assert_allclose(relative_pose(source, source), np.eye(4), atol=1e-12)


def test_rings_share_the_views_evenly_and_are_staggered() -> None:
    rig = orbit_rig(16, elevations_degrees=(0.0, 30.0), start_azimuth_degrees=10)
    angles = np.array([orbit_angles(camera.position) for camera in rig])
    np.testing.assert_allclose(angles[:, 1], [0] * 8 + [30] * 8, atol=1e-9)
    azimuths = np.sort(angles[:, 0] % 360)
    np.testing.assert_allclose(np.diff(azimuths), 22.5)
    assert math.isclose(angles[0, 0], 10)
    assert len(orbit_rig(7, elevations_degrees=(0.0, 30.0))) == 7


POSE = np.eye(4)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 0}, "width"),
        ({"height": -3}, "height"),
        ({"width": 10.5}, "whole number"),
        ({"width": float("nan")}, "width"),
        ({"width": 10**9}, "width"),
        ({"fx": 0.0}, "must be positive, got 0"),
        ({"fy": -500.0}, "must be positive, got -500"),
        ({"fx": float("nan")}, "finite"),
        ({"cx": float("inf")}, "finite"),
        ({"camera_to_world": np.full((4, 4), np.nan)}, "not finite"),
        ({"camera_to_world": np.diag([1.0, 1, -1, 1])}, "mirrors"),
        ({"camera_to_world": np.diag([1.01, 1, 1, 1])}, "scales or shears"),
        ({"camera_to_world": np.diag([1e200, 1, 1, 1])}, "scales or shears"),
        ({"camera_to_world": POSE + 0.1 * np.eye(4, k=1)}, "scales or shears"),
        ({"camera_to_world": POSE[:2]}, "got 2 x 4"),
        ({"camera_to_world": POSE + np.eye(4)[[3, 3, 3, 0]].T}, "last row"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(change: dict, complaint: str) -> None:
    values = {"width": 10, "height": 10, "fx": 5.0, "fy": 5.0, "cx": 5.0, "cy": 5.0, "camera_to_world": POSE}
    Camera(**values)
    with pytest.raises(UserError, match=complaint):
        Camera(**(values | change))


def test_impossible_rigs_are_refused() -> None:
    for refused in (
        lambda: orbit_rig(1, elevations_degrees=(0, 10)),
        lambda: orbit_camera(float("nan"), 0),
        lambda: orbit_camera(0, 91),
        lambda: orbit_camera(0, 0, field_of_view_degrees=180),
        lambda: orbit_camera(0, 0, distance=0),
        lambda: look_at((0, 0, 0)),
        lambda: look_at((0, float("inf"), 0)),
        lambda: transform_cameras([OFF_CENTRE], np.diag([1.0, 1, -1, 1])),
    ):
        with pytest.raises(UserError):
            refused()


def test_a_camera_keeps_its_own_pose() -> None:
    pose = np.eye(4)
    camera = Camera(4, 4, 2, 2, 2, 2, pose)
    pose[0, 3] = 7
    assert camera.position[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        camera.camera_to_world[0, 3] = 1
