"""The add-on's client against real processes: the worker itself, and programs that do what a worker must not."""

import gc
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest

from gs_integration.formats.ply import encode_ply
from gs_integration.formats.spz import decode_spz
from tests.gs_integration.formats.clouds import asymmetric_cloud
from tests.scripts.processes import allowed_seconds, environment

# What a worker says first, and a loop that reads a line at a time; attachments do not come to these workers.
HELLO = """import json, os, signal, sys, time
def say(**fields):
    os.write(1, json.dumps(fields).encode() + b"\\n")
say(kind="hello", protocol=1, tasks=[])
"""
DEAF = HELLO.replace("say(kind", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay(kind")

MakeClient = Callable[..., Any]


@pytest.fixture
def make_client(client_module: Any) -> Iterator[MakeClient]:
    made = []

    def make(command: Sequence[str], **patience: float) -> Any:
        # A busy machine takes its time; only what a test measures is short.
        waits = {"hello": 120.0, "silence": 120.0, "cancel": 120.0, "terminate": 1.0, **patience}
        client = client_module.WorkerClient(command, client_module.Patience(**waits), environment())
        made.append(client)
        return client

    yield make
    for client in made:
        client.kill()


@pytest.fixture
def fake(make_client: MakeClient) -> MakeClient:
    """A client of a worker that is this text of a program."""

    def make(program: str, **patience: float) -> Any:
        client = make_client([sys.executable, "-S", "-E", "-c", program], **patience)
        assert client.start() is None
        return client

    return make


_UNREAD: "WeakKeyDictionary[Any, list[Any]]" = WeakKeyDictionary()
"""Events that came in one poll with the one that was waited for, but after it."""


def until(client: Any, kind: str, seconds: float = 150.0) -> tuple[Any, list[Any]]:
    """Poll as Blender's timer does, until an event of a kind comes; returns it, and all that came up to it."""
    seen: list[Any] = []
    unread = _UNREAD.pop(client, [])
    waited_since = time.monotonic()
    while time.monotonic() - waited_since < seconds:
        unread += client.poll()
        while unread:
            event = unread.pop(0)
            seen.append(event)
            if event.kind == kind:
                _UNREAD[client] = unread
                return event, seen
        time.sleep(0.02)
    raise AssertionError(f"no '{kind}' within {seconds} s, but {seen}; log: {list(client.log)}")


def is_one_line(sentence: str) -> bool:
    return 20 < len(sentence) < 500 and "\n" not in sentence and "Traceback" not in sentence


def test_the_worker_converts_splats_and_ends_with_its_input(make_client: MakeClient) -> None:
    """What libraries print goes to the log, from Python and past Python."""
    program = (
        "import os, sys\n"
        "from gs_integration import worker, worker_jobs\n"
        "task = worker_jobs.TASKS['convert_splats']\n"
        "def noisy(job):\n"
        "    print('from Python'); os.write(1, b'past Python\\n'); sys.stdout.flush()\n"
        "    return task(job)\n"
        "worker_jobs.TASKS['convert_splats'] = noisy\n"
        "sys.exit(worker.main([]))\n"
    )
    client = make_client([sys.executable, "-c", program])
    assert client.start() is None
    cloud = asymmetric_cloud(20, 1)
    job = client.run("convert_splats", {"format": "spz"}, {"splats.ply": encode_ply(cloud)})
    ready, _ = until(client, "ready")
    assert "convert_splats" in ready.fields["tasks"]
    result, seen = until(client, "result")
    assert result.job == job
    assert [event.kind for event in seen[:-1]] == ["progress"] * (len(seen) - 1)
    found = decode_spz(result.attachments["splats.spz"]).splats.in_axes("z-up")
    np.testing.assert_allclose(found.means, cloud.means, atol=2e-6)
    assert client.jobs == ()
    assert client.ready
    # The worker is not asked to end: its input closes.
    client._say(None)
    ended, _ = until(client, "ended")
    assert ended.fields["status"] == 0
    assert {"from Python", "past Python"} <= set(client.log)
    assert not client.alive


def test_a_job_that_fills_the_memory_ends_alone(make_client: MakeClient) -> None:
    program = (
        "import resource, sys\n"
        "from gs_integration import worker, worker_jobs\n"
        "def greedy(job):\n"
        "    kept = []\n"
        "    while True: kept.append(bytearray(256 << 20))\n"
        "worker_jobs.TASKS['status'] = greedy\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "sys.exit(worker.main([]))\n"
    )
    client = make_client([sys.executable, "-c", program])
    client.start()
    client.run("status")
    error, _ = until(client, "error")
    assert error.fields["cause"] == "memory"
    assert "The memory is full. Choose fewer views" in error.sentence
    assert is_one_line(error.sentence)
    client.run("convert_splats", {"format": "splat"}, {"splats.ply": encode_ply(asymmetric_cloud(5, 0))})
    result, _ = until(client, "result")
    assert len(result.attachments["splats.splat"]) == 5 * 32


def test_a_python_that_does_not_exist_is_one_line(make_client: MakeClient) -> None:
    client = make_client(["/no/such/python", "-m", "gs_integration.worker"])
    ended = client.start()
    assert ended.kind == "ended"
    assert ended.sentence.startswith("Cannot start the worker /no/such/python: No such file or directory.")
    assert is_one_line(ended.sentence)
    assert not client.alive


def test_a_python_without_the_project_is_one_line(make_client: MakeClient) -> None:
    client = make_client([sys.executable, "-S", "-E", "-c", "import no_such_module"])
    client.start()
    job = client.run("status")
    ended, seen = until(client, "ended")
    assert "ended with status 1 (ModuleNotFoundError: No module named 'no_such_module')" in ended.sentence
    assert "No module named 'no_such_module'" in client.log[-1]
    assert [(event.kind, event.job) for event in seen] == [("error", job), ("ended", None)]


def test_another_version_of_the_protocol_is_one_line(fake: MakeClient) -> None:
    client = fake(HELLO.replace("protocol=1", "protocol=7") + "time.sleep(600)")
    ended, _ = until(client, "ended")
    assert "version 7 of the protocol, the add-on version 1. Update the older of the two." in ended.sentence
    assert is_one_line(ended.sentence)


@pytest.mark.parametrize(
    "garbage",
    [
        "os.write(1, b'Loading model... done\\n'); time.sleep(600)",
        "os.write(1, b'\\xff' * 100 + b'\\n'); time.sleep(600)",
        "os.write(1, b'[' * 100000 + b'\\n'); time.sleep(600)",
        "while True: os.write(1, b'x' * 65536)",
        "say(kind='hello', protocol=1, attachments=[{'name': 'a', 'bytes': -5}]); time.sleep(600)",
        "say(kind='hello', protocol=1, attachments=[{'name': '../a', 'bytes': 1}]); os.write(1, b'x'); time.sleep(600)",
        "say(kind='progress', job='1'); time.sleep(600)",
        "say(kind='hello', protocol=1); os.write(1, b'oops\\n'); time.sleep(600)",
    ],
)
def test_garbage_on_the_output_ends_the_worker_with_one_line(fake: MakeClient, garbage: str, tmp_path: Path) -> None:
    client = fake(HELLO.partition("say(kind")[0] + garbage)
    client.run("status")
    ended, seen = until(client, "ended")
    assert is_one_line(ended.sentence)
    assert "The worker said what is no message" in ended.sentence or "expected hello" in ended.sentence
    assert [event.sentence for event in seen if event.kind == "error"] == [ended.sentence]
    assert not client.alive


def test_kill_9_is_one_line_and_the_next_worker_works(fake: MakeClient, client_module: Any) -> None:
    client = fake(HELLO + "for line in sys.stdin:\n    say(kind='progress', job='1', stage='views', step=1, total=2)\n")
    job = client.run("image_to_views")
    progress, _ = until(client, "progress")
    assert progress.fields["stage"] == "views"
    os.kill(client._process.pid, signal.SIGKILL)
    ended, seen = until(client, "ended")
    assert "killed (SIGKILL), perhaps because the memory was full" in ended.sentence
    assert is_one_line(ended.sentence)
    (error,) = [event for event in seen if event.kind == "error"]
    assert (error.job, error.fields["cause"]) == (job, "worker")
    assert client.start() is None
    until(client, "ready")
    client.stop()
    until(client, "ended")


def test_silence_before_hello_is_one_line(fake: MakeClient) -> None:
    client = fake("import time; time.sleep(600)", hello=0.3)
    ended, _ = until(client, "ended")
    assert "did not say hello within 0.3 s" in ended.sentence


def test_silence_during_a_job_is_one_line(fake: MakeClient) -> None:
    client = fake(HELLO + "time.sleep(600)", silence=1.0)
    until(client, "ready")
    job = client.run("status")
    ended, seen = until(client, "ended")
    assert "no sign of life for 1 s" in ended.sentence
    assert [event.job for event in seen if event.kind == "error"] == [job]


@pytest.mark.skipif(os.name != "posix", reason="priorities of other systems are set as the process starts")
def test_the_worker_goes_after_what_a_person_sees(fake: MakeClient) -> None:
    """Also on Linux with autogroups, where the niceness of a process counts within its own session alone."""
    client = fake(
        HELLO + "sys.stdin.readline()\nsay(kind='result', job='1', findings={'process': os.getpid()})\ninput()"
    )
    client.run("status")
    process = until(client, "result")[0].fields["findings"]["process"]
    assert os.getpriority(os.PRIO_PROCESS, process) > os.getpriority(os.PRIO_PROCESS, 0)
    shares = Path(f"/proc/{process}/autogroup")
    if shares.exists():
        assert int(shares.read_text().rpartition("nice")[2]) > 0


def test_signs_of_life_keep_a_slow_job_alive(fake: MakeClient) -> None:
    """It says something every half second for three seconds; a second and a half of silence would be too much."""
    client = fake(
        HELLO + "sys.stdin.readline()\n"
        "for step in range(7):\n    time.sleep(0.2); say(kind='progress', job='1', step=step)\n"
        "say(kind='result', job='1', findings={})\ntime.sleep(600)",
        silence=60.0,
    )
    client.run("status")
    result, seen = until(client, "result")
    assert result.job == "1"
    assert len([event for event in seen if event.kind == "progress"]) == 7


# Forty parts with pauses between them: the whole takes more than twice as long as silence may last.
SLOWLY = "for _ in range(40):\n    time.sleep(0.1); "


def test_a_long_upload_is_no_silence(fake: MakeClient) -> None:
    """While the worker takes a message in it cannot speak."""
    client = fake(
        HELLO + "asked = json.loads(sys.stdin.buffer.raw.readline())\n"
        "missing = asked['attachments'][0]['bytes']\n"
        + SLOWLY.replace("40", "39")
        + "missing -= len(sys.stdin.buffer.read(200_000))\n"
        "missing -= len(sys.stdin.buffer.read(missing))\n"
        "say(kind='result', job='1', findings={'missing': missing})\ntime.sleep(600)",
        silence=1.5,
    )
    client.run("status", files={"splats.ply": bytes(8_000_000)})
    event, _ = until(client, "result")
    assert event.fields["findings"] == {"missing": 0}


def test_a_long_download_is_no_silence(fake: MakeClient) -> None:
    """Signs of life wait behind the result that is on its way."""
    client = fake(
        HELLO + "sys.stdin.readline()\n"
        "say(kind='result', job='1', findings={}, attachments=[{'name': 'splats.ply', 'bytes': 4_000_000}])\n"
        + SLOWLY
        + "os.write(1, bytes(100_000))\n"
        "time.sleep(600)",
        silence=1.5,
    )
    client.run("status")
    event, _ = until(client, "result")
    assert event.attachments["splats.ply"] == bytes(4_000_000)


def test_a_transfer_that_stands_still_is_silence(fake: MakeClient) -> None:
    client = fake(HELLO + "sys.stdin.buffer.read(100_000); time.sleep(600)", silence=1.0)
    client.run("status", files={"splats.ply": bytes(8_000_000)})
    ended, _ = until(client, "ended")
    assert "no sign of life for 1 s" in ended.sentence


def test_what_was_sent_and_came_is_not_kept(fake: MakeClient) -> None:
    """Files of a job are let go of, not kept until the next message."""
    client = fake(
        HELLO + "asked = json.loads(sys.stdin.buffer.raw.readline())\n"
        "missing = asked['attachments'][0]['bytes']\n"
        "sys.stdin.buffer.read(missing)\n"
        "say(kind='result', job='1', findings={}, attachments=[{'name': 'a', 'bytes': 80_000_000}])\n"
        "sys.stdout.buffer.write(bytes(80_000_000)); sys.stdout.flush(); time.sleep(600)"
    )
    until(client, "ready")
    tracemalloc.start()
    try:
        client.run("status", files={"splats.ply": bytearray(80_000_000)})
        until(client, "result")
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000_000


def test_a_worker_that_neither_cancels_nor_terminates_is_killed(fake: MakeClient) -> None:
    client = fake(DEAF + "say(kind='progress', job='1', stage='deaf')\ntime.sleep(600)", cancel=0.2, terminate=0.2)
    job = client.run("status")
    until(client, "progress")
    client.cancel(job)
    ended, seen = until(client, "ended")
    assert "did not stop the cancelled job in time" in ended.sentence
    assert ended.fields["status"] == -signal.SIGKILL
    (error,) = [event for event in seen if event.kind == "error"]
    assert (error.job, error.fields["cause"]) == (job, "cancelled")


def test_news_of_jobs_that_nobody_asked_for_are_left_out(fake: MakeClient) -> None:
    client = fake(
        HELLO + "say(kind='result', job='99', findings={})\nsay(kind='sing', job='1')\n"
        "sys.stdin.readline()\nsay(kind='error', job='1', cause='bug', what='A\\nB', why=3, what_to_do='C')\n"
        "time.sleep(600)"
    )
    until(client, "ready")
    job = client.run("status")
    error, seen = until(client, "error")
    assert (error.job, error.sentence) == (job, "A B C")
    assert [event.kind for event in seen] == ["error"]
    assert client.ready


def test_what_cannot_be_sent_fails_alone(fake: MakeClient) -> None:
    client = fake(HELLO + "time.sleep(600)")
    job = client.run("status", {"x": float("nan")})
    error, seen = until(client, "error")
    assert error.job == job
    assert "Cannot send a message" in error.sentence
    assert client.jobs == ()
    # The worker lives on; on a busy machine it was ready before the first look.
    if not any(event.kind == "ready" for event in seen):
        until(client, "ready")


def test_a_closed_output_of_the_worker_is_its_end(fake: MakeClient) -> None:
    client = fake(HELLO + "os.close(1)\ntime.sleep(600)")
    ended, _ = until(client, "ended")
    assert ended.fields["status"] != 0


SPAWNING = """
import subprocess, sys, time
from gs_integration import worker, worker_jobs
def spawning(job):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
    print("child", child.pid, flush=True)
    job.progress.stage("spawned", None)
    began = time.monotonic()
    while time.monotonic() - began < 600:
        WAIT
    return {}
worker_jobs.TASKS["status"] = spawning
sys.exit(worker.main([]))
"""


def is_gone(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    try:
        return " Z " in stat.read_text()
    except OSError:
        return True


@pytest.mark.parametrize("job", ["none", "heeds", "deaf"])
@pytest.mark.parametrize("how", ["kill", "terminated"])
def test_an_ended_worker_leaves_no_folder_and_no_process(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: str, how: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    wait = {"heeds": "job.progress.advance(0); time.sleep(0.01)"}.get(job, "time.sleep(0.2)")
    client = make_client([sys.executable, "-c", SPAWNING.replace("WAIT", wait)])
    client.start()
    until(client, "ready")
    assert [folder.name[:17] for folder in tmp_path.iterdir()] == ["onestep3d-worker-"]
    if job != "none":
        client.run("status")
        while until(client, "progress")[0].fields["stage"] != "spawned":
            pass
    process = client._process.pid
    if how == "kill":
        began = time.monotonic()
        client.kill()
        assert time.monotonic() - began < allowed_seconds(3.0)
    else:
        os.kill(process, signal.SIGTERM)
        ended, _ = until(client, "ended")
        assert "killed (SIGTERM), perhaps because the memory was full" in ended.sentence
    assert list(tmp_path.iterdir()) == []
    children = [int(line.split()[1]) for line in client.log if line.startswith("child")]
    assert len(children) == (job != "none")
    time.sleep(0.1)
    assert all(is_gone(child) for child in [process, *children])


def test_the_worker_ends_when_its_program_dies(tmp_path: Path) -> None:
    """The pipe closes with the process that holds it, however that ends."""
    asking = (
        "import os, subprocess, sys\n"
        "worker = subprocess.Popen([sys.executable, '-m', 'gs_integration.worker'], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE, start_new_session=True)\n"
        "worker.stdout.readline()\n"
        "print(worker.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", asking], env=environment(), capture_output=True, text=True, timeout=150
    )
    assert died.returncode == -signal.SIGKILL
    worker = int(died.stdout)
    waited_since = time.monotonic()
    while time.monotonic() - waited_since < 60:
        if not Path(f"/proc/{worker}").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived the program that asked it")
