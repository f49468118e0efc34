"""How the worker is started: as a list that no shell reads, or as one line that the other machine's shell reads."""

import importlib
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def commands(client_module: ModuleType) -> ModuleType:
    return importlib.import_module("onestep3d_addon.worker_setup.worker_command")


def test_the_local_command_names_python_idle_time_and_blender(commands: ModuleType) -> None:
    python = Path("/opt/some where/bin/python")
    command = commands.local_command(python, 90.0, "/opt/blender")
    assert command[0] == str(python)
    # -P: modules of the folder that Blender was started in are not taken for the project's.
    assert command[1:4] == ["-P", "-m", "gs_integration.worker"]
    assert command[4:] == ["--idle-seconds", "90", "--blender", "/opt/blender"]
    assert "--blender" not in commands.local_command(python, 90.0)


def test_without_a_worker_the_sentence_says_what_to_press(commands: ModuleType) -> None:
    requests = importlib.import_module("onestep3d_addon.queueing.job_requests")
    with pytest.raises(requests.JobError, match="Press Install Worker"):
        commands.local_command(None, 600.0)


def test_the_other_shell_gets_the_python_as_one_word(commands: ModuleType) -> None:
    python = "/home/me/my env/bin/python; rm -rf $HOME"
    command = commands.ssh_command("me@workstation", python, 600.0)
    # What follows -- is the host, whatever it looks like.
    assert command[command.index("--") + 1] == "me@workstation"
    assert shlex.split(command[-1])[0] == python


@pytest.mark.parametrize("python", ["~/my env/bin/python", "~/python"])
def test_a_python_in_the_home_over_there_is_found(commands: ModuleType, python: str, tmp_path: Path) -> None:
    """Asked of a shell that stands where ssh puts it."""
    program = tmp_path / python.removeprefix("~/")
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\necho found $1\n")
    program.chmod(0o755)
    remote = commands.ssh_command("me@workstation", python, 600.0)[-1]
    said = subprocess.run(["sh", "-c", remote], cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout == "found -P\n", said.stderr


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch /tmp/x", "two words", "new\nline"])
def test_hosts_that_ssh_would_take_for_something_else_are_refused(commands: ModuleType, host: str) -> None:
    requests = importlib.import_module("onestep3d_addon.queueing.job_requests")
    with pytest.raises(requests.JobError, match="Expected a host as ssh takes it"):
        commands.ssh_command(host, "python3", 600.0)
