"""What these programs refuse, what they go on with, and what they leave behind."""

import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill_core.errors import UserError
from distill_core.pictures.images import PICTURE_ENDINGS
from scripts.picture_jobs import result_names
from tests.end_to_end.jobs import SHORT, SPLAT_FILES, TWO_ANGLES, VIEW_FILES, copies, entries, make_splats, make_views
from tests.scripts.processes import REPOSITORY, allowed_seconds, environment, interrupt, run_program, start_program

VIEWS_PROGRAM = str(REPOSITORY / "scripts" / "generate_views.py")
SPLATS_PROGRAM = str(REPOSITORY / "scripts" / "image_to_3dgs.py")


def bad_inputs(assets: Path, endings: frozenset[str]) -> dict[str, str]:
    """What is expected of the files with these endings, from the list beside them."""
    with (assets / "bad_inputs" / "README.csv").open(newline="") as stream:
        return {row["file"]: row["expected"] for row in csv.DictReader(stream) if Path(row["file"]).suffix in endings}


def test_a_folder_of_bad_pictures_does_what_the_list_says(shared_assets: Path, tmp_path: Path):
    expected = bad_inputs(shared_assets, PICTURE_ENDINGS)
    folder = copies([shared_assets / "bad_inputs" / name for name in expected], tmp_path / "pictures")
    status, output, errors = run_program(
        [VIEWS_PROGRAM, str(folder), "--output-dir", str(tmp_path / "out"), *TWO_ANGLES]
    )
    assert status == 2
    assert "Traceback" not in errors
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["left_out"]) == {name for name, what in expected.items() if what == "error"}
    assert set(report["done"]) == {name for name, what in expected.items() if what != "error"}
    for name, reason in report["left_out"].items():
        assert f"left out {name}: {reason}" in output
        assert len(reason.splitlines()) == 1
    names = dict(zip(sorted(expected), result_names([folder / name for name in sorted(expected)]), strict=True))
    assert entries(tmp_path / "out") == {"report.json", *(names[name] for name in report["done"])}
    for name in report["done"]:
        own = json.loads((tmp_path / "out" / names[name] / "report.json").read_text())
        assert bool(own["warnings"]) >= (expected[name] == "warning"), name
        assert entries(tmp_path / "out" / names[name]) == VIEW_FILES


@pytest.mark.parametrize("name", ["truncated.png", "bomb_60000x60000.png"])
def test_a_bad_picture_is_one_sentence_and_status_2(name: str, shared_assets: Path, tmp_path: Path):
    picture = shared_assets / "bad_inputs" / name
    status, output, errors = run_program([SPLATS_PROGRAM, str(picture), "--output-dir", str(tmp_path / "out")])
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("name", ["missing.png", "no/such/folder"])
def test_what_is_not_there_is_named(name: str, tmp_path: Path):
    with pytest.raises(UserError, match=rf"{name} does not exist"):
        make_splats(tmp_path / name, tmp_path / "out")


def test_a_folder_without_pictures_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="found none"):
        make_splats(tmp_path, tmp_path / "out")


def test_every_bad_checkpoint_is_refused(shared_assets: Path, tmp_path: Path):
    for name, what in bad_inputs(shared_assets, frozenset({".safetensors", ".pt"})).items():
        assert what == "error"
        checkpoint = shared_assets / "bad_inputs" / name
        with pytest.raises(UserError) as refusal:
            make_views(shared_assets / "pictures" / "toy_bus.png", tmp_path / "out", "--checkpoint", str(checkpoint))
        assert len(str(refusal.value).splitlines()) == 1
    with pytest.raises(UserError, match="no_such_name"):
        make_views(shared_assets / "pictures" / "toy_bus.png", tmp_path / "out", "--checkpoint", "no_such_name")
    assert entries(tmp_path) == set()


def test_results_never_take_the_place_of_other_files(shared_assets: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        make_views(shared_assets / "pictures" / "toy_bus.png", tmp_path / "out")
    assert entries(tmp_path / "out") == {"thesis.txt"}


def test_one_picture_and_many_do_not_share_a_folder(shared_assets: Path, tmp_path: Path):
    folder = copies([shared_assets / "pictures" / "toy_bus.png"], tmp_path / "out" / "views")
    single = entries(tmp_path / "out")
    status, _, errors = run_program([VIEWS_PROGRAM, str(folder), "--output-dir", str(tmp_path / "out"), *TWO_ANGLES])
    assert status == 2
    assert "the 'views' of one picture" in errors
    assert entries(tmp_path / "out") == single


def test_an_output_folder_that_cannot_be_made_is_one_sentence(shared_assets: Path, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    picture, folder = shared_assets / "pictures" / "toy_bus.png", tmp_path / "file" / "out"
    status, _, errors = run_program([VIEWS_PROGRAM, str(picture), "--output-dir", str(folder)])
    assert status == 2
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("program", [[VIEWS_PROGRAM, *TWO_ANGLES], [SPLATS_PROGRAM, *SHORT]], ids=["views", "splats"])
def test_a_full_disk_leaves_nothing_behind(program: list[str], shared_assets: Path, tmp_path: Path):
    """Files may not grow beyond 2 kB here, which a program notices as it notices a full disk: when it writes."""
    picture = shared_assets / "pictures" / "toy_bus.png"
    ended = subprocess.run(
        [sys.executable, program[0], str(picture), "--output-dir", str(tmp_path / "out"), *program[1:]],
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith("error: ")
    assert entries(tmp_path) == set()


def test_ctrl_c_keeps_the_pictures_that_are_finished(shared_assets: Path, tmp_path: Path):
    files = [shared_assets / "pictures" / name for name in ("toy_bus.png", "toy_turtle.png", "alarm_clock.png")]
    folder = copies(files, tmp_path / "pictures")
    arguments = [SPLATS_PROGRAM, str(folder), "--output-dir", str(tmp_path / "out"), *SHORT, "--iterations", "200"]
    process = start_program(arguments)
    first = tmp_path / "out" / "alarm_clock"
    waited_since = time.monotonic()
    while not first.exists() and process.poll() is None and time.monotonic() - waited_since < 150:
        time.sleep(0.05)
    status, _, errors, seconds = interrupt(process)
    assert status == 130, errors
    assert seconds < allowed_seconds(3.0)
    assert entries(first) == SPLAT_FILES
    assert entries(tmp_path / "out") <= {"alarm_clock", "report.json"}


def test_results_of_namesakes_do_not_meet():
    files = [Path("cup.png"), Path("Cup.jpg"), Path("pot.png")]
    assert result_names(files) == ["cup.png", "Cup.jpg", "pot"]


def test_a_large_photograph_fits_into_memory(tmp_path: Path):
    """Twelve megapixels, EXIF-rotated, as telephones write them; torch itself takes about half of this."""
    rows, columns = np.mgrid[-1:1:3000j, -1:1:4000j]
    photograph = np.full((3000, 4000, 3), 235, np.uint8)
    photograph[np.hypot(rows * 1.4, columns) < 0.7] = (200, 60, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(tmp_path / "photograph.jpg", exif=exif)
    arguments = [VIEWS_PROGRAM, str(tmp_path / "photograph.jpg"), "--output-dir", str(tmp_path / "out"), *TWO_ANGLES]
    measured = (
        f"import resource, runpy, sys\nsys.argv = {arguments!r}\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    status, output, errors = run_program(["-c", measured])
    assert status == 0, errors
    peak_mib = int(output.rpartition("peak ")[2]) / 1024
    assert peak_mib < 2048
    with Image.open(tmp_path / "out" / "input.png") as framed:
        alpha = np.asarray(framed)[..., 3] > 127
    # Upright, the ellipse that lay on its side stands.
    assert alpha.any(axis=1).sum() > 1.3 * alpha.any(axis=0).sum()
