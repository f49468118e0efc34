import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from distill_core.camera_conventions import pose_to_colmap
from distill_core.cameras import Camera, look_at, orbit_camera
from distill_core.errors import UserError
from distill_core.pictures.images import write_png
from distill_core.records import colmap
from distill_core.records.multi_view_record import read_colmap, read_record
from tests.distill_core.camera_strategies import assert_same_camera


@pytest.fixture(scope="module")
def fox(shared_assets: Path) -> Path:
    return shared_assets / "captures" / "fox"


def observations(images_bin: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Keypoints [N, 2] and the points [N] they see, by picture: what the reader skips."""
    content, at, found = images_bin.read_bytes(), 8, {}
    (num_images,) = struct.unpack_from("<Q", content)
    for _ in range(num_images):
        end = content.index(b"\0", at + 64)
        name = content[at + 64 : end].decode()
        (num_points,) = struct.unpack_from("<Q", content, end + 1)
        rows = np.frombuffer(content, [("xy", "<f8", 2), ("point", "<i8")], num_points, end + 9)
        found[name] = rows["xy"], rows["point"]
        at = end + 9 + 24 * num_points
    return found


def point_ids(points_bin: Path) -> list[int]:
    content, at, ids = points_bin.read_bytes(), 8, []
    (num_points,) = struct.unpack_from("<Q", content)
    for _ in range(num_points):
        ids.append(struct.unpack_from("<Q", content, at)[0])
        (track,) = struct.unpack_from("<Q", content, at + 43)
        at += 51 + 8 * track
    return ids


def test_points_project_to_the_keypoints_that_saw_them(fox: Path) -> None:
    positions, colours = colmap.read_sparse_points(fox)
    assert positions.shape == (7321, 3)
    assert colours.shape == (7321, 3)
    place = {point: row for row, point in enumerate(point_ids(fox / "sparse/0/points3D.bin"))}
    _, stated = colmap.stated_views(fox / "sparse/0")
    keypoints = observations(fox / "sparse/0/images.bin")
    errors = []
    for view in stated:
        camera = view.camera_at(540, 960)
        assert view.distortion is not None
        seen, points = keypoints[view.picture_path]
        world = positions[[place[point] for point in points]]
        turn, _ = cv2.Rodrigues(camera.world_to_camera[:3, :3])
        projected, _ = cv2.projectPoints(
            world, turn, camera.world_to_camera[:3, 3].copy(), camera.intrinsics, np.array(view.distortion.coefficients)
        )
        errors.append(np.linalg.norm(projected[:, 0] - seen, axis=1))
    # What COLMAP itself reports of this model: 62,094 observations, 0.561 pixels in the mean of its points.
    assert sum(len(error) for error in errors) == 62_094
    assert np.concatenate(errors).mean() < 0.6


def test_both_records_of_one_capture_agree(fox: Path) -> None:
    by_colmap, by_transforms = read_record(fox / "sparse" / "0"), read_record(fox)
    other = {Path(name).name: camera for name, camera in zip(by_transforms.names, by_transforms.cameras, strict=True)}
    pairs = [(camera, other[name]) for name, camera in zip(by_colmap.names, by_colmap.cameras, strict=True)]
    assert len(pairs) == 50
    source = np.array([camera.position for camera, _ in pairs])
    target = np.array([camera.position for _, camera in pairs])
    # Umeyama's similarity between the centres.
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    u, s, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    signs = np.diag([1, 1, np.linalg.det(u @ vt)])
    turn = u @ signs @ vt
    scale = (s * np.diag(signs)).sum() / ((source - source_mean) ** 2).sum()
    assert abs(scale - 0.899) < 0.001
    moved = scale * (source - source_mean) @ turn.T + target_mean
    assert np.median(np.linalg.norm(moved - target, axis=1)) < 0.0025  # 0.0022 as measured when the data were made
    cosines = [
        (np.trace(turn @ one.camera_to_world[:3, :3] @ two.camera_to_world[:3, :3].T) - 1) / 2 for one, two in pairs
    ]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    assert np.median(angles) < 0.02  # 0.018
    assert angles.max() < 0.18  # 0.17


def write_text_model(folder: Path, lens: str, views: dict[str, Camera]) -> None:
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"# Camera list\n7 {lens}\n")
    lines = ["# Image list", "#   two lines each"]
    for number, (name, camera) in enumerate(views.items()):
        quaternion, translation = pose_to_colmap(camera.camera_to_world)
        numbers = " ".join(repr(float(value)) for value in (*quaternion, *translation))
        # Keypoints of every second image: the line may be empty.
        lines += [f"{number + 1} {numbers} 7 {name}", "1.5 2.5 -1" if number % 2 else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")


VIEWS = {"b c.png": orbit_camera(10, 20), "a.png": orbit_camera(100, -5), "z.png": orbit_camera(200, 50)}


def with_lens(camera: Camera, fx: float, fy: float, cx: float, cy: float) -> Camera:
    return Camera(40, 30, fx, fy, cx, cy, camera.camera_to_world)


@pytest.mark.parametrize(
    ("lens", "intrinsics"),
    [
        ("SIMPLE_PINHOLE 40 30 50 21 14", (50, 50, 21, 14)),
        ("PINHOLE 40 30 50 45 21 14", (50, 45, 21, 14)),
        ("SIMPLE_RADIAL 40 30 50 21 14 0", (50, 50, 21, 14)),
        ("RADIAL 40 30 50 21 14 0 0", (50, 50, 21, 14)),
        ("OPENCV 40 30 50 45 21 14 0 0 0 0", (50, 45, 21, 14)),
        ("FULL_OPENCV 40 30 50 45 21 14 0 0 0 0 0 0 0 0", (50, 45, 21, 14)),
    ],
)
def test_text_models_of_every_lens(tmp_path: Path, lens: str, intrinsics: tuple) -> None:
    write_text_model(tmp_path / "sparse" / "0", lens, VIEWS)
    (tmp_path / "images").mkdir()
    for name in VIEWS:
        write_png(tmp_path / "images" / name, np.full((3, 30, 40), 0.5))
    record = read_colmap(tmp_path)
    assert list(record.names) == sorted(VIEWS)
    for name, camera in zip(record.names, record.cameras, strict=True):
        assert_same_camera(camera, with_lens(VIEWS[name], *intrinsics), 1e-9)
    assert record.read_view(0).rgba.shape == (4, 30, 40)
    # The pictures may lie elsewhere, and half as large.
    (tmp_path / "elsewhere").mkdir()
    for name in VIEWS:
        write_png(tmp_path / "elsewhere" / name, np.full((3, 15, 20), 0.5))
    smaller = read_colmap(tmp_path / "sparse" / "0", tmp_path / "elsewhere")
    assert_same_camera(smaller.cameras[0], record.cameras[0].resized(20, 15), 1e-9)


def test_text_points_are_read(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_text_model(model, "PINHOLE 40 30 50 45 21 14", VIEWS)
    (model / "points3D.txt").write_text("# points\n4 1.0 -2.5 3e-1 255 0 7 0.5 1 2 3 4\n9 0 0 0 1 2 3 0.1\n")
    positions, colours = colmap.read_sparse_points(model)
    np.testing.assert_array_equal(positions, [(1, -2.5, 0.3), (0, 0, 0)])
    np.testing.assert_array_equal(colours, [(255, 0, 7), (1, 2, 3)])


@pytest.mark.parametrize(
    ("lens", "complaint"),
    [
        ("FOV 40 30 50 45 21 14 0.1", "image_undistorter"),
        ("THIN_PRISM_FISHEYE 40 30 50 45 21 14 0 0 0 0 0 0 0 0", "image_undistorter"),
        ("PINHOLE 40 30 50 45 21", "not as COLMAP writes it"),
        ("PINHOLE forty 30 50 45 21 14", "not as COLMAP writes it"),
        ("PINHOLE 40 30 -50 45 21 14", "must be positive"),
        ("PINHOLE 40 30 nan 45 21 14", "finite"),
        ("OPENCV 40 30 50 45 21 14 nan 0 0 0", "finite"),
    ],
)
def test_lenses_that_cannot_be_used_are_refused(tmp_path: Path, lens: str, complaint: str) -> None:
    write_text_model(tmp_path / "model", lens, VIEWS)
    with pytest.raises(UserError, match=complaint):
        colmap.stated_views(tmp_path / "model")


def test_models_that_are_cut_off_are_refused(fox: Path, tmp_path: Path) -> None:
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        (tmp_path / name).write_bytes((fox / "sparse" / "0" / name).read_bytes())
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        whole = (tmp_path / name).read_bytes()
        claims_more = struct.pack("<Q", 1 << 60) + whole[8:]
        for damaged in (b"", whole[:4], whole[:50], whole[: len(whole) // 2], claims_more):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(UserError):
                colmap.read_sparse_points(tmp_path) if name == "points3D.bin" else colmap.stated_views(tmp_path)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "cameras.bin").unlink()
    with pytest.raises(UserError, match=r"cameras\.bin"):
        colmap.stated_views(tmp_path)


def test_a_model_without_pictures_says_where_they_belong(tmp_path: Path) -> None:
    write_text_model(tmp_path / "a" / "b" / "c" / "d" / "model", "PINHOLE 40 30 50 45 21 14", VIEWS)
    with pytest.raises(UserError, match="folder 'images'"):
        read_colmap(tmp_path / "a" / "b" / "c" / "d" / "model")
    with pytest.raises(UserError, match="expected a COLMAP model"):
        read_colmap(tmp_path)


def test_names_do_not_leave_the_images_folder(tmp_path: Path) -> None:
    write_text_model(tmp_path / "model", "PINHOLE 40 30 50 45 21 14", {"../secret.png": orbit_camera(0, 0)})
    (tmp_path / "images").mkdir()
    write_png(tmp_path / "secret.png", np.full((3, 30, 40), 0.5))
    with pytest.raises(UserError, match="leads out"):
        read_colmap(tmp_path / "model")


def test_poses_are_world_to_camera(tmp_path: Path) -> None:
    # By hand: a camera at (1, 2, 3) that looks along +x with z up sees the world's x as its depth.
    camera = Camera(40, 30, 50, 45, 21, 14, look_at((1, 2, 3), (5, 2, 3)))
    write_text_model(tmp_path / "model", "PINHOLE 40 30 50 45 21 14", {"a.png": camera})
    line = (tmp_path / "model" / "images.txt").read_text().splitlines()[2].split()
    np.testing.assert_allclose([float(word) for word in line[5:8]], (2, 3, -1), atol=1e-12)
    _, (view,) = colmap.stated_views(tmp_path / "model")
    assert_same_camera(view.camera_at(40, 30), camera, 1e-12)
