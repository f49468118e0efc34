from pathlib import Path

import pytest

from benchmarks import addon_responsiveness
from distill_core.errors import UserError


def test_gaps_are_those_between_ticks() -> None:
    gaps = addon_responsiveness._gaps([0.0, 0.01, 0.02, 0.22, 0.23])
    assert gaps["ticks"] == 4
    assert gaps["median_gap_seconds"] == pytest.approx(0.01)
    assert gaps["longest_gap_seconds"] == pytest.approx(0.2)


def test_the_table_shows_each_job_beside_the_window_without_it() -> None:
    parts = ("before", "until_result", "from_result", "after")
    job = {part: {"longest_gap_seconds": 0.1 * number} for number, part in enumerate(parts, start=1)}
    names = ("generate_views", "make_splats", "texture_mesh")
    page = addon_responsiveness.table(
        {
            "blender": "4.3.2",
            "window": "1024x700",
            "longest_tick_seconds": 0.005,
            "longest_undo_seconds": 0.002,
            "draws": {"A": (10, 0.0004), "B": (7, 0.0005)},
            **{name: {**job, "press_seconds": 0.001 * number} for number, name in enumerate(names)},
        }
    )
    lines = page.splitlines()
    assert lines[2:5] == [
        f"| {label} | 100 | 200 | 300 | 400 |" for label in ("Generate views", "Make splats", "Texture mesh")
    ]
    assert "longest tick: 5 ms; a button pressed: 2 ms; Blender's step of undo for a result: 2 ms" in lines[-1]
    assert "all panels drawn: 0.9 ms" in lines[-1]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        addon_responsiveness.run(addon_responsiveness.Settings(window_program=tmp_path / "no.sh"))
