from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import orbit_rig
from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from distill_core.records.multi_view_record import MultiViewRecord, write_record
from gs_integration.fitting.settings import FitRecordSettings, capture_settings
from gs_integration.pipelines.fit_record import fit_record

SHORT = FitRecordSettings(
    fit=capture_settings(iterations=40, num_splats=600, max_splats=800, refinements=2, harmonics_degree=0),
    resolution=64,
    turntable_frames=0,
)


def short(**changes) -> FitRecordSettings:
    return SHORT.model_copy(update=changes)


def test_the_chair_is_fitted_to_its_train_file_and_compared_with_its_test_file(shared_assets: Path):
    result = fit_record(shared_assets / "captures" / "nerf_synthetic_chair", SHORT, SilentProgress())
    assert (len(result.fitted.cameras), len(result.scores)) == (80, 20)
    assert result.begun_from == "hull"
    assert (result.fitted.cameras[0].width, result.fitted.cameras[0].height) == (64, 64)
    # An empty white picture scores 11 dB, the coloured hull alone 22.
    assert result.mean("psnr") > 22
    assert result.mean("psnr_inside") < result.mean("psnr")
    assert 0.7 < result.mean("ssim") < 1


def test_a_colmap_capture_begins_at_its_points_and_leaves_every_fifth_view_out(shared_assets: Path):
    result = fit_record(shared_assets / "captures" / "fox" / "sparse" / "0", short(resolution=48), SilentProgress())
    assert (len(result.fitted.cameras), len(result.scores)) == (40, 10)
    assert result.begun_from == "points"
    assert result.mean("psnr") > 12
    assert (result.fitted.cameras[0].width, result.fitted.cameras[0].height) == (27, 48)


def test_points_of_a_colmap_model_in_another_world_are_not_taken(shared_assets: Path):
    fox = shared_assets / "captures" / "fox"
    with pytest.raises(UserError, match="COLMAP"):
        fit_record(fox, short(begin_from="points", resolution=24), SilentProgress())


def test_photographs_without_alpha_have_no_hull(tmp_path: Path):
    cameras = orbit_rig(6, width=32, height=24)
    pictures = np.random.default_rng(0).random((6, 4, 24, 32)).astype(np.float32)
    pictures[:, 3] = 1
    write_record(MultiViewRecord(cameras, pictures), tmp_path / "record")
    settings = FitRecordSettings(fit=SHORT.fit.model_copy(update={"iterations": 5}), holdout_every=0)
    result = fit_record(tmp_path / "record", settings, SilentProgress())
    assert result.begun_from == "agreement"
    assert result.scores == []
    assert np.isnan(result.mean("psnr"))
    # Pictures are never enlarged.
    assert result.fitted.cameras[0].width == 32


def test_silhouettes_without_an_object_are_refused(tmp_path: Path):
    cameras = orbit_rig(4, width=32, height=32)
    write_record(MultiViewRecord(cameras, np.zeros((4, 4, 32, 32), np.float32)), tmp_path / "record")
    with pytest.raises(UserError, match="silhouettes"):
        fit_record(tmp_path / "record", SHORT, SilentProgress())


def test_a_scene_that_moves_is_refused(tmp_path: Path):
    pictures = np.full((4, 4, 16, 16), 0.5, np.float32)
    cameras = orbit_rig(4, elevations_degrees=(10.0,), width=16, height=16)
    write_record(MultiViewRecord(cameras, pictures, times=[0.0, 0.0, 1.0, 1.0]), tmp_path / "moving")
    with pytest.raises(UserError, match="one moment, got 2 moments"):
        fit_record(tmp_path / "moving", SHORT, SilentProgress())


def test_pictures_from_one_place_are_refused(tmp_path: Path):
    (camera,) = orbit_rig(1, width=32, height=32)
    write_record(MultiViewRecord([camera, camera], np.ones((2, 4, 32, 32), np.float32)), tmp_path / "still")
    with pytest.raises(UserError, match=r"at least two places.*image_to_3dgs"):
        fit_record(tmp_path / "still", short(holdout_every=0), SilentProgress())


def test_pictures_too_small_to_be_compared_are_refused_before_the_fit(tmp_path: Path):
    cameras = orbit_rig(10, width=64, height=36)
    write_record(MultiViewRecord(cameras, np.ones((10, 4, 36, 64), np.float32)), tmp_path / "small")
    with pytest.raises(UserError, match=r"at least 11 x 11 pixels to compare, got 16 x 9"):
        fit_record(tmp_path / "small", short(resolution=16), SilentProgress())
