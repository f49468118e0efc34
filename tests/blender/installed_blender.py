"""An installed Blender, and a display for it, found where a machine has them."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_OLDEST = (4, 2)
_PATIENCE_SECONDS = 120
_ASKED_FOR = "name one in the environment variable BLENDER, put it on PATH, or run blender_gui.sh install"


def start_script(folder: Path, window_program: Path) -> str:
    """A script that starts Blender with a user folder of its own.

    The Blender is the one that the environment variable BLENDER names, or the one on PATH, or what the window program
    has installed. The test is skipped where there is none, or only one that is too old.

    Args:
        folder: for the script and for what Blender keeps for a user.
        window_program: `blender_gui.sh`, which need not be there.
    """
    script = folder / "blender.sh"
    executable = os.environ.get("BLENDER") or shutil.which("blender")
    if executable:
        script.write_text(f'#!/bin/sh\nBLENDER_USER_RESOURCES="{folder}/user" exec "{executable}" "$@"\n')
    elif window_program.is_file():
        script.write_text(f'#!/bin/sh\nBLENDER_STATE="{folder}" exec "{window_program}" blender "$@"\n')
    else:
        pytest.skip(f"needs an installed Blender: {_ASKED_FOR}")
    script.chmod(0o755)
    found = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    version = re.search(r"^Blender (\d+)\.(\d+)", found.stdout, re.MULTILINE)
    if found.returncode or version is None:
        said = (found.stderr or found.stdout).strip().rpartition("\n")[2]
        pytest.skip(f"needs an installed Blender: {_ASKED_FOR}; got: {said}")
    if tuple(map(int, version.groups())) < _OLDEST:
        pytest.skip(f"needs an installed Blender 4.2 or later, got {version.group()}: {_ASKED_FOR}")
    return str(script)


@contextmanager
def some_display(window_program: Path) -> Iterator[str]:
    """The name of a display: the machine's own, or one in memory for as long as the context lasts.

    Args:
        window_program: `blender_gui.sh`, which brings the server of such a display; it need not be there.
    """
    if name := os.environ.get("DISPLAY"):
        yield name
        return
    if server := shutil.which("Xvfb"):
        command = [server]
    elif window_program.is_file():
        command = [str(window_program), "exec", "Xvfb"]
    else:
        pytest.skip("needs a display: set DISPLAY, install Xvfb, or run blender_gui.sh install")
    reading, writing = os.pipe()
    options = ["-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"]
    process = subprocess.Popen([*command, *options], pass_fds=[writing], start_new_session=True)
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            number = said.readline().strip()  # it ends without one where the server does
        if not number:
            pytest.skip(f"needs a display, but {' '.join(command)} ended with status {process.wait(_PATIENCE_SECONDS)}")
        yield f":{number}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(_PATIENCE_SECONDS)
