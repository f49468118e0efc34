import pytest

from benchmarks.cluster import _digest, cost, table


def test_the_cost_of_many_is_that_of_one_times_their_number() -> None:
    found = cost(3_600_000, 2.0, 1_000_000, 250_000)
    assert (found["core_hours"], found["record_terabytes"], found["shard_terabytes"]) == (2000, 3.6, 0.9)
    job = {"models": 6, "views": 12, "resolution": 256, "samples": 32}
    rows = [{"job": "two nodes", "seconds": 61.25, "same": 6}]
    lines = table({**job, "jobs": rows, **found}).splitlines()
    assert "| two nodes | 61.2 | 6 of 6 |" in lines
    assert lines[-2:] == [
        "| one object | 2.0 s | 1.00 MB | 0.25 MB |",
        "| 3,600,000 objects | 2,000 h | 3.60 TB | 0.90 TB |",
    ]


@pytest.mark.parametrize("change", ["content", "name", "further file"])
def test_records_that_differ_in_anything_differ_in_their_hash(change: str, tmp_path) -> None:
    for record in ("one", "other"):
        (tmp_path / record).mkdir()
        (tmp_path / record / "a").write_text("x")
        (tmp_path / record / "b").write_text("y")
    assert _digest(tmp_path / "one") == _digest(tmp_path / "other")
    match change:
        case "content":
            (tmp_path / "other" / "b").write_text("z")
        case "name":
            (tmp_path / "other" / "b").rename(tmp_path / "other" / "c")
        case _:
            (tmp_path / "other" / "c").write_text("")
    assert _digest(tmp_path / "one") != _digest(tmp_path / "other")
