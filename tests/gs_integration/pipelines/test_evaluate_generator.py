import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.metrics import psnr
from distill_core.pictures.images import composite
from distill_core.progress import SilentProgress
from distill_core.records.multi_view_record import write_record
from gs_integration.evaluation import SOURCE_VIEW, TARGET_VIEWS
from gs_integration.pipelines.evaluate_generator import evaluate_generator
from gs_integration.pipelines.settings import EvaluationSettings
from tests.distill_core.records.record_folders import ball_record


def write_balls(folder: Path, *seeds: int) -> dict[str, float]:
    """Objects ball-0, ball-1, ... whose views differ in colour; the PSNR of the copied source for each."""
    expected = {}
    for number, seed in enumerate(seeds):
        record = ball_record(seed, num_views=16, side_px=128, with_depth=False)
        brightness = np.random.default_rng(seed).uniform(0.2, 1, 16).astype(np.float32)
        pictures = np.stack(list(record.pictures))
        pictures[:, :3] *= brightness[:, None, None, None]
        pictures = np.round(pictures * 255) / 255  # as files hold them
        write_record(type(record)(record.cameras, pictures, metadata=record.metadata), folder / f"ball-{number}")
        truth = composite(pictures[list(TARGET_VIEWS)], 1.0)
        copied = np.broadcast_to(composite(pictures[SOURCE_VIEW], 1.0), truth.shape)
        expected[f"ball-{number}"] = float(
            np.mean([psnr(one, other) for one, other in zip(copied, truth, strict=True)])
        )
    return expected


def measured(data: Path, output: Path, **options) -> tuple[int, float]:
    settings = EvaluationSettings(data=data, baseline=("copy",), **options)
    summary = evaluate_generator(settings, output, SilentProgress())["copy"]
    assert json.loads((output / "metrics.json").read_text())["methods"]["copy"]["objects"] == summary.objects
    return summary.objects, summary.figures["psnr"]


def test_other_data_under_the_same_names_is_measured_anew(tmp_path: Path) -> None:
    first, second = write_balls(tmp_path / "first", 1, 2), write_balls(tmp_path / "second", 3, 4)
    for data, expected in (("first", first), ("second", second), ("first", first)):
        objects, found = measured(tmp_path / data, tmp_path / "out")
        assert objects == 2
        assert found == pytest.approx(np.mean(list(expected.values())), abs=1e-3)


def test_a_summary_is_of_the_objects_that_were_asked_for(tmp_path: Path) -> None:
    expected = write_balls(tmp_path / "data", 1, 2, 3)
    assert measured(tmp_path / "data", tmp_path / "out")[0] == 3
    objects, found = measured(tmp_path / "data", tmp_path / "out", limit=1)
    assert objects == 1
    assert any(found == pytest.approx(value, abs=1e-3) for value in expected.values())
    assert measured(tmp_path / "data", tmp_path / "elsewhere", limit=1) == (objects, found)
