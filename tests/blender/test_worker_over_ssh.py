"""The worker on "another machine": over a real ssh to an sshd on a loopback port."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.blender.ssh_server import HOST, SshServer, ssh_server
from tests.blender_addon.conftest import copied_addon
from tests.scripts.processes import environment

pytestmark = pytest.mark.blender

ANGLES = {"azimuths_degrees": [0, 90], "generator": {"device": "cpu"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(scope="module")
def addon(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The add-on's client and its commands."""
    folder = copied_addon(repository, tmp_path_factory.mktemp("ssh_addon") / "onestep3d_over_ssh")
    sys.path.insert(0, str(folder.parent))
    try:
        yield lambda name: importlib.import_module(f"{folder.name}.{name}")
    finally:
        sys.path.remove(str(folder.parent))


def make_client(addon: Any, command: list[str], path: str | None = None, **patience: float) -> Any:
    client = addon("processes.client")
    waits = {"hello": 120.0, "silence": 120.0, "cancel": 120.0, "terminate": 5.0, **patience}
    changes = {} if path is None else {"PATH": path}
    return client.WorkerClient(command, client.Patience(**waits), environment(**changes))


@pytest.fixture
def remote(addon: Any, server: SshServer) -> Iterator[Any]:
    client = make_client(addon, addon("worker_setup.worker_command").ssh_command(HOST, server.python, 60), server.path)
    assert client.start() is None
    yield client
    client.kill()


def until(client: Any, *kinds: str, seconds: float = 300.0) -> list[Any]:
    """Poll as Blender's timer does, up to the first event of these kinds; returns all that came."""
    seen: list[Any] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        seen += client.poll()
        if any(event.kind in kinds for event in seen):
            return seen
        time.sleep(0.02)
    raise AssertionError(f"none of {kinds} within {seconds} s, but {seen}; log: {list(client.log)}")


def last(events: list[Any], kind: str) -> Any:
    return [event for event in events if event.kind == kind][-1]


def is_gone(pid: int, seconds: float = 60.0) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or " Z " in status.read_text():
            return True
        time.sleep(0.05)
    return False


def test_the_result_is_that_of_the_local_worker(
    addon: Any, remote: Any, server: SshServer, shared_assets: Path
) -> None:
    local = make_client(addon, addon("worker_setup.worker_command").local_command(Path(sys.executable), 60))
    assert local.start() is None
    picture = {"picture.png": (shared_assets / "pictures" / "backpack.png").read_bytes()}
    results = []
    try:
        for client in (local, remote):
            client.run("image_to_angles", ANGLES, picture)
            results.append(last(until(client, "result", "error", "ended"), "result").attachments)
        assert len(server.sessions()) >= 1
    finally:
        local.kill()
    assert set(results[0]) == set(results[1])
    for name in ("views/000.png", "views/001.png", "input.png", "transforms.json", "preview.png"):
        assert results[0][name] == results[1][name]


def test_a_broken_connection_is_said_and_the_next_job_works(
    remote: Any, server: SshServer, shared_assets: Path
) -> None:
    picture = {"picture.png": (shared_assets / "pictures" / "backpack.png").read_bytes()}
    ready = last(until(remote, "ready"), "ready")
    job = remote.run("image_to_splats", {"views": {"generator": {"device": "cpu"}}}, picture)
    while last(until(remote, "progress"), "progress").fields["stage"] != "splats":
        pass
    for pid in server.sessions():
        os.kill(pid, signal.SIGKILL)
    seen = until(remote, "ended")
    ended, error = last(seen, "ended"), last(seen, "error")
    assert (error.job, error.fields["cause"]) == (job, "worker")
    assert ended.sentence == error.sentence
    assert ended.sentence.startswith(f"The connection to {HOST} failed or broke")
    assert "\n" not in ended.sentence
    assert len(ended.sentence) < 500
    # Over there, the worker ended with its input, and its memory is free.
    assert is_gone(ready.fields["process"])
    assert remote.start() is None
    remote.run("status")
    assert last(until(remote, "result", "error"), "result").fields["findings"]["checkpoint"] == "small"


def test_a_connection_that_is_cut_without_a_word_is_noticed(remote: Any, server: SshServer) -> None:
    """As when a cable is pulled: nothing arrives any more, and nothing says so."""
    until(remote, "ready")
    sessions = server.sessions()
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        ended = last(until(remote, "ended", seconds=120), "ended")
        assert time.monotonic() - began < 60  # three questions, five seconds apart, without an answer
        assert ended.sentence.startswith(f"The connection to {HOST} failed or broke")
        assert "not responding" in ended.sentence
    finally:
        for pid in sessions:
            os.kill(pid, signal.SIGKILL)
    assert remote.start() is None
    until(remote, "ready")


def test_bye_ends_the_worker_over_there(remote: Any) -> None:
    ready = last(until(remote, "ready"), "ready")
    remote.stop()
    assert last(until(remote, "ended"), "ended").fields["status"] == 0
    assert is_gone(ready.fields["process"])


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (f"{HOST}-without-key", "Permission denied"),
        ("no-such-machine.invalid", "no-such-machine.invalid"),
    ],
)
def test_a_machine_that_cannot_be_entered_is_one_line(addon: Any, server: SshServer, host: str, words: str) -> None:
    client = make_client(addon, addon("worker_setup.worker_command").ssh_command(host, server.python, 60), server.path)
    assert client.start() is None
    ended = last(until(client, "ended"), "ended")
    assert ended.sentence.startswith(f"The connection to {host} failed or broke")
    assert words in ended.sentence
    assert "without a password" in ended.sentence


def test_a_python_that_is_not_over_there_is_one_line(addon: Any, server: SshServer) -> None:
    client = make_client(
        addon, addon("worker_setup.worker_command").ssh_command(HOST, "/no/such python", 60), server.path
    )
    assert client.start() is None
    ended = last(until(client, "ended"), "ended")
    assert "ended with status 127" in ended.sentence
    assert any("/no/such python" in line for line in client.log)
