"""The tables of what rendering through Blender costs and survives."""

from pathlib import Path

import pytest

from benchmarks.blender import table
from benchmarks.blender_kills import contents, write_models
from benchmarks.blender_kills import table as table_of_kills


def test_every_job_has_a_row_and_every_figure_its_column() -> None:
    shares = {"import": 0.05, "colours": 0.8, "geometry": 0.1, "write": 0.02}
    job = {"models": 12, "workers": 2, "views": 6, "resolution": 128, "wall_seconds": 20.04, "shares": shares}
    fast = {"models": 12, "views": 6, "resolution": 128, "wall_seconds": 1.0, "objects_an_hour": 9000.0}
    shown = table(
        {
            "blender": [job | {"cycles_seconds": 36.0, "over_cycles": 1.1133, "objects_an_hour": 2156.4}],
            "fast": fast | {"shares": {"import": 0.2, "render": 0.3, "write": 0.5}},
        }
    ).splitlines()
    assert len({line.count("|") for line in shown}) == 1
    assert shown[2] == "| Cycles | 12 | 2 | 6 | 128 | 20.0 | 36.0 | 1.11 | 2156 | 5% | 90% | 2% |"
    assert shown[3] == "| fast renderer | 12 | 1 | 6 | 128 | 1.0 | | | 9000 | 20% | 30% | 50% |"


def test_kills_are_shown_by_what_was_killed() -> None:
    count = {"kills": 17, "completed": 17, "equal": 16, "half_written": 0, "rendered_twice": 1}
    assert table_of_kills({"by_victim": {"worker": count}}).splitlines()[-1] == "| worker | 17 | 17 | 16 | 0 | 1 |"


@pytest.mark.parametrize("changed", [b"other", None])
def test_another_byte_in_a_record_is_seen_and_hidden_folders_are_not(tmp_path: Path, changed: bytes | None) -> None:
    (tmp_path / "record").mkdir()
    (tmp_path / ".work").mkdir()
    (tmp_path / "report.json").write_bytes(b"no record")
    file = tmp_path / "record" / "000.png"
    file.write_bytes(b"one")
    before = contents(tmp_path)
    assert list(before) == ["record/000.png"]
    if changed:
        file.write_bytes(changed)
    (tmp_path / ".work" / "raw").write_bytes(b"raw")
    assert (contents(tmp_path) == before) == (changed is None)


def test_the_models_of_a_job_differ(tmp_path: Path) -> None:
    write_models(tmp_path, 3)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 3
