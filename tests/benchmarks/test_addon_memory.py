from pathlib import Path

import pytest

from benchmarks import addon_memory
from distill_core.errors import UserError


def test_growth_is_counted_from_the_end_of_the_warming_up() -> None:
    assert addon_memory._growth([500, 1000, 1010, 900, 1050]) == pytest.approx(0.05)
    assert addon_memory._growth([1, 100, 100]) == 0


def test_the_table_shows_every_job_with_both_histories() -> None:
    jobs = [{"worker_bytes": 1_000_000 * number, "blender_bytes": 2_000_000} for number in range(1, 5)]
    short = {"undo_steps": 2, "jobs": jobs, "worker_growth": 1.0, "blender_growth": -0.001}
    later = [{"worker_bytes": 5_000_000, "blender_bytes": 3_000_000 + 1_000_000 * number} for number in range(4)]
    own = {"undo_steps": 32, "jobs": later, "worker_growth": 0.0, "blender_growth": 0.5}
    page = addon_memory.table({"blender": "4.3.2", "short_history": short, "own_history": own})
    assert page.splitlines()[2:] == [
        "| warm-up | 1 | 2 | 5 | 3 |",
        "| warm-up | 2 | 2 | 5 | 4 |",
        "| 1 | 3 | 2 | 5 | 5 |",
        "| 2 | 4 | 2 | 5 | 6 |",
        "| **growth** | +100.0% | -0.1% | +0.0% | +50.0% |",
    ]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        addon_memory.run(addon_memory.Settings(picture=tmp_path / "no.png"))
