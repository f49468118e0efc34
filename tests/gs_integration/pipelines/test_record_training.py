"""Training on records and shards: the same draws, killed and resumed with equal losses."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill_core.distillation.training_log import read_log
from distill_core.errors import UserError
from distill_core.models.checkpoint_loading import load_generator
from distill_core.progress import SilentProgress
from gs_integration.pipelines.make_shards import make_shards
from gs_integration.pipelines.report import recorded_run
from gs_integration.pipelines.shard_settings import ShardSettings
from tests.distill_core.records.record_folders import write_balls
from tests.gs_integration.pipelines.record_training import run

STEPS = 6


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_balls(folder, 4, num_views=8, side_px=32)
    return folder


@pytest.fixture(scope="module")
def shards(records: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "shards"
    with recorded_run(SilentProgress()) as job:
        make_shards(records, ShardSettings(picture_format="png", shard_mib=0.05), folder, job)
    return folder


def losses(folder: Path, stage: str) -> dict[int, float]:
    return {int(row["step"]): row["loss"] for row in read_log(folder / stage / "log.jsonl") if "loss" in row}


def test_a_training_killed_and_resumed_has_the_losses_of_one_that_was_not(shards: Path, tmp_path: Path) -> None:
    checkpoint = run(str(shards), tmp_path / "whole", STEPS)
    assert load_generator(checkpoint).settings.view.resolution_px == 32
    killed = tmp_path / "killed"
    program = [sys.executable, "-m", "tests.gs_integration.pipelines.record_training", str(shards), str(killed)]
    process = subprocess.Popen([*program, str(STEPS)], cwd=Path(__file__).parents[3])
    try:
        log = killed / "solid" / "log.jsonl"
        while not (log.exists() and len(log.read_text().splitlines()) >= 3):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    run(str(shards), killed, STEPS)
    for stage in ("solid", "denoising"):
        assert losses(killed, stage) == losses(tmp_path / "whole", stage)
        assert len(losses(killed, stage)) == STEPS


def test_records_are_told_apart_from_shards_and_changed_data_from_the_old(
    records: Path, shards: Path, tmp_path: Path
) -> None:
    run(str(records), tmp_path / "folders", 2)
    run(str(shards), tmp_path / "shards", 2)
    assert losses(tmp_path / "folders", "solid").keys() == {0, 1}
    with pytest.raises(UserError, match="Expected to continue the training"):
        run(str(records), tmp_path / "shards", 2)


def test_shards_are_whole_or_absent_and_replace_only_shards(records: Path, shards: Path, tmp_path: Path) -> None:
    names = {file.name for file in shards.iterdir()}
    index = json.loads((shards / "shards.json").read_text())
    assert names == {"shards.json", "report.json", *(shard["file"] for shard in index["shards"])}

    class Stop(SilentProgress):
        def advance(self, n: int = 1, preview=None) -> None:
            raise KeyboardInterrupt

    target = tmp_path / "set"
    with recorded_run(Stop()) as job, pytest.raises(KeyboardInterrupt):
        make_shards(records, ShardSettings(), target, job)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):  # an older set gives way
        with recorded_run(SilentProgress()) as job:
            assert make_shards(records, ShardSettings(val_share=0), target, job).counts["train"]["records"] == 4
    (target / "thesis.txt").write_text("years of work")
    with recorded_run(SilentProgress()) as job, pytest.raises(UserError, match=r"thesis\.txt"):
        make_shards(records, ShardSettings(), target, job)


def test_a_record_that_cannot_be_packed_is_named(records: Path, tmp_path: Path) -> None:
    whole = sorted(records.iterdir())[:3]
    (tmp_path / "records").mkdir()
    for folder in whole:
        (tmp_path / "records" / folder.name).symlink_to(folder)
    broken = tmp_path / "records" / "broken"
    (broken / "images").mkdir(parents=True)
    (broken / "transforms.json").write_bytes((whole[0] / "transforms.json").read_bytes())
    with recorded_run(SilentProgress()) as job:
        result = make_shards(tmp_path / "records", ShardSettings(), tmp_path / "set", job)
    assert list(result.left_out) == ["broken"]
    assert "pictures are missing" in result.left_out["broken"]
    report = json.loads((tmp_path / "set" / "report.json").read_text())
    assert report["left_out"] == result.left_out
    assert sum(count["records"] for count in report["counts"].values()) == 3
