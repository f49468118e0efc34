import csv
import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import orbit_rig
from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from distill_core.records.multi_view_record import MultiViewRecord, write_record
from gs_integration.fitting.settings import capture_settings
from scripts.fit_splats import FitSplats, main
from tests.scripts.processes import run_program

FILES = {"splats.ply", "report.json", "preview.png", "turntable.mp4"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey ball with coloured halves, eight views."""
    folder = tmp_path_factory.mktemp("capture") / "record"
    cameras = orbit_rig(8, elevations_degrees=(0.0,), width=40, height=40)
    rows, columns = np.mgrid[:40, :40] - 19.5
    ball = (rows**2 + columns**2 < 100).astype(np.float32)
    pictures = np.stack([np.stack([ball * (rows > 0), ball * 0.5, ball * (rows <= 0), ball]) for _ in cameras])
    write_record(MultiViewRecord(cameras, pictures.astype(np.float32)), folder)
    return folder


def settings(record: Path, output_dir: Path) -> FitSplats:
    fit = capture_settings(iterations=30, num_splats=300, max_splats=400, refinements=2)
    return FitSplats(record_dir=record, output_dir=output_dir, fit=fit, turntable_frames=3, holdout_every=4)


def test_a_record_becomes_splats_with_their_report(record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(settings(record, tmp_path / "out"), SilentProgress())
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["views"] == {"fitted": 6, "held_out": 2, "sizes_px": [[40, 40]]}
    assert report["begun_from"] == "hull"
    assert report["held_out"]["psnr"] > 15
    assert len(report["held_out"]["views"]) == 2
    assert report["settings"]["fit"]["iterations"] == 30
    header = (tmp_path / "out" / "splats.ply").read_bytes()[:600]
    assert b"Axes: z-up" in header
    assert f"element vertex {report['splats']['count']}".encode() in header
    # The table that README shows.
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == 3


def test_the_same_seed_writes_the_same_splats_over_an_earlier_result(record: Path, tmp_path: Path):
    written = []
    for _ in range(2):
        main(settings(record, tmp_path / "out"), SilentProgress())
        written.append((tmp_path / "out" / "splats.ply").read_bytes())
    assert written[0] == written[1]


def test_files_of_others_are_left_alone(record: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        main(settings(record, tmp_path), SilentProgress())
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_captures_do_what_their_list_expects(shared_assets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with (shared_assets / "bad_inputs" / "README.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["file"].startswith("capture_")]
    assert len(rows) >= 14
    for row in rows:
        caplog.clear()
        folder = Path(row["file"]).parent
        job = settings(shared_assets / "bad_inputs" / folder, tmp_path / folder)
        if row["expected"] == "error":
            with pytest.raises(UserError) as refusal:
                main(job, SilentProgress())
            assert "\n" not in str(refusal.value)
            assert not (tmp_path / folder).exists(), row["file"]
        else:
            main(job.model_copy(update={"holdout_every": 0}), SilentProgress())
            assert (row["expected"] == "warning") == (len(caplog.records) == 1), row["file"]
            assert {file.name for file in (tmp_path / folder).iterdir()} == FILES


def test_a_capture_that_cannot_be_used_ends_in_one_sentence(tmp_path: Path):
    status, output, error = run_program(
        ["scripts/fit_splats.py", "no_such_folder", "--output-dir", str(tmp_path / "o")]
    )
    assert (status, output) == (2, "")
    assert "does not exist" in error
    assert "Traceback" not in error
    assert not (tmp_path / "o").exists()
