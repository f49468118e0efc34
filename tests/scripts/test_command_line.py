import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.processes import allowed_seconds, environment, interrupt, run_program, start_program

PROGRAM = '''
"""Paints a fence."""

import time
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import Cancelled, UserError
from scripts.command_line import run, say


class Brush(BaseModel):
    """The brush."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    width_px: int = Field(3, ge=1, le=9, description="Width.")


class Fence(BaseModel):
    """The fence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, tyro.conf.Positional] = Field(description="Its name.")
    output_dir: Path = Field(Path("out"), description="Where it goes.")
    output: Path = Field(Path("fence.json"), description="Its description.")
    brush: Brush = Brush()


def main(settings, progress):
    BODY


if __name__ == "__main__":
    run(main, Fence, description=__doc__)
'''


@pytest.fixture
def program(tmp_path: Path):
    """Write a program whose `main` is the given statement."""

    def write(body: str) -> list[str]:
        file = tmp_path / "program.py"
        file.write_text(PROGRAM.replace("BODY", body.replace("\n", "\n    ")))
        return [str(file), "garden"]

    return write


def test_what_main_returns_is_the_exit_status(program, tmp_path: Path) -> None:
    assert run_program(program("say(settings.name)"), cwd=tmp_path) == (0, "garden\n", "")
    assert run_program(program("return 3"), cwd=tmp_path) == (3, "", "")


def test_a_user_error_is_one_sentence_and_status_2(program, tmp_path: Path) -> None:
    arguments = program("raise UserError('Expected paint, got water; buy paint.')")
    assert run_program(arguments, cwd=tmp_path) == (2, "", "error: Expected paint, got water; buy paint.\n")


def test_a_bug_keeps_its_traceback(program, tmp_path: Path) -> None:
    status, _, error = run_program(program("1 / 0"), cwd=tmp_path)
    assert status == 1
    assert "Traceback" in error
    assert "ZeroDivisionError" in error


def test_a_cancelled_job_ends_like_an_interrupted_one(program, tmp_path: Path) -> None:
    status, _, error = run_program(program("raise Cancelled"), cwd=tmp_path)
    assert status == 130
    assert "Traceback" not in error


def test_settings_out_of_range_name_the_option_what_was_expected_and_what_came(program, tmp_path: Path) -> None:
    status, _, error = run_program([*program("pass"), "--width-px", "12"], cwd=tmp_path)
    assert (status, error) == (2, "error: --width-px: expected less than or equal to 9, got 12.\n")


def test_an_unknown_option_is_refused_with_what_was_perhaps_meant(program, tmp_path: Path) -> None:
    status, _, error = run_program([*program("pass"), "--widht-px", "3"], cwd=tmp_path)
    assert status == 2
    assert "--widht-px" in error
    assert "--width-px" in error


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("--output-dir", "a_file"),
        ("--output-dir", "a_file/below"),
        ("--output-dir", "/proc/nowhere"),
        ("--output", "."),
        ("--output", "a_file/below.json"),
        ("--output-dir", "n" * 300),
    ],
)
def test_output_that_cannot_be_written_is_refused_before_the_work(
    program, tmp_path: Path, option: str, path: str
) -> None:
    (tmp_path / "a_file").write_text("")
    status, output, error = run_program([*program("say('worked for an hour')"), option, path], cwd=tmp_path)
    assert status == 2
    assert output == ""
    assert error.startswith("error: Expected")
    assert option in error
    assert error.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "__pycache__") == ["a_file", "program.py"]


def test_a_full_disk_is_a_sentence(program, tmp_path: Path) -> None:
    # The device that is always full; it stands in for a file on a full disk.
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    status, _, error = run_program(program("open('/dev/full', 'w').write('x' * 10**6)"), cwd=tmp_path)
    assert status == 2
    assert "the disk is full" in error
    assert error.count("\n") == 1


def test_a_full_disk_behind_a_librarys_own_error_is_a_sentence(program, tmp_path: Path) -> None:
    body = "raise RuntimeError('Error while serializing: No space left on device (os error 28)')"
    status, _, error = run_program(program(body), cwd=tmp_path)
    assert status == 2
    assert "the disk is full" in error


def test_warnings_are_shown_once_in_one_line(program, tmp_path: Path) -> None:
    body = (
        "import logging, warnings\n"
        "for name in 'ab':\n"
        "    logging.getLogger('renderers.x').warning('no [bold]%s texture', 'wood')\n"
        "    warnings.warn('two\\nlines')\n"
        "logging.getLogger('somebody.else').info('chatter')\n"
        "logging.getLogger('renderers.x').info('told')"
    )
    status, output, error = run_program(program(body), cwd=tmp_path)
    assert (status, output) == (0, "")
    assert error == "warning: no [bold]wood texture\nwarning: two lines (UserWarning)\ntold\n"


def test_numbas_threads_start_silently_beside_open3d(program, tmp_path: Path) -> None:
    body = "import numba, open3d\nnumba.get_num_threads()\nnumba.njit(parallel=True)(lambda n: n)(1)\nsay('ready')"
    status, output, error = run_program(program(body), cwd=tmp_path)
    assert (status, output) == (0, "ready\n")
    assert "TBB" not in error


def test_progress_without_a_terminal_is_plain_lines(program, tmp_path: Path) -> None:
    body = "progress.stage('painting', 4)\nprogress.advance(4)\nprogress.stage('drying', None)"
    status, _, error = run_program(program(body), cwd=tmp_path)
    assert status == 0
    lines = error.splitlines()
    assert lines[0] == "painting ..."
    assert lines[1].startswith("painting: done in ")
    assert lines[2] == "drying ..."


def test_progress_in_a_terminal_is_a_bar_and_leaves_results_to_standard_output(program, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")
    body = "progress.stage('painting', 4)\nsay('one')\nprogress.advance(4)\nsay('two')"
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *program(body)],
        cwd=tmp_path,
        env=environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
    )
    output, _ = process.communicate(timeout=60)
    os.close(end)
    shown = os.read(terminal, 1_000_000).decode()
    os.close(terminal)
    assert (process.returncode, output) == (0, "one\ntwo\n")
    assert "painting" in shown
    assert "4/4" in shown


@pytest.mark.parametrize(
    "body",
    [
        "say('ready')\ntime.sleep(60)",
        # Deaf: swallows the interrupt and goes on.
        "say('ready')\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt: pass",
        # One long call into C that neither returns nor is woken by the signal, as numba's kernels do.
        "import ctypes\nlock = ctypes.create_string_buffer(64)\nlibrary = ctypes.CDLL(None)\nsay('ready')\n"
        "library.pthread_mutex_lock(lock)\nlibrary.pthread_mutex_lock(lock)",
        # A thread that does not end.
        "import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()\nsay('ready')\ntime.sleep(60)",
        # A library that turns the interrupt into an error of its own.
        "say('ready')\ntry: time.sleep(60)\nexcept KeyboardInterrupt: raise RuntimeError('interrupted')",
    ],
    ids=["sleeping", "deaf", "in_a_kernel", "with_a_thread", "translated"],
)
def test_ctrl_c_ends_any_program_within_three_seconds(program, tmp_path: Path, body: str) -> None:
    process = start_program(program(body), cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    status, _, error, seconds = interrupt(process)
    assert status == 130
    assert "Traceback" not in error
    assert seconds < allowed_seconds(3.0)


def test_a_reader_that_has_seen_enough_ends_the_program_silently(program) -> None:
    """As with `| head -1`: the reader closes its end of the pipe before the program is done writing."""
    body = "for line in range(100_000):\n    say(str(line))"
    for arguments in (program(body), [*program(body), "--help"]):
        with start_program(arguments) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            errors = process.stderr.read()
        assert errors == ""
        assert process.returncode in (0, 141)
