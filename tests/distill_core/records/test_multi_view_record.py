import csv
import json
import logging
import math
import os
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill_core.cameras import Camera, look_at, orbit_camera, orbit_rig
from distill_core.errors import UserError
from distill_core.pictures.images import write_png
from distill_core.records import depth_files, multi_view_record
from distill_core.records.multi_view_record import (
    LazyViews,
    MultiViewRecord,
    holdout_split,
    read_record,
    record_splits,
    write_record,
)
from tests.distill_core.camera_strategies import assert_same_camera


def small_record(num_views: int = 3, width: int = 24, height: int = 18) -> MultiViewRecord:
    random = np.random.default_rng(5)
    rig = [
        Camera(width, height, 30, 32, 11, 10, camera.camera_to_world)
        for camera in orbit_rig(num_views, elevations_degrees=(20.0,))
    ]
    normals = random.normal(size=(num_views, 3, height, width))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:, :, :4] = 0
    depth = random.uniform(1, 4, (num_views, height, width))
    depth[:, :4] = 0
    return MultiViewRecord(
        cameras=rig,
        pictures=random.uniform(0, 1, (num_views, 4, height, width)).astype(np.float32),
        depth=depth.astype(np.float32),
        normals=normals.astype(np.float32),
        metadata={"licence": "CC0", "normalisation": np.eye(4).tolist()},
    )


def folder_state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- our own folder ---


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = small_record()
    write_record(record, tmp_path / "new" / "record")
    read = read_record(tmp_path / "new" / "record")
    for got, expected in zip(read.cameras, record.cameras, strict=True):
        assert_same_camera(got, expected, 1e-12)
    # Half a step of eight bits; of 0.001; of eight bits on a unit vector, then lengthened.
    np.testing.assert_allclose(np.asarray(read.pictures), record.pictures, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(np.asarray(read.depth), np.asarray(record.depth), atol=0.5e-3 + 1e-6)
    np.testing.assert_allclose(np.asarray(read.normals), np.asarray(record.normals), atol=0.01)
    assert not np.asarray(read.depth)[:, :4].any()
    assert not np.asarray(read.normals)[:, :, :4].any()
    assert read.metadata == record.metadata
    assert list(read.names) == ["images/000.png", "images/001.png", "images/002.png"]
    assert {entry.name for entry in (tmp_path / "new").iterdir()} == {"record"}
    with Image.open(tmp_path / "new" / "record" / "depth" / "000.png") as depth:
        assert depth.mode == "I;16"


def moving_record() -> MultiViewRecord:
    """Two moments of three cameras, with all that a record can hold."""
    still = small_record(3)
    random = np.random.default_rng(6)
    return MultiViewRecord(
        cameras=[*still.cameras, *still.cameras],
        pictures=np.concatenate([np.asarray(still.pictures)] * 2),
        albedo=random.uniform(0, 1, (6, 4, 18, 24)).astype(np.float32),
        object_indices=random.integers(0, 65536, (6, 18, 24)).astype(np.uint16),
        times=[0.75] * 3 + [0.25] * 3,
    )


def test_times_base_colours_and_objects_are_kept(tmp_path: Path) -> None:
    record = moving_record()
    write_record(record, tmp_path / "record")
    frames = json.loads((tmp_path / "record" / "transforms.json").read_text())["frames"]
    assert [frame["time"] for frame in frames] == record.times  # where nerfstudio looks for them
    read = read_record(tmp_path / "record")
    assert list(read.times) == record.times
    np.testing.assert_allclose(np.asarray(read.albedo), np.asarray(record.albedo), atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(np.asarray(read.object_indices), np.asarray(record.object_indices))
    assert read.depth is None
    view = read.read_view(4)
    assert view.time == 0.25
    assert view.albedo is not None
    np.testing.assert_array_equal(view.object_indices, np.asarray(record.object_indices)[4])
    write_record(read, tmp_path / "record")  # may be replaced, its new folders included
    assert [list(one.times) for one in (read.subset([4, 0]), read_record(tmp_path / "record"))] == [
        [0.25, 0.75],
        record.times,
    ]


def test_moments_are_views_of_one_time_in_its_order() -> None:
    assert moving_record().moments() == [[3, 4, 5], [0, 1, 2]]
    assert small_record(3).moments() == [[0, 1, 2]]


@pytest.mark.parametrize("times", [["12:03", "12:04"], [0.5, None]])
def test_frames_without_a_usable_time_are_a_still_scene(
    tmp_path: Path, times: list, caplog: pytest.LogCaptureFixture
) -> None:
    write_record(small_record(2), tmp_path / "record")
    file = tmp_path / "record" / "transforms.json"
    top = json.loads(file.read_text())
    for frame, time in zip(top["frames"], times, strict=True):
        frame["time"] = time
    file.write_text(json.dumps(top))
    assert not read_record(tmp_path / "record").times
    assert ("1 of 2 frames have a time" in caplog.text) == (times[0] == 0.5)


def test_a_read_record_can_be_written_again_bit_by_bit(tmp_path: Path) -> None:
    record = small_record()
    # Without normals: made unit again, they round anew.
    write_record(MultiViewRecord(record.cameras, record.pictures, record.depth), tmp_path / "one")
    write_record(read_record(tmp_path / "one"), tmp_path / "two")
    assert folder_state(tmp_path / "one") == folder_state(tmp_path / "two")


def test_cameras_of_different_sizes_are_kept(tmp_path: Path) -> None:
    small, large = small_record(1, 20, 10), small_record(1, 30, 40)
    both = [np.asarray(small.pictures)[0], np.asarray(large.pictures)[0]]
    record = MultiViewRecord([*small.cameras, *large.cameras], LazyViews([lambda: both[0], lambda: both[1]]))
    write_record(record, tmp_path / "record")
    read = read_record(tmp_path / "record")
    assert [camera.width for camera in read.cameras] == [20, 30]
    assert "fl_x" in json.loads((tmp_path / "record" / "transforms.json").read_text())
    with pytest.raises(UserError, match="one size"):
        np.asarray(read.pictures)


def test_a_record_replaces_an_older_record_but_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    write_record(small_record(3), folder)
    write_record(small_record(2), folder)
    assert len(read_record(folder)) == 2
    assert not (folder / "images" / "002.png").exists()
    (folder / "splats.ply").write_text("mine")
    with pytest.raises(UserError, match=r"splats\.ply"):
        write_record(small_record(1), folder)
    assert (folder / "splats.ply").read_text() == "mine"
    (tmp_path / "file").write_text("")
    for unwritable in (tmp_path / "file", tmp_path / "file" / "record"):
        with pytest.raises(UserError):
            write_record(small_record(1), unwritable)
    assert {entry.name for entry in tmp_path.iterdir()} == {"record", "file"}


def test_the_working_folder_and_links_can_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    write_record(small_record(2), tmp_path / "link")
    assert len(read_record(tmp_path / "here")) == 2
    monkeypatch.chdir(tmp_path / "here")
    write_record(small_record(1), ".")
    assert len(read_record(tmp_path / "here")) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    write_record(small_record(2), tmp_path / "old")
    before = folder_state(tmp_path / "old")

    def broken(path: Path, picture: np.ndarray) -> None:
        if "001" in str(path):
            raise error
        write_png(path, picture)

    monkeypatch.setattr(multi_view_record, "write_png", broken)
    for name in ("new", "old"):
        with pytest.raises((UserError, KeyboardInterrupt)):
            write_record(small_record(3), tmp_path / name)
    assert {entry.name for entry in tmp_path.iterdir()} == {"old"}
    assert folder_state(tmp_path / "old") == before


def test_depth_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    record = small_record(1)
    for bad in (70.0, -1.0, float("nan")):
        depth = np.full((1, 18, 24), bad, np.float32)
        with pytest.raises(UserError, match="scale the scene"):
            write_record(MultiViewRecord(record.cameras, record.pictures, depth=depth), tmp_path / "record")
    assert not list(tmp_path.iterdir())


def test_parts_of_different_length_are_a_programming_error() -> None:
    record = small_record(2)
    with pytest.raises(ValueError, match="expected 2 views"):
        MultiViewRecord(record.cameras, np.zeros((3, 4, 5, 5), np.float32))
    with pytest.raises(ValueError, match="at least one"):
        MultiViewRecord([], np.zeros((0, 4, 5, 5), np.float32))


def test_subsets_read_nothing_and_keep_order(tmp_path: Path) -> None:
    record = small_record(4)
    write_record(record, tmp_path / "record")
    read = read_record(tmp_path / "record")
    for whole in (record, read):
        part = whole.subset([3, 1])
        assert len(part) == 2
        for place, index in enumerate((3, 1)):
            np.testing.assert_array_equal(part.read_view(place).rgba, whole.read_view(index).rgba)
            np.testing.assert_array_equal(part.read_view(place).depth, whole.read_view(index).depth)
            assert part.cameras[place] is whole.cameras[index]
    assert list(read.subset([3]).names) == ["images/003.png"]


def test_pictures_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write_record(small_record(2), tmp_path / "record")
    read = read_record(tmp_path / "record")
    write_png(tmp_path / "record" / "images" / "001.png", np.zeros((4, 18, 24)))
    assert not read.read_view(1).rgba.any()
    write_png(tmp_path / "record" / "images" / "001.png", np.zeros((4, 9, 24)))
    with pytest.raises(UserError, match="expected 24 x 18 pixels, got 24 x 9"):
        read.read_view(1)


@pytest.mark.parametrize(("num_views", "every"), [(10, 5), (11, 5), (7, 2), (3, 8), (5, 0)])
def test_holdout_takes_every_nth(num_views: int, every: int) -> None:
    kept, held_out = holdout_split(num_views, every)
    assert sorted(kept + held_out) == list(range(num_views))
    assert held_out == ([] if every == 0 else [i for i in range(num_views) if i % every == 0])


def test_a_holdout_that_leaves_nothing_is_refused() -> None:
    for num_views, every in ((10, 1), (10, -2), (1, 5)):
        with pytest.raises(UserError):
            holdout_split(num_views, every)


# --- captures by others ---


def bad_captures(shared_assets: Path) -> list[dict[str, str]]:
    with (shared_assets / "bad_inputs" / "README.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if next(iter(row.values())).startswith("capture_")]


def test_bad_captures_do_what_their_list_expects(shared_assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = bad_captures(shared_assets)
    assert len(rows) >= 14
    for row in rows:
        file, expected = row["file"], row["expected"]
        caplog.clear()
        if expected == "error":
            with pytest.raises(UserError) as caught:
                read_record(shared_assets / "bad_inputs" / Path(file).parent)
            assert "\n" not in str(caught.value), file
            assert str(shared_assets) in str(caught.value), file
        else:
            record = read_record(shared_assets / "bad_inputs" / file)
            assert (expected == "warning") == (len(caplog.records) == 1), file
            for index in range(len(record)):
                view = record.read_view(index)
                assert view.rgba.shape[1:] == (view.camera.height, view.camera.width)


def test_a_size_that_does_not_fit_rescales_the_lens(shared_assets: Path) -> None:
    camera = read_record(shared_assets / "bad_inputs" / "capture_size_does_not_fit").cameras[0]
    assert (camera.width, camera.height, camera.fx) == (64, 64, 50.0)
    assert camera.fy == pytest.approx(500 * 64 / 480)


def test_chair_by_its_splits(shared_assets: Path) -> None:
    folder = shared_assets / "captures" / "nerf_synthetic_chair"
    assert record_splits(folder) == ["train", "val", "test"]
    train = read_record(folder, "train")
    assert [len(train), len(read_record(folder, "test")), len(read_record(folder / "transforms_val.json"))] == [
        80,
        20,
        8,
    ]
    for camera in train.cameras:
        # README of the data: distance 4.0311, focal length 555.56 at 400 pixels, principal point in the middle.
        assert np.linalg.norm(camera.position) == pytest.approx(4.0311, abs=1e-3)
        assert (camera.fx, camera.cx, camera.cy) == (pytest.approx(555.56, abs=0.01), 200, 200)
    with pytest.raises(UserError, match="train, val, test"):
        read_record(folder)
    with pytest.raises(UserError, match="train, val, test"):
        read_record(folder, "extra")


def test_the_chair_is_inside_its_own_silhouettes(shared_assets: Path) -> None:
    # Carving by wrong cameras leaves nothing: a fifth of the points near the middle must survive twelve views.
    record = read_record(shared_assets / "captures" / "nerf_synthetic_chair", "test").subset(range(0, 20, 2))
    axis = np.linspace(-1, 1, 24)
    points = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    kept = np.ones(len(points), bool)
    for index, camera in enumerate(record.cameras):
        alpha = record.pictures[index][3]
        pixels, _ = camera.project(points)
        x, y = np.clip(np.floor(pixels).astype(int), 0, 399).T
        kept &= alpha[y, x] > 0.5
    assert kept.sum() > 400
    # What survives fills the silhouettes: 80 % of the opaque pixels have a point within six pixels.
    pixels, _ = record.cameras[0].project(points[kept])
    covered = np.zeros((400, 400), bool)
    for x, y in np.floor(pixels).astype(int):
        covered[max(y - 6, 0) : y + 7, max(x - 6, 0) : x + 7] = True
    assert covered[record.pictures[0][3] > 0.5].mean() > 0.8


def test_fox_goes_on_with_the_pictures_that_are_there(shared_assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fox = shared_assets / "captures" / "fox"
    record = read_record(fox / "transforms_67_frames_17_pictures_missing.json")
    assert len(record) == 50
    assert len(record.metadata["missing_pictures"]) == 17
    said = [entry.getMessage() for entry in caplog.records]
    assert len(said) == 2
    assert "17 of 67 pictures are missing" in said[0]
    assert "50 of 50 pictures are undistorted" in said[1]
    whole = read_record(fox)
    assert set(record.names) == set(whole.names)
    view = whole.read_view(0)
    assert view.rgba.shape == (4, 960, 540)
    assert view.rgba[3].min() == 1


@pytest.fixture(scope="module")
def val_record(shared_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("val")
    with tarfile.open(shared_assets / "val_views" / "val_views.tar") as archive:
        # A solid thing: a table's legs are thinner than the depth's pixels.
        for member in archive:
            if member.name.startswith("aws_residential_Refrigerator_01/"):
                archive.extract(member, folder, filter="data")
            elif any(folder.iterdir()):
                break
    return folder / "aws_residential_Refrigerator_01"


def test_val_views_are_where_their_angles_say(val_record: Path) -> None:
    record = read_record(val_record)
    frames = json.loads((val_record / "transforms.json").read_text())["frames"]
    assert len(record) == 16
    for camera, frame in zip(record.cameras, frames, strict=True):
        expected = orbit_camera(frame["azimuth"], frame["elevation"], width=256, height=256)
        # Angles are rounded to 1e-4 degrees, intrinsics to 1e-5.
        assert_same_camera(camera, expected, 2e-5)


def test_val_depth_puts_the_surfaces_of_all_views_together(val_record: Path) -> None:
    record = read_record(val_record)
    view = record.read_view(1)
    assert view.depth is not None
    assert view.depth.shape == (128, 128)
    camera = view.camera.resized(128, 128)
    y, x = np.nonzero(view.depth)
    points = camera.unproject(np.stack([x, y], axis=1) + 0.5, view.depth[y, x])
    assert np.linalg.norm(points, axis=1).max() < 1.01
    # From the neighbour 45 degrees on, no surface of this view may lie in front of what is seen there.
    other = record.read_view(2)
    assert other.depth is not None
    pixels, depth = other.camera.resized(128, 128).project(points)
    column, row = np.floor(pixels).astype(int).T
    seen = other.depth[row, column]
    in_front = (seen > 0) & (depth < seen - 0.05)
    assert in_front.mean() < 0.02
    # And a good part of it is seen from there too: a wrong convention matches nowhere.
    assert (np.abs(depth - seen) < 0.02).mean() > 0.2


def capture(folder: Path, names: list[str], **top: object) -> Path:
    """A capture in instant-ngp's manner, without its pictures."""
    pose = [[1, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 1.0], [0, 0, 0, 1]]
    folder.mkdir(parents=True, exist_ok=True)
    frames = [{"file_path": name, "transform_matrix": pose} for name in names]
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 50.0, **top, "frames": frames}))
    return folder


def test_paths_without_ending_find_their_pictures(tmp_path: Path) -> None:
    folder = capture(tmp_path, ["./train/r_0", "train/r_0.5", "train\\c"])
    (folder / "train").mkdir()
    for name in ("r_0.png", "r_0.5.png"):
        write_png(folder / "train" / name, np.full((3, 8, 12), 0.5))
    Image.new("RGB", (12, 8)).save(folder / "train" / "c.jpg")
    assert len(read_record(folder)) == 3


def test_few_missing_pictures_are_said_and_many_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = capture(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    for name in ("a.png", "b.png"):
        write_png(folder / name, np.full((3, 8, 12), 0.5))
    assert len(read_record(folder)) == 2
    assert "2 of 4 pictures are missing (c.png, d.png)" in caplog.records[0].getMessage()
    (folder / "a.png").unlink()
    with pytest.raises(UserError, match="3 of 4 pictures are missing"):
        read_record(folder)


@pytest.mark.parametrize(
    "path", ["../a.png", "/etc/passwd", "C:\\a.png", "\\\\host\\share\\a.png", "x/../../a.png", "..\\a.png"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    write_png(tmp_path / "a.png", np.full((3, 8, 12), 0.5))
    with pytest.raises(UserError, match=r"leads out|absolute"):
        read_record(capture(tmp_path / "capture", [path]))


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((3, 8, 12), 0.5))
    folder = capture(tmp_path / "capture", ["a.png"])
    (folder / "a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(UserError, match="leads out"):
        read_record(folder)
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder / "a.png")
    with pytest.raises(UserError):
        read_record(folder)


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "a\udc80b.png", "folder", "pipe"])
def test_names_that_are_no_files_count_as_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    folder = capture(tmp_path, [name])
    result = []

    def read() -> None:
        try:
            read_record(folder)
        except UserError as error:
            result.append(str(error))

    thread = threading.Thread(target=read, daemon=True)  # a pipe that is opened would wait for ever
    thread.start()
    thread.join(5)
    assert result


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    folder = capture(tmp_path, ["a.png"])
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n rubbish")
    with pytest.raises(UserError, match=r"a\.png"):
        read_record(folder)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_fit_the_camera_that_was_computed(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((3, 8, 12))
    stored[0, 1, 2] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((stored * 255).astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / "a.png", exif=exif)
    # Computed from the pixels as stored (COLMAP): w and h are those of the file.
    as_stored = read_record(capture(tmp_path, ["a.png"], w=12, h=8))
    assert (as_stored.cameras[0].width, as_stored.cameras[0].height) == (12, 8)
    if orientation >= 5:
        np.testing.assert_array_equal(as_stored.pictures[0][:3], stored)
    # Computed from the upright picture: w and h are those that a viewer shows.
    width, height = (8, 12) if orientation >= 5 else (12, 8)
    upright = read_record(capture(tmp_path, ["a.png"], w=width, h=height))
    assert upright.pictures[0].shape == (4, height, width)
    assert upright.pictures[0][0].sum() == 1


def test_depth_for_some_frames_only_is_refused(tmp_path: Path) -> None:
    write_record(small_record(2), tmp_path / "record")
    path = tmp_path / "record" / "transforms.json"
    document = json.loads(path.read_text())
    del document["frames"][0]["depth_file_path"]
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="for all frames or for none, got 1 of 2"):
        read_record(tmp_path / "record")


def test_a_missing_or_foreign_depth_file_is_named(tmp_path: Path) -> None:
    write_record(small_record(1), tmp_path / "record")
    depth = tmp_path / "record" / "depth" / "000.png"
    Image.new("RGB", (24, 18)).save(depth)
    with pytest.raises(UserError, match="16-bit grey PNG, got 24 x 18 of mode RGB"):
        read_record(tmp_path / "record").read_view(0)
    depth.write_bytes(b"")
    with pytest.raises(UserError, match="16-bit grey PNG"):
        read_record(tmp_path / "record").read_view(0)
    depth.unlink()
    with pytest.raises(UserError, match=r"depth/000\.png is missing"):
        read_record(tmp_path / "record")


@pytest.mark.parametrize(
    "archive",
    [
        {"depth": np.zeros((2, 4, 4), np.float16)},
        {"other": np.zeros((1, 4, 4), np.float16)},
        {"depth": np.zeros((1, 4, 4), np.int32)},
        {"depth": np.zeros((4, 4), np.float32)},
        {"depth": np.full((1, 4, 4), np.nan)},
        {"depth": np.full((1, 4, 4), -1.0)},
        {"depth": np.array([{"a": 1}], dtype=object)},
    ],
    ids=range(7),
)
def test_archives_of_depth_that_do_not_fit_are_refused(tmp_path: Path, archive: dict) -> None:
    write_png(tmp_path / "a.png", np.full((3, 8, 12), 0.5))
    np.savez(tmp_path / "depth.npz", **archive)
    with pytest.raises(UserError, match=r"depth\.npz"):
        read_record(capture(tmp_path, ["a.png"]))
    (tmp_path / "depth.npz").write_bytes(b"PK\x03\x04 rubbish")
    with pytest.raises(UserError, match=r"depth\.npz"):
        read_record(capture(tmp_path, ["a.png"]))


def test_depth_and_normals_are_undistorted_with_the_picture(tmp_path: Path) -> None:
    write_record(small_record(1, 48, 36), tmp_path / "record")
    path = tmp_path / "record" / "transforms.json"
    document = json.loads(path.read_text()) | {"camera_model": "OPENCV", "k1": 0.2}
    path.write_text(json.dumps(document))
    plain, bent = small_record(1, 48, 36), read_record(tmp_path / "record").read_view(0)
    assert bent.depth is not None
    assert bent.normals is not None
    assert bent.depth.shape == (36, 48)
    assert bent.camera.fx != plain.cameras[0].fx
    # At the principal point the lens bends nothing, but the picture is stretched about it.
    y, x = math.floor(bent.camera.cy), math.floor(bent.camera.cx)
    near = np.asarray(plain.depth)[0, 8:12, 9:13]
    assert np.abs(near - bent.depth[y, x]).min() < 1e-3


def test_folders_without_a_capture_say_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_record(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"transforms\.json"):
        read_record(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match="got another file"):
        read_record(tmp_path / "a.txt")
    with pytest.raises(UserError, match="no splits"):
        read_record(tmp_path, "train")


def test_a_mirrored_pair_of_views_sees_a_point_once(tmp_path: Path) -> None:
    # Written, read and projected: the asymmetric point lands where the camera in memory put it.
    camera = Camera(40, 30, 35, 33, 18, 16, look_at((1.0, -2.0, 0.5)))
    record = MultiViewRecord([camera], np.ones((1, 4, 30, 40), np.float32))
    write_record(record, tmp_path / "record")
    (read,) = read_record(tmp_path / "record").cameras
    points = np.array([(0.1, 0.2, 0.3), (-0.3, 0.1, -0.2)])
    np.testing.assert_allclose(read.project(points)[0], camera.project(points)[0], atol=1e-9)


def test_the_depth_unit_is_nerfstudios() -> None:
    assert depth_files.DEPTH_UNIT == 0.001
