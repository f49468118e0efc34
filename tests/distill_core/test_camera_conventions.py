import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from distill_core.camera_conventions import (
    Y_UP_TO_Z_UP,
    BlenderLens,
    NdcFormat,
    PyTorch3DCamera,
    SensorFit,
    camera_from_blender,
    camera_from_pytorch3d,
    camera_to_blender,
    camera_to_pytorch3d,
    pose_from_colmap,
    pose_from_opengl,
    pose_to_colmap,
    pose_to_opengl,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from distill_core.cameras import Camera, orbit_camera
from distill_core.errors import UserError
from tests.distill_core.camera_strategies import assert_same_camera, cameras, points_in_front, poses, rotations

BLENDER_CAMERAS = json.loads((Path(__file__).parent / "data" / "blender_cameras.json").read_text())["cameras"]


# --- axes ---


@settings(max_examples=40)
@given(poses())
def test_opengl_axes_round_trip(pose: np.ndarray) -> None:
    np.testing.assert_allclose(pose_from_opengl(pose_to_opengl(pose)), pose, atol=1e-12)


def test_opengl_axes_are_those_of_trimesh() -> None:
    # trimesh places a new scene's camera along +z looking down at the object, y up: OpenGL.
    scene = trimesh.Scene(trimesh.creation.box())
    pose = pose_from_opengl(scene.camera_transform)
    assert pose[2, 3] > 0
    np.testing.assert_allclose(pose[:3, 2], (0, 0, -1), atol=1e-12)
    np.testing.assert_allclose(pose[:3, 1], (0, -1, 0), atol=1e-12)


def test_a_pose_of_three_rows_is_completed() -> None:
    pose = orbit_camera(10, 20).camera_to_world
    np.testing.assert_allclose(pose_from_opengl(pose_to_opengl(pose)[:3]), pose, atol=1e-12)


def test_the_front_of_a_gltf_object_looks_along_minus_y() -> None:
    np.testing.assert_array_equal(Y_UP_TO_Z_UP @ (1, 2, 3, 1), (1, -3, 2, 1))


# --- quaternions and COLMAP ---


@settings(max_examples=40)
@given(rotations())
def test_quaternions_are_those_of_scipy(rotation: np.ndarray) -> None:
    quaternion = quaternion_from_rotation(rotation)
    expected = Rotation.from_matrix(rotation).as_quat(scalar_first=True)
    assert quaternion[0] >= 0
    assert min(np.abs(quaternion - expected).max(), np.abs(quaternion + expected).max()) < 1e-9
    np.testing.assert_allclose(rotation_from_quaternion(quaternion), rotation, atol=1e-9)


@settings(max_examples=40)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4), st.floats(1e-30, 1e30))
def test_the_length_of_a_quaternion_says_nothing(quaternion: list[float], scale: float) -> None:
    if max(map(abs, quaternion)) < 1e-3:
        quaternion = [1.0, 0.2, 0.0, 0.0]
    expected = Rotation.from_quat(quaternion, scalar_first=True).as_matrix()
    np.testing.assert_allclose(rotation_from_quaternion(scale * np.array(quaternion)), expected, atol=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(axis: int) -> None:
    half_turn = -np.eye(3)
    half_turn[axis, axis] = 1
    np.testing.assert_allclose(np.abs(quaternion_from_rotation(half_turn)), np.eye(4)[axis + 1], atol=1e-12)


@settings(max_examples=40)
@given(poses())
def test_colmap_poses_round_trip(pose: np.ndarray) -> None:
    quaternion, translation = pose_to_colmap(pose)
    np.testing.assert_allclose(pose_from_colmap(quaternion, translation), pose, atol=1e-9)


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (1, float("nan"), 0, 0), (1, 0, 0)])
def test_a_quaternion_that_turns_nothing_is_refused(quaternion: tuple) -> None:
    with pytest.raises(UserError, match="quaternion"):
        pose_from_colmap(quaternion, (0, 0, 0))


# --- PyTorch3D and CO3D ---


@pytest.mark.parametrize("ndc_format", get_args(NdcFormat))
@given(camera=cameras())
@settings(max_examples=30)
def test_pytorch3d_cameras_round_trip(ndc_format: NdcFormat, camera: Camera) -> None:
    foreign = camera_to_pytorch3d(camera, ndc_format)
    assert_same_camera(camera_from_pytorch3d(foreign, camera.width, camera.height), camera)


@pytest.mark.parametrize("ndc_format", get_args(NdcFormat))
@given(camera=cameras())
@settings(max_examples=30)
def test_pytorch3d_projection_is_the_documented_one(ndc_format: NdcFormat, camera: Camera) -> None:
    # PyTorch3D, docs/notes/cameras.md: row vectors X R + T; x left and y up; then, from the middle of the picture,
    # half the shorter side a unit (isotropic), or half of each side (CO3D v1).
    foreign = camera_to_pytorch3d(camera, ndc_format)
    points = points_in_front(camera)
    x, y, z = (points @ foreign.rotation + foreign.translation).T
    size = np.array([camera.width, camera.height])
    unit = np.full(2, size.min() / 2) if ndc_format == "ndc_isotropic" else size / 2
    ndc = np.stack([x / z, y / z], axis=1) * foreign.focal_length + foreign.principal_point
    np.testing.assert_allclose(size / 2 - ndc * unit, camera.project(points)[0], rtol=1e-6, atol=1e-5)


def test_an_unknown_ndc_is_refused() -> None:
    foreign = PyTorch3DCamera(np.eye(3), np.zeros(3), (1.0, 1.0), (0.0, 0.0), "pixels")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="ndc_isotropic"):
        camera_from_pytorch3d(foreign, 10, 10)


# --- Blender ---


@pytest.mark.parametrize("case", BLENDER_CAMERAS, ids=lambda c: f"{c['sensor_fit']}-{c['width']}x{c['height']}")
def test_projection_is_that_of_blender(case: dict) -> None:
    lens = BlenderLens(**{name: case[name] for name in BlenderLens.__dataclass_fields__})
    camera = camera_from_blender(lens, case["matrix_world"], case["width"], case["height"])
    # Blender computes in float32 (half a thousandth of a pixel here) and the file rounds to 1e-4.
    np.testing.assert_allclose(camera.project(case["points"])[0], case["pixels"], atol=2e-3)


@pytest.mark.parametrize("sensor_fit", get_args(SensorFit))
@given(camera=cameras(), sensor_width=st.floats(5, 60), sensor_height=st.floats(5, 60))
@settings(max_examples=30)
def test_blender_cameras_round_trip(
    sensor_fit: SensorFit, camera: Camera, sensor_width: float, sensor_height: float
) -> None:
    lens, matrix_world = camera_to_blender(
        camera, sensor_fit=sensor_fit, sensor_width=sensor_width, sensor_height=sensor_height
    )
    assert min(lens.pixel_aspect_x, lens.pixel_aspect_y) == 1
    assert_same_camera(camera_from_blender(lens, matrix_world, camera.width, camera.height), camera)


def test_a_plain_lens_is_the_one_everybody_knows() -> None:
    # 50 mm on a 36 mm sensor: 39.6 degrees along the longer side.
    lens, _ = camera_to_blender(orbit_camera(0, 0, field_of_view_degrees=2 * np.degrees(np.arctan(18 / 50))))
    assert lens.lens == pytest.approx(50)
    assert replace(lens, lens=50.0) == BlenderLens()


@pytest.mark.parametrize(
    "lens",
    [BlenderLens(lens=0), BlenderLens(sensor_width=-1), BlenderLens(pixel_aspect_x=0), BlenderLens(lens=float("nan"))],
)
def test_a_lens_that_cannot_be_is_refused(lens: BlenderLens) -> None:
    with pytest.raises(UserError):
        camera_from_blender(lens, np.eye(4), 10, 10)
