import os
import subprocess
import sys
from pathlib import Path

import pytest

from distill_core.errors import UserError
from gs_integration.output_folder import check_outside, check_replaceable, complete_folder

_REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = frozenset({"a.txt", "views/[0-9]*.png"})


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


@pytest.mark.parametrize("name", ["views/mine.png", "views/old/000.png", "views/000.txt"])
def test_nor_are_they_inside_the_folders_of_a_result(tmp_path: Path, name: str):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    (tmp_path / "out" / "views" / "000.png").write_text("of a result")
    with pytest.raises(UserError, match=r"with 'views/"):
        check_replaceable(tmp_path / "out", RESULTS)


def test_what_a_result_is_made_from_is_not_replaced_by_it(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with pytest.raises(UserError, match=r"without a\.txt in it"):
        check_outside(tmp_path / "link" / "a.txt", tmp_path / "out")
    check_outside(tmp_path / "a.txt", tmp_path / "out")


def test_an_error_names_the_folder_that_was_asked_for(tmp_path: Path):
    with (
        pytest.raises(UserError, match=rf"^{tmp_path}/out/a\.txt cannot"),
        complete_folder(tmp_path / "out", RESULTS) as temporary,
    ):
        raise UserError(f"{temporary}/a.txt cannot be written.")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="Expected a folder"):
        check_replaceable(tmp_path / "out", RESULTS)


def test_others_may_read_a_result_as_they_may_read_other_files(tmp_path: Path):
    (tmp_path / "ordinary").mkdir()
    with complete_folder(tmp_path / "out", RESULTS):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


_KILLED_WRITER = """
import sys
from pathlib import Path
from gs_integration.output_folder import complete_folder
with complete_folder(Path(sys.argv[1]), {"a.txt"}) as temporary:
    (temporary / "a.txt").write_text("half")
    print(temporary, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders")
def test_what_a_killed_program_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path):
    command = [sys.executable, "-c", _KILLED_WRITER, str(tmp_path / "out")]
    writer = subprocess.Popen(command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout is not None
        leftover = Path(writer.stdout.readline().strip())
        os.utime(leftover, (0, 0))
        with complete_folder(tmp_path / "out", RESULTS) as temporary:
            (temporary / "a.txt").write_text("second")
        assert entries(tmp_path) == [leftover.name, "out"]
        writer.kill()
    os.utime(leftover, (0, 0))
    with complete_folder(tmp_path / "out", RESULTS) as temporary:
        (temporary / "a.txt").write_text("third")
    assert entries(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "third"


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders")
def test_a_result_whose_replacement_was_killed_half_way_comes_back(tmp_path: Path):
    earlier = tmp_path / ".out.abc.partial" / "out"
    earlier.mkdir(parents=True)
    (earlier / "a.txt").write_text("earlier")
    os.utime(earlier.parent, (0, 0))
    with pytest.raises(KeyboardInterrupt), complete_folder(tmp_path / "out", RESULTS):
        raise KeyboardInterrupt
    assert entries(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "earlier"
