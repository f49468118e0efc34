import json
from pathlib import Path

import pytest

from benchmarks.texture_from_picture import Settings, run, table
from benchmarks.texturing_models import meshes_with_pictures
from distill_core.errors import UserError


def settings(shared_assets: Path, folder: Path, **changes) -> Settings:
    values = {"only": ("eval/Duck",), "num_views": 3, "texture_size": 64, "turntable_frames": 2, **changes}
    return Settings(assets=shared_assets, folder=folder, **values)


def test_meshes_of_all_three_folders_are_measured(shared_assets: Path) -> None:
    names = [name for name, _ in meshes_with_pictures(shared_assets, 6)]
    assert len(names) == len(set(names)) == 14 + 11 + 6
    # Sorted by SHA-256 of the name with another program, once.
    assert names[-6:-3] == ["val/market_cookie_chocolate", "val/gazebo_mars_rover", "val/gazebo_cardboard_box"]


def test_a_mesh_gets_a_row_and_a_second_run_measures_nothing_again(shared_assets: Path, tmp_path: Path) -> None:
    first = run(settings(shared_assets, tmp_path))
    (row,) = first["meshes"]
    assert row["picture_lifted"] == "pixels"
    assert row["seconds"] == pytest.approx(sum(row["stages"].values()) - row["unwrapping_seconds"], abs=1.0)
    assert row["textured_share"] > 0.9
    assert (tmp_path / "results" / "eval" / "Duck" / "textured.glb").exists()
    assert (tmp_path / "comparison.png").exists()
    assert f"| `eval` | 1 | {row['unwrapping_seconds']:.1f} (Duck) |" in table(first)
    # What the file says is believed: nothing was measured anew.
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join([rows[0], json.dumps(json.loads(rows[1]) | {"seconds": 1234.5})]))
    assert run(settings(shared_assets, tmp_path))["most_seconds"] == 1234.5


def test_the_table_names_the_worst_of_every_folder() -> None:
    names = ("mesh", "unwrapping_seconds", "seconds", "textured_share", "consistency_psnr", "seam_ratio")
    values = [("eval/a", 1, 9, 0.95, 33, 1), ("eval/b", 1, 12, 0.99, 31, 2), ("val/c", 1, 3, 1, 40, 4)]
    rows = [dict(zip(names, each, strict=True)) for each in values]
    lines = table({"meshes": rows}).splitlines()
    assert lines[2] == "| `eval` | 2 | 1.0 (a) | 12.0 (b) | 95.0 % (a) | 31.0 (b) | 1.50 |"
    assert lines[3].startswith("| `val` | 1 |")
    assert lines[4] == "| **all** | 3 | 1.0 (a) | 12.0 (b) | 95.0 % (a) | 31.0 (b) | 2.00 |"


def test_meshes_that_are_not_there_are_named(shared_assets: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="got eval/unicorn"):
        run(settings(shared_assets, tmp_path, only=("eval/unicorn",)))
    with pytest.raises(UserError, match="is not there"):
        run(settings(tmp_path, tmp_path / "out"))
