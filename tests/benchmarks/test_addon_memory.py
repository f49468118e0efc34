from pathlib import Path

import pytest

from benchmarks import addon_memory
from distill_core.errors import UserError


def test_growth_is_counted_from_the_end_of_the_warming_up() -> None:
    assert addon_memory._growth([500, 1000, 1010, 900, 1050]) == pytest.approx(0.05)
    assert addon_memory._growth([1, 100, 100]) == 0


def test_the_table_shows_every_job_with_both_histories() -> None:
    bytes_ = {"untrimmed_bytes": 5_000_000, "blender_bytes": 2_000_000}
    jobs = [{"worker_bytes": 1_000_000 * number, **bytes_} for number in range(1, 5)]
    short = {
        "undo_steps": 2,
        "jobs": jobs,
        "worker_growth": 1.0,
        "untrimmed_growth": 0.2,
        "blender_growth": -0.001,
    }
    own = {
        "undo_steps": 32,
        "jobs": [{**job, "untrimmed_bytes": 6_000_000, "blender_bytes": 3_000_000} for job in jobs],
        "worker_growth": 0.5,
        "untrimmed_growth": 0.08,
        "blender_growth": 0.05,
    }
    page = addon_memory.table(
        {
            "short_history": {**short, "allocated_bytes_a_job": 10_000.0},
            "own_history": {**own, "allocated_bytes_a_job": 1_750_000.0},
        }
    )
    assert page.splitlines()[2:7] == [
        "| warm-up | 1 | 5 | 2 | 6 | 3 |",
        "| warm-up | 2 | 5 | 2 | 6 | 3 |",
        "| 1 | 3 | 5 | 2 | 6 | 3 |",
        "| 2 | 4 | 5 | 2 | 6 | 3 |",
        "| **growth** | +100.0% | +20.0% | -0.1% | +8.0% | +5.0% |",
    ]
    assert "0.01 MB" in page
    assert "1.75 MB" in page


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        addon_memory.run(addon_memory.Settings(picture=tmp_path / "no.png"))
