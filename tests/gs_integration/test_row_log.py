import json
from pathlib import Path

from gs_integration.row_log import RowLog


def test_rows_outlive_a_stopped_run_and_its_half_written_line(tmp_path: Path):
    file = tmp_path / "new" / "rows.jsonl"
    log = RowLog(file, {"seed": 1}, ("mesh", "steps"))
    log.add({"mesh": "duck", "steps": 1, "psnr": 20.5})
    log.add({"mesh": "duck", "steps": 8, "psnr": 21.5})
    with file.open("a") as stream:
        stream.write('{"mesh": "cow", "ste')
    again = RowLog(file, {"seed": 1}, ("mesh", "steps"))
    assert [row["psnr"] for row in again.rows.values()] == [20.5, 21.5]
    assert again.rows["duck", "8"]["psnr"] == 21.5
    again.add({"mesh": "cow", "steps": 1, "psnr": 22.5})
    assert len(RowLog(file, {"seed": 1}, ("mesh", "steps")).rows) == 3


def test_only_a_line_feed_ends_a_row(tmp_path: Path):
    row = {"mesh": "du\x85ck\u2028\u2029"}
    # JSON allows these characters as they are.
    (tmp_path / "rows.jsonl").write_text("{}\n" + json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert list(RowLog(tmp_path / "rows.jsonl", {}, ("mesh",)).rows.values()) == [row]
    assert list(RowLog(tmp_path / "rows.jsonl", {}, ("mesh",)).rows.values()) == [row]


def test_rows_of_other_settings_are_discarded(tmp_path: Path):
    RowLog(tmp_path / "rows.jsonl", {"checkpoint": "a"}, ("mesh",)).add({"mesh": "duck"})
    assert not RowLog(tmp_path / "rows.jsonl", {"checkpoint": "b"}, ("mesh",)).rows
    assert not RowLog(tmp_path / "rows.jsonl", {"checkpoint": "a"}, ("mesh",)).rows


def test_lines_that_name_no_row_are_left_out(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{}\n3\n{"other": 1}\n{"mesh": "duck"}\n')
    assert list(RowLog(tmp_path / "rows.jsonl", {}, ("mesh",)).rows) == [("duck",)]
