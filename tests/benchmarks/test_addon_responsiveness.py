from pathlib import Path

import pytest

from benchmarks import addon_responsiveness
from distill_core.errors import UserError


def test_gaps_are_those_between_ticks() -> None:
    gaps = addon_responsiveness._gaps([0.0, 0.01, 0.02, 0.22, 0.23], [])
    assert gaps["ticks"] == 4
    assert gaps["median_gap_seconds"] == pytest.approx(0.01)
    assert gaps["longest_gap_seconds"] == gaps["longest_gap_as_it_was_seconds"] == pytest.approx(0.2)
    assert gaps["watched_seconds"] == pytest.approx(0.23)


def test_what_the_machine_stood_still_is_no_gap_of_ours() -> None:
    """Two standstills in the longest gap, one that began before the first tick, one after the last."""
    still = [(-1.0, 0.005), (0.05, 0.15), (0.16, 0.2), (0.5, 0.6)]
    gaps = addon_responsiveness._gaps([0.0, 0.01, 0.02, 0.22, 0.29], still)
    assert gaps["longest_gap_seconds"] == pytest.approx(0.07)
    assert gaps["longest_gap_as_it_was_seconds"] == pytest.approx(0.2)
    assert gaps["stood_still_seconds"] == pytest.approx(0.005 + 0.1 + 0.04)


def test_the_table_shows_each_job_beside_the_window_without_it() -> None:
    parts = ("before", "until_result", "from_result", "after")
    watched = {"stood_still_seconds": 0.25, "watched_seconds": 10.0}
    job = {
        part: {"longest_gap_seconds": 0.1 * number, "longest_gap_as_it_was_seconds": 0.1 * number, **watched}
        for number, part in enumerate(parts, start=1)
    }
    job["until_result"]["longest_gap_as_it_was_seconds"] = 0.45
    names = ("generate_views", "make_splats", "texture_mesh")
    page = addon_responsiveness.table(
        {
            "blender": "4.3.2",
            "window": "1024x700",
            "standstill_watched": True,
            "longest_tick_seconds": 0.005,
            "longest_undo_seconds": 0.002,
            "draws": {"A": (10, 0.0004), "B": (7, 0.0005)},
            **{name: {**job, "press_seconds": 0.001 * number} for number, name in enumerate(names)},
        }
    )
    lines = page.splitlines()
    assert lines[2:5] == [
        f"| {label} | 100 | 200 (450) | 300 | 400 |" for label in ("Generate views", "Make splats", "Texture mesh")
    ]
    assert "stood still for 3.0 s of 120 s" in page
    assert "longest tick: 5 ms; a button pressed: 2 ms; Blender's step of undo for a result: 2 ms" in lines[-1]
    assert "all panels drawn: 0.9 ms" in lines[-1]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        addon_responsiveness.run(addon_responsiveness.Settings(window_program=tmp_path / "no.sh"))
