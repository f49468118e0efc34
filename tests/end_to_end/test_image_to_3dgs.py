import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.errors import UserError
from distill_core.metrics import psnr
from distill_core.pictures.images import composite, read_picture
from distill_core.records.multi_view_record import read_record
from gs_integration.formats.by_ending import read_splat_file
from gs_integration.formats.ply import read_ply
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats
from tests.end_to_end.jobs import SPLAT_FILES, entries, make_splats
from tests.gs_integration.films import film_frames


@pytest.fixture(scope="module")
def backpack(shared_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backpack") / "out"
    assert make_splats(shared_assets / "pictures" / "backpack.png", folder, "--elevation-degrees", "20") == 0
    return folder


def test_everything_that_was_promised_is_written(backpack: Path):
    assert entries(backpack) == SPLAT_FILES
    assert entries(backpack / "views") == {f"{view:03d}.png" for view in range(4)}
    assert entries(backpack.parent) == {"out"}
    report = json.loads((backpack / "report.json").read_text())
    assert report["elevation_degrees"] == 20
    assert report["elevation_estimated"] is False
    assert report["background_removed_by"] == "alpha"
    assert report["settings"]["views"]["generator"]["seed"] == 0
    assert len(report["checkpoint"]["sha256"]) == 64
    assert {"picture", "views", "splats", "turntable", "total"} <= set(report["seconds"])
    assert report["versions"]["torch"] == torch.__version__
    assert len(film_frames(backpack / "turntable.mp4", 384)) == 2


def test_the_record_holds_the_picture_and_the_views_that_face_the_object(backpack: Path):
    record = read_record(backpack)
    assert list(record.names) == ["input.png", *(f"views/{view:03d}.png" for view in range(4))]
    for index, camera in enumerate(record.cameras):
        rgba = record.pictures[index]
        assert rgba.shape == (4, camera.height, camera.width)
        pixels, depth = camera.project(np.zeros((1, 3)))
        np.testing.assert_allclose(pixels[0], [camera.width / 2, camera.height / 2], atol=1e-6)
        # Field of view 40 degrees: the unit ball touches the edges from 1 / sin(20 degrees).
        np.testing.assert_allclose(depth, 1 / np.sin(np.radians(20)), atol=1e-9)
    heights = [camera.position[2] for camera in record.cameras]
    np.testing.assert_allclose(heights[0], np.sin(np.radians(20)) / np.sin(np.radians(20)), atol=1e-9)
    assert min(heights[1:]) < 0 < max(heights[1:])


def test_the_file_of_splats_shows_the_picture_from_the_camera_in_transforms_json(backpack: Path):
    """Nothing but files: splats.ply, turned as transforms.json says, must score what report.json claims."""
    transforms = json.loads((backpack / "transforms.json").read_text())["onestep3d"]
    arrays = read_ply(backpack / "splats.ply").splats.transformed(np.array(transforms["splats_to_world"]))
    names = ("means", "quaternions_wxyz", "log_scales", "opacity_logits", "harmonics")
    splats = Splats(**{name: torch.from_numpy(np.asarray(getattr(arrays, name), np.float32)) for name in names})
    camera = read_record(backpack).cameras[0]
    colour = rasterize(splats, [camera], torch.ones(3), backend="cpu").colour[0].clamp(0, 1)
    truth = composite(read_picture(backpack / "input.png").rgba)
    report = json.loads((backpack / "report.json").read_text())
    # input.png holds 8 bits a channel, and float32 is turned twice: far less than a hundredth of the error itself.
    assert float(psnr(colour.numpy(), truth)) == pytest.approx(report["source_view"]["psnr"], abs=0.05)
    assert report["source_view"]["psnr"] > 14


def test_y_points_down_in_the_file_unless_asked_otherwise(backpack: Path, shared_assets: Path, tmp_path: Path):
    picture = shared_assets / "pictures" / "backpack.png"
    also = ["--also-formats", "spz", "splat", "glb"]
    make_splats(picture, tmp_path / "z", "--elevation-degrees", "20", "--axes", "z-up", *also)
    assert entries(tmp_path / "z") == SPLAT_FILES | {"splats.spz", "splats.splat", "splats.glb"}
    down, up = (read_ply(folder / "splats.ply").splats for folder in (backpack, tmp_path / "z"))
    np.testing.assert_allclose(down.means[:, [0, 2]], up.means[:, [0, 1]], atol=1e-6)
    np.testing.assert_allclose(down.means[:, 1], -up.means[:, 2], atol=1e-6)
    matrix = json.loads((tmp_path / "z" / "transforms.json").read_text())["onestep3d"]["splats_to_world"]
    np.testing.assert_array_equal(matrix, np.eye(4))
    for name in ("splats.spz", "splats.glb"):
        means = read_splat_file(tmp_path / "z" / name).splats.in_axes("z-up").means
        np.testing.assert_allclose(means, up.means, atol=2e-6)
    means = read_splat_file(tmp_path / "z" / "splats.splat").splats.in_axes("z-up").means  # sorted by size
    np.testing.assert_allclose(np.sort(means, axis=0), np.sort(up.means, axis=0), atol=2e-6)


def test_one_seed_gives_the_same_bytes_whatever_the_threads(backpack: Path, shared_assets: Path, tmp_path: Path):
    picture = shared_assets / "pictures" / "backpack.png"
    make_splats(picture, tmp_path / "again", "--elevation-degrees", "20")
    assert (tmp_path / "again" / "splats.ply").read_bytes() == (backpack / "splats.ply").read_bytes()
    assert (tmp_path / "again" / "preview.png").read_bytes() == (backpack / "preview.png").read_bytes()
    make_splats(picture, tmp_path / "other", "--elevation-degrees", "20", "--seed", "1")
    assert (tmp_path / "other" / "splats.ply").read_bytes() != (backpack / "splats.ply").read_bytes()


@pytest.mark.parametrize(("name", "method"), [("robot.jpg", "border"), ("elephant.jpg", "grabcut")])
def test_pictures_with_a_background(name: str, method: str, shared_assets: Path, tmp_path: Path):
    assert make_splats(shared_assets / "pictures" / name, tmp_path / "out") == 0
    assert entries(tmp_path / "out") == SPLAT_FILES
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["background_removed_by"] == method
    assert report["elevation_estimated"] is True
    assert -30 <= report["elevation_degrees"] <= 90
    alpha = read_picture(tmp_path / "out" / "input.png").rgba[3]
    assert 0.1 < (alpha > 0.5).mean() < 0.8


def test_a_viewer_for_a_whole_folder_is_refused(shared_assets: Path, tmp_path: Path):
    with pytest.raises(UserError, match="one picture with --viewer"):
        make_splats(shared_assets / "pictures", tmp_path / "out", "--viewer")
