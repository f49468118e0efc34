import json
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from distill_core.cameras import orbit_angles
from distill_core.progress import SilentProgress
from distill_core.records.multi_view_record import read_record
from gs_integration.pipelines.import_captures import import_captures
from gs_integration.pipelines.import_settings import ImportSettings


@pytest.fixture(scope="module")
def captures(shared_assets: Path) -> Path:
    return shared_assets / "captures"


def frames_of(folder: Path) -> tuple[dict, list[dict]]:
    top = json.loads((folder / "transforms.json").read_text())
    return top, top["frames"]


def test_a_co3d_sequence_becomes_a_record_with_the_cameras_of_its_arrays(captures: Path, tmp_path: Path) -> None:
    settings = ImportSettings(num_views=4, largest_side=None, licence="CC-BY-NC")
    result = import_captures(captures / "co3d_apple", settings, tmp_path, SilentProgress())
    assert result.written == ["apple__apple_sample_20_frames"]
    top, frames = frames_of(tmp_path / result.written[0])
    original = np.load(captures / "co3d_apple" / "gt_cameras.npz")
    # README of the data: diag(-1, -1, 1) R^T and diag(-1, -1, 1) T are the OpenCV pose; f = 3.52 is 713 pixels.
    flip, opengl = np.diag([-1.0, -1.0, 1.0]), np.diag([1.0, -1.0, -1.0, 1.0])
    for place, entry in zip((0, 5, 10, 15), frames, strict=True):
        world_to_camera = np.linalg.inv(np.array(entry["transform_matrix"]) @ opengl)
        np.testing.assert_allclose(world_to_camera[:3, :3], flip @ original["gtR"][place].T, atol=1e-6)
        np.testing.assert_allclose(world_to_camera[:3, 3], flip @ original["gtT"][place], atol=1e-4)
        focal = entry.get("fl_x", top.get("fl_x"))
        assert focal == pytest.approx(original["gtFL"][place, 0] * 405 / 2, rel=1e-6)
    assert (top["w"], top["h"], top["cx"], top["cy"]) == (405, 720, 202.5, 360)
    assert frames[0].get("fl_x", top.get("fl_x")) == pytest.approx(713, abs=1)
    ours = top["onestep3d"]
    assert ours["normalisation"] == {"kind": "none", "source_to_object": np.eye(4).tolist()}
    assert ours["licence"] == "CC-BY-NC"


def test_a_colmap_model_becomes_a_record_with_its_poses(captures: Path, tmp_path: Path) -> None:
    settings = ImportSettings(num_views=3, largest_side=160)
    result = import_captures(captures / "fox" / "sparse", settings, tmp_path, SilentProgress())
    assert result.written == ["fox"]
    top, frames = frames_of(tmp_path / "fox")
    poses = sorted(colmap_poses(captures / "fox/sparse/0/images.bin"))
    for (_, world_to_camera), entry in zip((poses[place] for place in (0, 16, 33)), frames, strict=True):
        # README of the data: camera-to-world OpenGL = inverse(world-to-camera) x diag(1, -1, -1, 1).
        expected = np.linalg.inv(world_to_camera) @ np.diag([1.0, -1.0, -1.0, 1.0])
        np.testing.assert_allclose(entry["transform_matrix"], expected, atol=1e-9)
    assert (top["w"], top["h"]) == (90, 160)
    # The lens is undistorted, its focal length and centre reduced like the picture, 540 to 90.
    _, _, _, _, fx, fy, *_ = struct.unpack_from("<IiQQ8d", (captures / "fox/sparse/0/cameras.bin").read_bytes(), 8)
    assert top["fl_x"] == pytest.approx(fx / 6, rel=0.1)
    assert top["fl_y"] == pytest.approx(fy / 6, rel=0.1)
    assert len(read_record(tmp_path / "fox")) == 3


def colmap_poses(images_bin: Path) -> list[tuple[str, np.ndarray]]:
    """Names and world-to-camera matrices, read by the format's page alone and turned by scipy."""
    content, at, poses = images_bin.read_bytes(), 8, []
    for _ in range(struct.unpack_from("<Q", content)[0]):
        w, x, y, z, *translation = struct.unpack_from("<7d", content, at + 4)
        end = content.index(b"\0", at + 64)
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = Rotation.from_quat([x, y, z, w]).as_matrix(), translation
        poses.append((content[at + 64 : end].decode(), matrix))
        at = end + 9 + 24 * struct.unpack_from("<Q", content, end + 1)[0]
    return poses


def test_a_cut_out_capture_is_moved_into_the_unit_ball(captures: Path, tmp_path: Path) -> None:
    settings = ImportSettings(num_views=12, largest_side=100)
    import_captures(captures / "nerf_synthetic_chair", settings, tmp_path, SilentProgress())
    record = read_record(tmp_path / "nerf_synthetic_chair")
    transform = np.array(record.metadata["normalisation"]["source_to_object"])
    assert record.metadata["normalisation"]["kind"] == "bounding sphere"
    radius = 1 / np.cbrt(np.linalg.det(transform[:3, :3]))
    # README of the data: world z up. The path is a helix, so what its cameras call level is so to a degree.
    assert np.degrees(np.arccos(transform[2, 2] * radius)) < 1
    assert abs(orbit_angles(record.cameras[0].position)[0]) < 1e-6
    for camera, rgba in zip(record.cameras, record.pictures, strict=True):
        rows, columns = np.nonzero(rgba[3] > 0.5)
        pixels = np.stack([columns + 0.5, rows + 0.5], axis=1)
        rays = camera.unproject(pixels, np.ones(len(pixels))) - camera.position
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        distance = np.linalg.norm(np.cross(camera.position, rays), axis=1)
        # Nothing sticks out, and the ball is no larger than it must be; 100 pixels span 0.7 radians: 1 is 0.02.
        assert 0.5 < distance.max() < 1.03
    assert 0.8 < radius < 1.6  # the chair's own box reaches 1.0 to 1.3 from its middle in the original scene


def test_a_second_run_makes_nothing_anew_and_other_settings_do(captures: Path, tmp_path: Path) -> None:
    settings = ImportSettings(num_views=2, largest_side=32)
    apple = captures / "co3d_apple"
    (name,) = import_captures(apple, settings, tmp_path, SilentProgress()).written
    before = (tmp_path / name / "transforms.json").stat().st_mtime_ns
    again = import_captures(apple, settings, tmp_path, SilentProgress())
    assert (again.written, again.kept) == ([], [name])
    assert (tmp_path / name / "transforms.json").stat().st_mtime_ns == before
    other = import_captures(apple, settings.model_copy(update={"largest_side": 48}), tmp_path, SilentProgress())
    assert other.written == [name]
    assert max(read_record(tmp_path / name).pictures[0].shape) == 48
