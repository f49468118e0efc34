import json
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from distill_core.cameras import orbit_camera
from gs_integration.evaluation import (
    TARGET_VIEWS,
    ObjectScore,
    ScoreLog,
    angle_between_degrees,
    compare_views,
    copy_source,
    score_object,
    summarise,
    table,
)
from gs_integration.validation_views import ValidationObject, open_validation_set, read_validation_object


def a_score(method: str = "copy", name: str = "cup", psnr: tuple[float, ...] = (10.0, 20.0)) -> ObjectScore:
    ones = [1.0] * len(psnr)
    figures = {
        "psnr": list(psnr),
        "psnr_inside": list(psnr),
        **dict.fromkeys(("ssim", "silhouette_iou", "high_frequency_correlation"), ones),
        "gradient_energy": [1.0, 3.0],
        "true_gradient_energy": [4.0, 4.0],
    }
    return ObjectScore(method, name, 2.0, [30.0, 120.0], figures)


def test_a_constant_error_has_the_psnr_of_its_size():
    truth = np.zeros((1, 4, 32, 32), np.float32)
    truth[:, 3, :16] = 1
    predicted = truth.copy()
    predicted[:, :3, :16] = 0.1
    figures = compare_views(predicted, truth)
    # Half of the pixels are off by 0.1: 20 dB inside, 10 log10(2) better over all.
    np.testing.assert_allclose(figures["psnr_inside"], 20, atol=1e-4)
    np.testing.assert_allclose(figures["psnr"], 20 + 10 * np.log10(2), atol=1e-4)
    assert figures["silhouette_iou"] == [1.0]


def test_copying_view_0_scores_what_another_library_says(shared_assets: Path):
    with open_validation_set(shared_assets / "val_views", limit=1) as folders:
        truth = read_validation_object(folders[0])
    score, predicted = score_object("copy", truth, copy_source)
    assert predicted.shape == (14, 4, 128, 128)
    over_white = [picture[:3] * picture[3] + 1 - picture[3] for picture in truth.pictures]
    for place, view in enumerate(TARGET_VIEWS):
        expected = peak_signal_noise_ratio(over_white[view], over_white[0], data_range=1)
        np.testing.assert_allclose(score.figures["psnr"][place], expected, atol=1e-3)
        similarity = structural_similarity(
            over_white[view],
            over_white[0],
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        np.testing.assert_allclose(score.figures["ssim"][place], similarity, atol=1e-3)
    # View 1 of the ring has the azimuth of view 0, so view 5 (180 degrees further) lies across.
    assert score.angles_degrees[3] > 90


@pytest.mark.parametrize(("azimuth", "angle"), [(0, 0), (90, 90), (180, 180), (-45, 45)])
def test_angles_are_those_of_the_orbit(azimuth: float, angle: float):
    # arccos loses half of float64's digits near 0 and 180 degrees.
    assert angle_between_degrees(orbit_camera(0, 0), orbit_camera(azimuth, 0)) == pytest.approx(angle, abs=1e-5)


def test_views_of_another_shape_or_not_finite_are_refused():
    cameras = [orbit_camera(20 * view, 15) for view in range(16)]
    truth = ValidationObject("cup", cameras, np.zeros((16, 4, 128, 128), np.float32))
    with pytest.raises(ValueError, match="expected finite views"):
        score_object("broken", truth, lambda *_: np.full((14, 4, 128, 128), np.nan, np.float32))
    with pytest.raises(ValueError, match="expected finite views"):
        score_object("broken", truth, lambda *_: np.zeros((14, 4, 64, 64), np.float32))


def test_a_summary_means_over_views_then_objects():
    summary = summarise([a_score(psnr=(10.0, 20.0)), a_score(name="pot", psnr=(30.0, 50.0))])
    assert summary.figures["psnr"] == (15 + 40) / 2
    assert summary.by_angle["<45"]["psnr"] == 20
    assert summary.by_angle[">90"]["psnr"] == 35
    assert summary.views_by_angle == {"<45": 2, "45-90": 0, ">90": 2}
    assert summary.figures["gradient_energy_ratio"] == 8 / 16
    assert summary.by_angle["<45"]["gradient_energy_ratio"] == 0.25
    assert np.isnan(summary.by_angle["45-90"]["psnr"])
    assert "| copy | 2 | 27.50 |" in table({"copy": summary})


def test_scores_outlive_a_stopped_run(tmp_path: Path):
    log = ScoreLog(tmp_path / "scores.jsonl", {"seed": 1})
    log.add(a_score())
    log.add(a_score(name="pot"))
    with (tmp_path / "scores.jsonl").open("a") as file:
        file.write('{"method": "copy", "object_na')
    again = ScoreLog(tmp_path / "scores.jsonl", {"seed": 1})
    assert list(again.scores.values()) == [a_score(), a_score(name="pot")]
    again.add(a_score(name="vase"))
    assert len(ScoreLog(tmp_path / "scores.jsonl", {"seed": 1}).scores) == 3


def test_scores_of_other_weights_are_not_mixed_in(tmp_path: Path):
    ScoreLog(tmp_path / "scores.jsonl", {"checkpoint": "a"}).add(a_score())
    other = ScoreLog(tmp_path / "scores.jsonl", {"checkpoint": "b"})
    assert not other.scores
    assert json.loads((tmp_path / "scores.jsonl").read_text()) == {"checkpoint": "b"}
