import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.camera_conventions import camera_to_pytorch3d
from distill_core.cameras import look_at
from distill_core.errors import UserError
from distill_core.pictures.images import write_png
from distill_core.records import co3d
from distill_core.records.multi_view_record import read_co3d, read_record


@pytest.fixture(scope="module")
def apple(shared_assets: Path) -> Path:
    return shared_assets / "captures" / "co3d_apple"


def test_cameras_are_those_of_the_original_arrays(apple: Path) -> None:
    record = read_co3d(apple)
    original = np.load(apple / "gt_cameras.npz")
    assert list(record.names) == sorted(record.names)
    for index, camera in enumerate(record.cameras):
        foreign = camera_to_pytorch3d(camera)
        np.testing.assert_allclose(foreign.rotation, original["gtR"][index], atol=1e-6)
        np.testing.assert_allclose(foreign.translation, original["gtT"][index], atol=1e-5)
        np.testing.assert_allclose(foreign.focal_length, original["gtFL"][index], rtol=1e-6)
        # README of the data: diag(-1, -1, 1) R^T and diag(-1, -1, 1) T are the OpenCV pose.
        flip = np.diag([-1.0, -1.0, 1.0])
        np.testing.assert_allclose(camera.world_to_camera[:3, :3], flip @ original["gtR"][index].T, atol=1e-6)
        np.testing.assert_allclose(camera.world_to_camera[:3, 3], flip @ original["gtT"][index], atol=1e-5)
    assert (record.cameras[0].width, record.cameras[0].height) == (405, 720)
    assert record.cameras[0].fx == pytest.approx(3.517125 * 405 / 2, rel=1e-6)


def test_the_views_meet_at_the_apple(apple: Path) -> None:
    record = read_record(apple)
    # The point nearest to all optical axes: the person walked about the apple and kept it in view.
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for camera in record.cameras:
        across = np.eye(3) - np.outer(camera.forward, camera.forward)
        normal, right = normal + across, right + across @ camera.position
    centre = np.linalg.solve(normal, right)
    for camera in record.cameras:
        (pixel,), (depth,) = camera.project([centre])
        assert 15 < depth < 30  # README of the data: the apple is 19 to 26 away
        assert np.abs(pixel - (405 / 2, 720 / 2)).max() < 150


def test_several_sequences_must_be_told_apart(tmp_path: Path) -> None:
    write_annotations(tmp_path, [frame("one"), frame("two")])
    with pytest.raises(UserError, match="it holds 2: one, two"):
        read_co3d(tmp_path)
    with pytest.raises(UserError, match="'three'"):
        read_co3d(tmp_path, "three")
    assert len(read_co3d(tmp_path, "two")) == 1


def test_older_annotations_scale_each_axis_by_its_own_side(tmp_path: Path) -> None:
    old = frame("one")
    del old["viewpoint"]["intrinsics_format"]
    old["viewpoint"]["principal_point"] = [0.5, -0.25]
    write_annotations(tmp_path, [old])
    (camera,) = read_co3d(tmp_path).cameras
    assert (camera.fx, camera.fy) == (2 * 40 / 2, 2 * 30 / 2)
    assert (camera.cx, camera.cy) == (20 - 0.5 * 20, 15 + 0.25 * 15)


def test_masks_become_alpha(tmp_path: Path) -> None:
    masked = frame("one")
    masked["mask"] = {"path": "thing/one/mask.png", "mass": 1.0}
    write_annotations(tmp_path, [masked])
    mask = np.zeros((1, 30, 40))
    mask[:, 5:20, 10:30] = 1
    write_png(tmp_path / "thing" / "one" / "mask.png", mask)
    np.testing.assert_array_equal(read_co3d(tmp_path).pictures[0][3], mask[0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b"{"),
        gzip.compress(b"[]"),
        gzip.compress(b"{}"),
        gzip.compress(b"[1]"),
        gzip.compress(b"[" * 100_000),
        gzip.compress(b"[{}]"),
        gzip.compress(b'[{"sequence_name": "a", "viewpoint": 3, "image": []}]'),
        gzip.compress(b"[{}]" * 1000)[:-5],
    ],
    ids=range(10),
)
def test_damaged_annotations_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "frame_annotations.jgz").write_bytes(content)
    with pytest.raises(UserError):
        co3d.stated_views(tmp_path / "frame_annotations.jgz")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"R": [[1, 0, 0], [0, 1, 0]]}, "expected a frame annotation"),
        ({"R": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "mirrors"),
        ({"T": [float("nan"), 0, 0]}, "not finite"),
        ({"focal_length": [-1, 2]}, "must be positive"),
        ({"intrinsics_format": "pixels"}, "ndc_isotropic"),
    ],
)
def test_viewpoints_that_cannot_be_are_refused(tmp_path: Path, change: dict, complaint: str) -> None:
    bad = frame("one")
    bad["viewpoint"] |= change
    write_annotations(tmp_path, [bad])
    with pytest.raises(UserError, match=complaint):
        read_co3d(tmp_path)


def frame(sequence: str) -> dict:
    world_to_camera = np.linalg.inv(look_at((1, 2, 3)))
    return {
        "sequence_name": sequence,
        "image": {"path": f"thing/{sequence}/a.png", "size": [30, 40]},
        "viewpoint": {
            "R": (np.diag([-1, -1, 1]) @ world_to_camera[:3, :3]).T.tolist(),
            "T": (np.diag([-1, -1, 1]) @ world_to_camera[:3, 3]).tolist(),
            "focal_length": [2.0, 2.0],
            "principal_point": [0.0, 0.0],
            "intrinsics_format": "ndc_isotropic",
        },
    }


def write_annotations(folder: Path, frames: list[dict]) -> None:
    for one in frames:
        picture = folder / one["image"]["path"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_png(picture, np.full((3, 30, 40), 0.5))
    (folder / "thing" / "frame_annotations.jgz").write_bytes(gzip.compress(json.dumps(frames).encode()))
