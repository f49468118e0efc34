"""The worker at the other end of two pipes, in a thread of this process; tests/blender_addon has it in its own."""

import logging
import random
import re
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from distill_core.errors import UserError
from gs_integration import worker, worker_jobs
from gs_integration.formats.ply import encode_ply
from gs_integration.formats.spz import decode_spz
from gs_integration.worker import TASK_NAMES
from gs_integration.worker_jobs import TASKS, Job, LoadedGenerators
from tests.gs_integration.formats.clouds import asymmetric_cloud
from tests.gs_integration.worker_threads import Asker, worker_thread


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers make their folders; beside it nothing may appear."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    # When it runs out, the worker ends its process, which is the tests' own here.
    monkeypatch.setattr(worker, "_GRACE_SECONDS", 600)
    return tmp_path


@pytest.fixture
def asker(folders: Path) -> Iterator[Asker]:
    with worker_thread() as speaking:
        yield speaking
    assert [entry.name for entry in folders.iterdir()] == ["temporary"]
    assert not list((folders / "temporary").iterdir())


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Job], dict[str, object]]], None]:
    """Puts another task in the place of `status`."""

    def put(function: Callable[[Job], dict[str, object]]) -> None:
        monkeypatch.setitem(worker_jobs.TASKS, "status", function)

    return put


CLOUD = asymmetric_cloud(20, 1)


def convert(asker: Asker, job: str) -> None:
    answer = asker.run(job, "convert_splats", {"splats.ply": encode_ply(CLOUD)}, format="spz")
    assert answer.kind == "result", answer.fields
    assert answer.fields["job"] == job
    assert answer.fields["findings"]["splats"] == 20
    content = answer.attachments["splats.spz"]
    assert isinstance(content, bytes)
    found = decode_spz(content).splats.in_axes("z-up")
    np.testing.assert_allclose(found.means, CLOUD.means, atol=2e-6)


def test_the_names_that_hello_tells_are_those_of_the_tasks() -> None:
    assert TASK_NAMES == tuple(TASKS)


def test_jobs_give_files_and_findings(asker: Asker) -> None:
    convert(asker, "1")
    convert(asker, "2")


def test_progress_says_stage_step_total_and_time_left(asker: Asker, task) -> None:
    def steps(job: Job) -> dict[str, object]:
        job.progress.stage("walking", 4)
        for _ in range(4):
            time.sleep(0.12)
            job.progress.advance(1, np.full((3, 600, 300), 0.5, np.float32))
        return {"walked": 4}

    task(steps)
    asker.say("run", job="w", task="status")
    seen = []
    while (message := asker.hear("progress", "result")).kind == "progress":
        seen.append(message)
    assert message.fields["findings"] == {"walked": 4}
    walking = [each.fields for each in seen if each.fields["stage"] == "walking"]
    assert walking[0] == {"job": "w", "stage": "walking", "step": 0, "total": 4, "seconds_left": None}
    assert [each["step"] for each in walking] == sorted(each["step"] for each in walking)
    assert any(each["seconds_left"] is not None for each in walking)
    (preview, *_) = [each.attachments["preview"] for each in seen if each.attachments]
    assert isinstance(preview, np.ndarray)
    assert preview.shape == (300, 150, 3)
    assert (preview == 128).all()


def test_a_cancelled_job_ends_at_its_next_step_and_the_next_job_runs(asker: Asker, task) -> None:
    begun = threading.Event()

    def endless(job: Job) -> dict[str, object]:
        job.progress.stage("endless", None)
        begun.set()
        while True:
            time.sleep(0.01)
            job.progress.advance()

    task(endless)
    asker.say("run", job="1", task="status")
    asker.say("run", job="2", task="status")
    assert begun.wait(30)
    asker.say("cancel", job="2")
    asker.say("cancel", job="1")
    for job in ("1", "2"):
        error = asker.hear("error", "result").fields
        assert (error["job"], error["cause"]) == (job, "cancelled")
    convert(asker, "3")


@pytest.mark.parametrize(
    ("raised", "cause", "why"),
    [
        (MemoryError(), "memory", "The memory is full."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory", "The memory is full."),
        (UserError("Expected a cat, got a dog; choose a cat."), "person", "Expected a cat, got a dog; choose a cat."),
        (ZeroDivisionError("by zero"), "bug", "ZeroDivisionError: by zero"),
        (OSError(28, "No space left on device"), "person", "[Errno 28] No space left on device"),
    ],
)
def test_what_goes_wrong_is_said_and_the_worker_lives_on(
    asker: Asker, task, raised: Exception, cause: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: Job) -> dict[str, object]:
        raise raised

    task(fail)
    with caplog.at_level(logging.ERROR):
        error = asker.run("1", "status").fields
    assert (error["job"], error["cause"], error["why"]) == ("1", cause, why)
    says_itself = isinstance(raised, UserError)
    assert bool(error["what"]) != says_itself
    assert bool(error["what_to_do"]) != says_itself
    assert ("Traceback" in caplog.text) == (cause in ("bug", "memory"))  # the log keeps what the person is spared
    convert(asker, "2")


@pytest.mark.parametrize(
    ("task_name", "settings", "words"),
    [
        ("no_such_task", {}, "Expected a task of image_to_views"),
        ("convert_splats", {"format": "sog"}, "Expected a format of ply"),
        ("convert_splats", {"format": "ply", "spz_version": 5}, "spz_version"),
        ("convert_splats", {"format": "ply", "rm": "-rf"}, "rm"),
        ("convert_splats", {"format": "ply"}, r"Expected one file splats\.\*, got 0"),
    ],
)
def test_jobs_that_cannot_be_are_refused_in_a_sentence(asker: Asker, task_name: str, settings, words: str) -> None:
    error = asker.run("1", task_name, **settings)
    assert error.kind == "error"
    assert error.fields["cause"] == "person"
    assert re.search(words, error.fields["why"])


def test_hostile_messages_are_refused_and_leave_nothing_behind(asker: Asker, folders: Path) -> None:
    hostile = [
        b"nonsense\n",
        b"[" * 100_000 + b"\n",
        b'{"kind": "run", "job": NaN}\n',
        b'{"kind": "run"}\n',
        b'{"kind": "run", "job": ""}\n',
        b'{"kind": "eval", "job": "1"}\n',
        b'{"kind": "run", "job": "1", "attachments": [{"name": "../../x", "bytes": 3}]}\nxyz',
        b'{"kind": "run", "job": "1", "attachments": [{"name": "/tmp/x", "bytes": 3}]}\nxyz',
    ]
    for content in hostile:
        asker.to_worker.write(content)
        asker.to_worker.flush()
        error = asker.hear("error", "result")
        assert (error.kind, error.fields["cause"]) == ("error", "message")
    error = asker.run("2", "status", settings_are="no object")
    assert error.fields["cause"] == "person"
    asker.say("run", job="3", task="status", settings=[1])
    assert asker.hear("error").fields["job"] == "3"
    convert(asker, "4")


def test_ten_thousand_random_strings_are_refused_and_the_next_job_works(asker: Asker) -> None:
    """Half of them begin like a message; none names its attachments, so that each ends with its line."""
    generator = random.Random(0)
    strings = [generator.randbytes(generator.randint(1, 40)).replace(b"\n", b" ") for _ in range(10_000)]
    content = b"".join((b'{"kind":' if number % 2 else b"") + text + b"\n" for number, text in enumerate(strings))

    def send() -> None:
        asker.to_worker.write(content)
        asker.to_worker.flush()

    sender = threading.Thread(target=send)  # the refusals must be read meanwhile, or both pipes fill up
    sender.start()
    for _ in strings:
        assert asker.hear("error", "result").fields["cause"] == "message"
    sender.join(60)
    convert(asker, "1")


@pytest.mark.parametrize("content", [b"x" * (2 << 20), b'{"kind":"run","attachments":[{"name":"a","bytes":-1}]}\n'])
def test_a_message_whose_end_nobody_knows_ends_the_worker(asker: Asker, content: bytes) -> None:
    asker.to_worker.write(content[: (1 << 20) + 1])
    asker.to_worker.flush()
    assert asker.hear("error").fields["cause"] == "message"
    asker.thread.join(30)
    assert not asker.thread.is_alive()


def test_bye_and_a_closed_input_end_the_worker_while_it_works(asker: Asker, task) -> None:
    begun = threading.Event()

    def endless(job: Job) -> dict[str, object]:
        begun.set()
        while True:
            time.sleep(0.01)
            job.progress.advance()

    task(endless)
    asker.say("run", job="1", task="status")
    assert begun.wait(30)
    asker.say("bye")
    assert asker.hear("error").fields["cause"] == "cancelled"
    asker.thread.join(30)
    assert not asker.thread.is_alive()


def test_free_answers_in_its_turn(asker: Asker) -> None:
    asker.say("run", {"splats.ply": encode_ply(CLOUD)}, job="1", task="convert_splats", settings={})
    asker.say("free", job="2")
    assert [asker.hear("result").fields["job"] for _ in range(2)] == ["1", "2"]


def test_models_leave_the_memory_when_no_job_comes(folders: Path, task) -> None:
    kept: list[LoadedGenerators] = []

    def load(job: Job) -> dict[str, object]:
        job.generators._generator = object()  # type: ignore[assignment] - as large as any for this purpose
        kept.append(job.generators)
        return {}

    task(load)
    with worker_thread(idle_seconds=0.05) as asker:
        assert asker.run("1", "status").kind == "result"
        waited_since = time.monotonic()
        while kept[0] and time.monotonic() - waited_since < 60:
            time.sleep(0.02)
        assert not kept[0]
        convert(asker, "2")


def test_files_of_a_job_leave_the_memory_when_it_has_ended(asker: Asker, task) -> None:
    task(lambda job: {})
    tracemalloc.start()
    try:
        asker.run("1", "status", {"large.bin": bytes(50_000_000)})
        began = time.monotonic()
        while tracemalloc.get_traced_memory()[0] > 20_000_000:
            assert time.monotonic() - began < 10
            time.sleep(0.05)
    finally:
        tracemalloc.stop()
