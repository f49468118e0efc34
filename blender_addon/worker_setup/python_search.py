"""A Python that can make the environment of the worker. No bpy here."""

import os
import subprocess

from ..processes.logged_process import clean_environment
from ..queueing.job_requests import JobError, LocalProgress

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions that the worker runs with."""


def find_python(chosen: str, spare: str, progress: LocalProgress) -> list[str]:
    """Return the command of a Python that can make environments for the worker.

    Args:
        chosen: the only one that is tried, if it is given.
        spare: is tried last.
        progress: told what is tried.

    Raises:
        JobError: there is none.
    """
    if chosen:
        candidates = [[chosen]]
    elif os.name == "posix":
        candidates = [[f"python3.{minor}"] for minor in range(OLDEST[1], NEWEST[1] + 1)] + [["python3"]]
    else:
        candidates = [["py", f"-3.{minor}"] for minor in range(OLDEST[1], NEWEST[1] + 1)] + [["python"]]
    if spare and not chosen:
        candidates.append([spare])
    found = []
    for candidate in candidates:
        progress.check()
        version = _version_of(candidate)
        progress.log(f"{' '.join(candidate)}: {version}")
        if version.startswith("3.") and OLDEST <= (3, int(version.split(".")[1])) <= NEWEST:
            return candidate
        found.append(f"{' '.join(candidate)} ({version})")
    raise JobError(
        f"Expected a Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} with venv, got {', '.join(found)}. "
        "Install one (on Debian and Ubuntu with python3-venv), name it, or choose uv."
    )


def _version_of(command: list[str]) -> str:
    """Version of a Python that has venv and pip's installer, or what is wrong with it."""
    program = "import sys, venv, ensurepip; print('3.%d' % sys.version_info[1] if sys.version_info[0] == 3 else 2)"
    try:
        asked = subprocess.run(
            [*command, "-I", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return getattr(error, "strerror", None) or "no answer"
    lines = (asked.stdout if asked.returncode == 0 else asked.stderr).strip().splitlines()
    return lines[-1][:80] if lines else f"status {asked.returncode}"
