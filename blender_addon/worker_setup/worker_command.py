"""How the worker is started: with the environment of its own, with another Python, or on another machine over ssh."""

import shlex
from pathlib import Path

from ..queueing.job_requests import JobError

_MODULE = ["-m", "gs_integration.worker"]
# -P: not what lies in the folder that Blender happens to have been started in. -I: nor what variables of the
# environment name.
_SAFE_PATH, _ALONE = "-P", "-I"


def local_command(python: Path | None, idle_seconds: float, blender: str = "", *, alone: bool = False) -> list[str]:
    """Return the command of a worker on this machine.

    Args:
        python: of the environment that holds the project; None if there is none yet.
        idle_seconds: how long models stay in its memory when no job comes.
        blender: the executable that renders for it; "" where there is none.
        alone: the environment has all it needs, and nothing of the person's own is looked at.

    Raises:
        JobError: there is no Python.
    """
    if python is None:
        raise JobError("There is no worker yet. Press Install Worker, or choose a Python that has onestep3d.")
    renders = ["--blender", blender] if blender else []
    return [str(python), _ALONE if alone else _SAFE_PATH, *_MODULE, "--idle-seconds", f"{idle_seconds:g}", *renders]


def ssh_command(host: str, python: str, idle_seconds: float) -> list[str]:
    """Return the command of a worker on another machine, which ssh must be able to enter without a password.

    Args:
        host: as ssh takes it: a name of its settings, or user@machine.
        python: on the other machine, of the environment that holds the project; `~/` is the home there.
        idle_seconds: how long models stay in its memory when no job comes.

    Raises:
        JobError: the host is missing, or would be read as an option.
    """
    host, python = host.strip(), python.strip()
    if not host or host.startswith("-") or any(letter.isspace() or not letter.isprintable() for letter in host):
        raise JobError(f"Expected a host as ssh takes it, such as me@workstation, got {host[:60]!r}. Correct it.")
    if not python:
        raise JobError("Expected the path of a Python on the other machine, got none. Name it in the preferences.")
    # ssh begins at home; quoted, as it has to be, the sign for it would be read as a letter.
    python = f"./{python.removeprefix('~/')}" if python.startswith("~/") else python
    # The other side's shell reads what follows the host.
    remote = shlex.join([python, _SAFE_PATH, *_MODULE, "--idle-seconds", f"{idle_seconds:g}"])
    options = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    options += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
    return ["ssh", *options, "--", host, remote]
