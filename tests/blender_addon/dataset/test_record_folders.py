"""Records copied where a person wants them: nothing beside them is touched, nothing old goes for what is not whole."""

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def records(client_module: ModuleType) -> ModuleType:
    return importlib.import_module("onestep3d_addon.dataset.record_folders")


def record(folder: Path, content: str) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "transforms.json").write_text(content)
    (folder / "images" / "000.png").write_text(f"picture of {content}")
    return folder


def files(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    record(tmp_path / "job" / "results" / "a.glb", "new a")
    record(tmp_path / "job" / "results" / "b.glb", "new b")
    return tmp_path / "job" / "results"


def test_records_arrive_whole_and_take_the_place_of_older_ones(
    records: ModuleType, results: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mine" / "records"
    record(target / "b.glb", "old b")
    (target / "b.glb" / "leftover.png").write_text("of the older one")
    (target / "letter.txt").write_text("dear")
    steps = sum(1 for _ in records.copy_records(results, target, {"records": ["a.glb", "b.glb"]}))
    assert steps == 4
    assert files(target) == {
        **{f"{name}.glb/transforms.json": f"new {name}" for name in "ab"},
        **{f"{name}.glb/images/000.png": f"picture of new {name}" for name in "ab"},
        "letter.txt": "dear",
    }
    assert sorted(path.name for path in target.iterdir()) == ["a.glb", "b.glb", "letter.txt"]


@pytest.mark.parametrize(
    "named",
    [
        ["../../precious"],
        ["a.glb", "../precious"],
        ["{precious}"],
        ["."],
        [""],
        ["a.glb/images"],
        ["..\\precious"],
        ["aux"],
        [7],
        [None],
        ["a.glb", "A.glb"],
        "a.glb",
        {"a.glb": 1},
        None,
    ],
)
def test_a_worker_names_records_of_its_result_and_nothing_else(
    named: object, records: ModuleType, results: Path, tmp_path: Path
) -> None:
    """The name that leads out meets a folder that looks like a record, as does what a target holds already."""
    record(tmp_path / "precious", "precious")
    target = tmp_path / "mine" / "records"
    record(target / "a.glb", "old a")
    record(results / "A.glb", "new A")
    if isinstance(named, list):
        named = [name.format(precious=tmp_path / "precious") if isinstance(name, str) else name for name in named]
    before = files(tmp_path)
    with pytest.raises(records.JobError, match="Expected"):
        list(records.copy_records(results, target, {"records": named}))
    assert files(tmp_path) == before


def test_a_record_that_is_missing_from_the_result_costs_no_older_one(
    records: ModuleType, results: Path, tmp_path: Path
) -> None:
    target = tmp_path / "records"
    record(target / "a.glb", "old a")
    record(target / "b.glb", "old b")
    before = files(target)
    (results / "b.glb" / "transforms.json").unlink()
    with pytest.raises(records.JobError, match=r"Expected the record b\.glb among the results, got none"):
        list(records.copy_records(results, target, {"records": ["a.glb", "b.glb"]}))
    assert files(target) == before


def test_other_files_in_the_way_are_left_alone(records: ModuleType, results: Path, tmp_path: Path) -> None:
    target = tmp_path / "records"
    (target / "b.glb").mkdir(parents=True)
    (target / "b.glb" / "letter.txt").write_text("dear")
    with pytest.raises(records.JobError, match="Expected a new folder or an older record"):
        list(records.copy_records(results, target, {"records": ["a.glb", "b.glb"]}))
    assert files(target) == {"b.glb/letter.txt": "dear"}


def test_an_interrupted_copy_leaves_what_was_there(records: ModuleType, results: Path, tmp_path: Path) -> None:
    target = tmp_path / "records"
    record(target / "a.glb", "old a")
    before = files(target)
    copying = records.copy_records(results, target, {"records": ["a.glb"]})
    next(copying)
    copying.close()
    assert files(target) == before
    assert [path.name for path in target.iterdir()] == ["a.glb"]


def test_a_disk_that_refuses_in_the_middle_leaves_what_was_there(
    records: ModuleType, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "records"
    record(target / "a.glb", "old a")
    before = files(target)
    rename = Path.rename

    def refusing(self: Path, place: Path) -> Path:
        if self.name == "new":
            raise OSError(28, os.strerror(28))
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(records.JobError, match=r"No space left on device\. Choose another folder"):
        list(records.copy_records(results, target, {"records": ["a.glb"]}))
    assert files(target) == before
    assert [path.name for path in target.iterdir()] == ["a.glb"]


def test_a_link_to_an_older_record_is_exchanged_and_its_end_kept(
    records: ModuleType, results: Path, tmp_path: Path
) -> None:
    target, elsewhere = tmp_path / "records", record(tmp_path / "elsewhere", "old a")
    target.mkdir()
    (target / "a.glb").symlink_to(elsewhere)
    list(records.copy_records(results, target, {"records": ["a.glb"]}))
    assert (elsewhere / "transforms.json").read_text() == "old a"
    assert (target / "a.glb" / "transforms.json").read_text() == "new a"
    assert [path.name for path in target.iterdir()] == ["a.glb"]
