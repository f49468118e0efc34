"""Programs run as a person runs them: in a process of their own."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(
    str(file.relative_to(REPOSITORY))
    for file in (REPOSITORY / "scripts").glob("*.py")
    if "from scripts.command_line import" in (text := file.read_text()) and '__name__ == "__main__"' in text
)


def environment(**changes: str) -> dict[str, str]:
    """The environment of a person's shell: no terminal colours, the checkout importable, one thread."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100", "NO_COLOR": "1", **changes}


def start_program(
    arguments: list[str], *, cwd: Path = REPOSITORY, errors_with_output: bool = False
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors_with_output else subprocess.PIPE,
        text=True,
    )


def run_program(arguments: list[str], *, cwd: Path = REPOSITORY) -> tuple[int, str, str]:
    process = start_program(arguments, cwd=cwd)
    output, error = process.communicate(timeout=120)
    return process.returncode, output, error


def allowed_seconds(seconds: float) -> float:
    """What a promise of seconds means here and now: longer when more programs than cores want to run.

    The promise is for a machine that does nothing else; the half second is for the tests' own process.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
    return (seconds + 0.5) * max(1.0, waiting)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Press Ctrl-C; returns exit status, output, errors and the seconds until the end."""
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        output, error = process.communicate(timeout=90)
    finally:
        process.kill()
    return process.returncode, output, error, time.monotonic() - began


def cpu_seconds(arguments: list[str]) -> tuple[float, str]:
    """Run a program that must succeed; returns its processor seconds, which a busy machine does not stretch."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output, error = run_program(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, error
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output
