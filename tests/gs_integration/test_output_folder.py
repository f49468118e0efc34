from pathlib import Path

import pytest

from distill_core.errors import UserError
from gs_integration.output_folder import check_replaceable, complete_folder

RESULTS = frozenset({"a.txt", "views"})


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_result_appears_whole(tmp_path: Path):
    with complete_folder(tmp_path / "deep" / "out", RESULTS) as temporary:
        (temporary / "a.txt").write_text("new")
        assert not (tmp_path / "deep" / "out").exists()
    assert entries(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_result_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException):
    (tmp_path / "out" / "views").mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_text("old")

    def fail_while_writing() -> None:
        with complete_folder(tmp_path / "out", RESULTS) as temporary:
            (temporary / "a.txt").write_text("new")
            raise error

    with pytest.raises(type(error)):
        fail_while_writing()
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == ["a.txt", "views"]
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


def test_an_earlier_result_is_replaced_with_all_its_files(tmp_path: Path):
    (tmp_path / "out" / "views").mkdir(parents=True)
    (tmp_path / "out" / "views" / "099.png").write_text("of an earlier run with more views")
    with complete_folder(tmp_path / "out", RESULTS) as temporary:
        (temporary / "a.txt").write_text("new")
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == ["a.txt"]


def test_files_that_are_no_result_are_never_replaced(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt.*choose another --output-dir"):
        check_replaceable(tmp_path / "out", RESULTS)
    with (
        pytest.raises(UserError, match=r"thesis\.txt"),
        complete_folder(tmp_path / "out", RESULTS) as temporary,
    ):
        (temporary / "a.txt").write_text("new")
    assert entries(tmp_path / "out") == ["thesis.txt"]
    assert entries(tmp_path) == ["out"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="Expected a folder"):
        check_replaceable(tmp_path / "out", RESULTS)


def test_others_may_read_a_result_as_they_may_read_other_files(tmp_path: Path):
    (tmp_path / "ordinary").mkdir()
    with complete_folder(tmp_path / "out", RESULTS):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
