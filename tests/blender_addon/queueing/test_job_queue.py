"""The add-on's queue of jobs against real workers and real threads."""

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gs_integration.formats.ply import encode_ply
from gs_integration.formats.spz import decode_spz
from tests.gs_integration.formats.clouds import asymmetric_cloud

HELLO = """import json, os, signal, sys, time
def say(**fields):
    os.write(1, json.dumps(fields).encode() + b"\\n")
say(kind="hello", protocol=1, tasks=[])
"""
# Does what it is asked for after a while, cancels at once, and tells apart what it was sent.
PATIENT = (
    HELLO
    + """
for line in sys.stdin:
    asked = json.loads(line)
    for sent in asked.get("attachments", []):
        sys.stdin.read(sent["bytes"])
    if asked["kind"] == "cancel":
        continue
    if asked["kind"] == "bye":
        break
    say(kind="progress", job=asked["job"], stage=asked.get("task"), step=1, total=4, seconds_left=3.5)
    time.sleep(0.05)
    say(kind="result", job=asked["job"], findings={"task": asked.get("task")})
"""
)
CONVERT = [sys.executable, "-m", "gs_integration.worker"]

MakeQueue = Callable[..., Any]


def program(text: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", text]


@pytest.fixture
def queues(client_module: ModuleType) -> ModuleType:
    return importlib.import_module("onestep3d_addon.queueing.job_queue")


@pytest.fixture
def make_queue(
    queues: Any, client_module: Any, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeQueue]:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    made = []

    def make(command: list[str], hold: Callable[[Any], str] = lambda _: "", **patience: float) -> Any:
        waits = {"hello": 120.0, "silence": 120.0, "cancel": 120.0, "terminate": 1.0, **patience}
        queue = queues.JobQueue(
            lambda: command, lambda: tmp_path / "out", hold, patience=client_module.Patience(**waits)
        )
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


def until(queue: Any, holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Tick as Blender's timer does; no tick may take long."""
    waited_since = time.monotonic()
    while not holds():
        assert time.monotonic() - waited_since < seconds, ([vars(job) for job in queue.jobs], list(queue.log))
        queue.tick()
        time.sleep(0.005)


def scene_of(kept: list[Any], steps: int = 3) -> Callable[[Path, Mapping[str, Any]], Iterator[None]]:
    """What applies a result: notes the files in so many steps."""

    def apply(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
        for _ in range(steps):
            yield
        kept.append((sorted(file.name for file in folder.rglob("*") if file.is_file()), dict(findings)))

    return apply


def test_a_job_brings_its_files_and_keeps_its_folder(make_queue: MakeQueue, queues: Any, tmp_path: Path) -> None:
    queue, kept = make_queue(CONVERT), []
    cloud = asymmetric_cloud(20, 1)
    (tmp_path / "splats.ply").write_bytes(encode_ply(cloud))
    files = {"splats.ply": tmp_path / "splats.ply"}
    state = queue.submit(queues.JobRequest("convert_splats", "Twenty splats", {"format": "spz"}, files, scene_of(kept)))
    assert state.state == "preparing"
    until(queue, lambda: state.ended)
    assert (state.state, state.sentence) == ("done", "")
    ((names, findings),) = kept
    assert "splats.spz" in names
    assert findings["splats"] == 20
    found = decode_spz((state.folder / "results" / "splats.spz").read_bytes()).splats.in_axes("z-up")
    np.testing.assert_allclose(found.means, cloud.means, atol=2e-6)
    assert (state.folder / "inputs" / "splats.ply").read_bytes() == encode_ply(cloud)
    assert state.folder.parent == tmp_path / "out"
    # Once more, from the files that were kept: the chosen one may be gone by then.
    (tmp_path / "splats.ply").unlink()
    again = queue.again(state)
    until(queue, lambda: again.ended)
    assert again.state == "done"
    assert again.folder != state.folder
    assert (again.folder / "results" / "splats.spz").read_bytes() == (
        state.folder / "results" / "splats.spz"
    ).read_bytes()


def test_jobs_run_one_after_another_and_results_come_in_short_steps(make_queue: MakeQueue, queues: Any) -> None:
    queue, order = make_queue(program(PATIENT)), []

    def apply(name: str) -> Callable[[Path, Mapping[str, Any]], Iterator[None]]:
        def steps(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
            for step in range(4):
                order.append((name, step))
                time.sleep(0.006)
                yield

        return steps

    jobs = [queue.submit(queues.JobRequest("status", name, {}, {}, apply(name))) for name in "abc"]
    most = 0
    longest = 0.0
    while not all(job.ended for job in jobs):
        began = time.thread_time()
        queue.tick()
        longest = max(longest, time.thread_time() - began)
        most = max(most, sum(job.state == "running" for job in jobs))
        time.sleep(0.002)
    assert most == 1
    assert order == [(name, step) for name in "abc" for step in range(4)]
    # The queue's own processor time; the steps above sleep.
    assert longest < 0.02


def test_a_preview_and_the_time_left_are_shown(make_queue: MakeQueue, queues: Any) -> None:
    talkative = HELLO + (
        "line = sys.stdin.readline(); job = json.loads(line)['job']\n"
        "head = dict(kind='progress', job=job, stage='texture', step=2, total=8, seconds_left=1.5)\n"
        "shown = dict(name='preview', bytes=24, type='u1', shape=[2, 4, 3])\n"
        "os.write(1, json.dumps({**head, 'attachments': [shown]}).encode() + b'\\n' + bytes(range(24)))\n"
        "bad = dict(name='preview', bytes=8, type='f4', shape=[1, 2, 1])\n"
        "os.write(1, json.dumps({**head, 'attachments': [bad]}).encode() + b'\\n' + bytes(8))\n"
        "time.sleep(600)\n"
    )
    queue, seen = make_queue(program(talkative)), []
    state = queue.submit(queues.JobRequest("status", "x", {}, {}, scene_of([]), preview=seen.append))
    until(queue, lambda: bool(seen))
    assert (state.stage, state.step, state.total, state.seconds_left, state.factor) == ("texture", 2, 8, 1.5, 0.25)
    np.testing.assert_array_equal(seen[0], np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    for _ in range(20):
        queue.tick()
        time.sleep(0.01)
    assert len(seen) == 1


@pytest.mark.parametrize("stage", ["preparing", "waiting", "running", "storing", "held"])
def test_cancel_in_each_state_leaves_the_scene_alone_and_the_next_job_works(
    make_queue: MakeQueue, queues: Any, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, kept, holding = threading.Event(), [], [""]
    if stage == "storing":  # a slow disk
        store = queues.store_results
        monkeypatch.setattr(queues, "store_results", lambda *files: release.wait(60) and store(*files))
    # A file that comes late keeps a job preparing.
    slow = PATIENT.replace("time.sleep(0.05)", "time.sleep(0.3)")
    queue = make_queue(program(slow), lambda job: holding[0] if job is state else "", cancel=1.0)

    def late() -> bytes:
        release.wait(60 if stage == "preparing" else 0)
        return b"late"

    first = queue.submit(queues.JobRequest("first", "first", {}, {}, scene_of([]))) if stage == "waiting" else None
    holding[0] = "Not now." if stage == "held" else ""
    state = queue.submit(queues.JobRequest("second", "second", {}, {"a.txt": late}, scene_of(kept)))
    until(queue, lambda: state.state == stage and (stage != "held" or state.sentence == "Not now."))
    began = time.monotonic()
    queue.cancel(state)
    until(queue, lambda: state.ended)
    assert time.monotonic() - began < 20
    release.set()
    assert (state.state, kept) == ("cancelled", [])
    after: list[Any] = []
    third = queue.submit(queues.JobRequest("third", "third", {}, {}, scene_of(after)))
    until(queue, lambda: third.ended)
    assert (third.state, len(after)) == ("done", 1)
    if first is not None:
        assert first.state == "done"
    assert kept == []


@pytest.mark.parametrize(
    "said",
    [
        {"seconds_left": 10**400},
        {"step": 10**400, "total": 3},
        {"step": 1, "total": 10**400},
        {"step": -(10**400), "total": True},
        {"step": True, "total": "x", "seconds_left": "y"},
    ],
)
def test_numbers_that_mean_nothing_cost_neither_job_nor_queue(
    make_queue: MakeQueue, queues: Any, said: dict[str, Any]
) -> None:
    strange = PATIENT.replace("step=1, total=4, seconds_left=3.5", f"**{said!r}")
    queue, kept = make_queue(program(strange)), []
    states = [queue.submit(queues.JobRequest("status", name, {}, {}, scene_of(kept))) for name in "ab"]
    shares: set[float] = set()
    until(queue, lambda: shares.update(state.factor for state in states) or all(state.ended for state in states), 20)
    assert [state.state for state in states] == ["done", "done"]
    assert all(0.0 <= share <= 1.0 for share in shares)


@pytest.mark.parametrize("kind", ["progress", "result"])
def test_an_event_that_cannot_be_taken_ends_its_job_alone(
    make_queue: MakeQueue, queues: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name = "_show" if kind == "progress" else "_finish"
    take = getattr(queues.JobQueue, name)

    def taken(queue: Any, state: Any, event: Any) -> None:
        if state.request.label == "bad":
            raise ZeroDivisionError("a defect")
        take(queue, state, event)

    monkeypatch.setattr(queues.JobQueue, name, taken)
    queue, kept = make_queue(program(PATIENT)), []
    bad, good = (queue.submit(queues.JobRequest("x", label, {}, {}, scene_of(kept))) for label in ("bad", "good"))
    until(queue, lambda: bad.ended and good.ended, 20)
    assert (bad.state, good.state, len(kept)) == ("failed", "done", 1)
    assert "ZeroDivisionError: a defect" in bad.sentence
    assert "\n" not in bad.sentence


def test_a_job_that_the_client_knows_no_more_ends(make_queue: MakeQueue, queues: Any) -> None:
    queue = make_queue(program(PATIENT.replace("time.sleep(0.05)", "time.sleep(600)")))
    state = queue.submit(queues.JobRequest("x", "x", {}, {}, scene_of([])))
    until(queue, lambda: state.stage == "x")
    queue._client._forget("1")
    until(queue, lambda: state.ended, 20)
    assert (state.state, state.sentence) == (
        "failed",
        "Expected a result from the worker, got none. Run the job again.",
    )


def test_kill_9_fails_the_job_in_one_line_and_the_next_starts_another_worker(
    make_queue: MakeQueue, queues: Any
) -> None:
    endless = PATIENT.replace("time.sleep(0.05)", "time.sleep(600 if asked['task'] == 'long' else 0)")
    queue, kept = make_queue(program(endless)), []
    state = queue.submit(queues.JobRequest("long", "long", {}, {}, scene_of(kept)))
    until(queue, lambda: state.stage == "long")
    os.kill(queue._client._process.pid, signal.SIGKILL)
    until(queue, lambda: state.ended)
    assert state.state == "failed"
    assert "killed (SIGKILL)" in state.sentence
    assert queue.problem == state.sentence
    after = queue.submit(queues.JobRequest("short", "short", {}, {}, scene_of(kept)))
    until(queue, lambda: after.ended)
    assert (after.state, queue.problem, len(kept)) == ("done", "", 1)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["/no/such/python"], "Cannot start the worker /no/such/python"),
        (program("import no_such_module"), "ended with status 1"),
        (program("import os, time; os.write(1, b'Loading...\\n'); time.sleep(600)"), "what is no message"),
        (program(HELLO.replace("protocol=1", "protocol=9") + "time.sleep(600)"), "version 9 of the protocol"),
        (program("import time; time.sleep(600)"), "did not say hello"),
        (program(HELLO + "time.sleep(600)"), "no sign of life"),
        (program(HELLO + "sys.stdin.readline(); sys.exit(3)"), "ended with status 3"),
        (
            program(
                HELLO + "say(kind='result', job='1', findings={}, attachments=[{'name': '../x', 'bytes': 1}])\n"
                "os.write(1, b'x'); time.sleep(600)"
            ),
            "leads out of its folder",
        ),
    ],
)
def test_what_is_wrong_with_a_worker_is_one_line(
    make_queue: MakeQueue, queues: Any, command: list[str], sentence: str, tmp_path: Path
) -> None:
    queue, kept = make_queue(command, hello=1.0, silence=1.0), []
    state = queue.submit(queues.JobRequest("status", "x", {}, {"a.txt": b"a"}, scene_of(kept)))
    until(queue, lambda: state.ended)
    assert state.state == "failed"
    assert sentence in state.sentence
    assert 20 < len(state.sentence) < 500
    assert "\n" not in state.sentence
    assert kept == []
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "out" / "x").exists()


def test_results_whose_names_lead_out_are_refused(make_queue: MakeQueue, queues: Any, tmp_path: Path) -> None:
    """The client refuses such names already; the folder of the job does by itself too."""
    folders = importlib.import_module("onestep3d_addon.queueing.job_folders")
    folder = tmp_path / "job"
    folder.mkdir()
    protocol = importlib.import_module("onestep3d_addon.protocol")
    with pytest.raises(protocol.ProtocolError, match="leads out of its folder"):
        folders.store_results(folder, {"good.txt": b"x", "../../evil.txt": b"x"})
    assert list(folder.iterdir()) == []


def test_a_missing_file_fails_the_job_and_no_worker_is_started(
    make_queue: MakeQueue, queues: Any, tmp_path: Path
) -> None:
    queue = make_queue(program(PATIENT))
    state = queue.submit(queues.JobRequest("x", "x", {}, {"a.png": tmp_path / "gone.png"}, scene_of([])))
    until(queue, lambda: state.ended)
    assert state.sentence == f"Expected the file {tmp_path / 'gone.png'}, which is not there. Choose it again."
    assert queue.connection == "off"


def test_a_defect_while_applying_is_said_and_its_traceback_kept(make_queue: MakeQueue, queues: Any) -> None:
    def broken(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
        yield
        raise ZeroDivisionError("a defect")

    def refused(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
        raise queues.JobError("The object Cube is gone. Run the job again.")
        yield

    queue, kept = make_queue(program(PATIENT)), []
    states = [
        queue.submit(queues.JobRequest("x", name, {}, {}, apply))
        for name, apply in (("broken", broken), ("refused", refused), ("good", scene_of(kept)))
    ]
    until(queue, lambda: all(state.ended for state in states))
    assert [state.state for state in states] == ["failed", "failed", "done"]
    assert "ZeroDivisionError: a defect" in states[0].sentence
    assert any("in broken" in line for line in queue.log)
    assert states[1].sentence == "The object Cube is gone. Run the job again."


def test_local_work_is_cancelled_and_its_sentence_shown(make_queue: MakeQueue, queues: Any) -> None:
    def slow(progress: Any) -> Mapping[str, Any]:
        progress.stage("installing", 1000)
        for _ in range(1000):
            progress.advance()
            time.sleep(0.01)
        return {}

    def failing(progress: Any) -> Mapping[str, Any]:
        progress.log("a line")
        raise queues.JobError("Expected a wheel, got none. Choose one.")

    def nothing(findings: Mapping[str, Any]) -> Iterator[None]:
        kept.append(dict(findings))
        yield

    kept: list[Any] = []
    queue = make_queue(program(PATIENT))
    first = queue.submit(queues.LocalRequest("Install worker", slow, nothing))
    until(queue, lambda: first.step > 2)
    assert first.stage == "installing"
    queue.cancel(first)
    until(queue, lambda: first.ended)
    second = queue.submit(queues.LocalRequest("Install worker", failing, nothing))
    third = queue.submit(queues.LocalRequest("Install worker", lambda _: {"python": "x"}, nothing))
    until(queue, lambda: third.ended)
    assert (first.state, second.state, third.state) == ("cancelled", "failed", "done")
    assert second.sentence == "Expected a wheel, got none. Choose one."
    assert "a line" in queue.log
    assert kept == [{"python": "x"}]


def test_a_held_result_waits_while_the_next_job_runs(make_queue: MakeQueue, queues: Any) -> None:
    reason = ["Leave Edit Mode."]
    queue, kept = make_queue(program(PATIENT), lambda _: reason[0]), []
    first = queue.submit(queues.JobRequest("first", "first", {}, {}, scene_of(kept)))
    second = queue.submit(queues.JobRequest("second", "second", {}, {}, scene_of(kept)))
    until(queue, lambda: second.state == "held" and bool(second.sentence))
    assert (first.state, first.sentence, kept) == ("held", "Leave Edit Mode.", [])
    reason[0] = ""
    began = []
    until(queue, lambda: began.append((first.state, second.sentence)) or first.ended)
    # Nothing is asked of the person any more as soon as the first one goes on.
    assert all(sentence == "" for state, sentence in began if state != "held")
    until(queue, lambda: second.ended)
    assert [findings["task"] for _, findings in kept] == ["first", "second"]


def test_blender_draws_before_the_next_step_where_a_step_asks_for_it(make_queue: MakeQueue, queues: Any) -> None:
    requests = importlib.import_module("onestep3d_addon.queueing.job_requests")
    ticks, steps = [0], []

    def apply(folder: Path, findings: Mapping[str, Any]) -> Iterator[Any]:
        for pause in (None, None, requests.StepEnd.LET_BLENDER_DRAW, requests.StepEnd.LET_BLENDER_DRAW, None):
            steps.append(ticks[0])
            yield pause
        steps.append(ticks[0])

    queue = make_queue(program(PATIENT))
    state = queue.submit(queues.JobRequest("x", "x", {}, {}, apply))
    while not state.ended:
        ticks[0] += 1
        queue.tick(seconds=10.0)
        time.sleep(0.002)
    first = steps[0]
    assert steps == [first, first, first, first + 1, first + 2, first + 2]


def test_a_result_waits_between_two_steps_and_goes_on(make_queue: MakeQueue, queues: Any) -> None:
    """Edit Mode may begin while a result is half applied."""
    reason, steps = [""], []

    def apply(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
        for step in range(6):
            steps.append((step, reason[0]))
            if step == 2:
                reason[0] = "Leave Edit Mode."
            yield

    queue = make_queue(program(PATIENT), lambda _: reason[0])
    state = queue.submit(queues.JobRequest("x", "x", {}, {}, apply))
    until(queue, lambda: bool(state.sentence))
    for _ in range(5):
        queue.tick()
    assert (state.state, state.sentence, len(steps)) == ("applying", "Leave Edit Mode.", 3)
    assert queue.waits_for_thread
    reason[0] = ""
    until(queue, lambda: state.ended)
    assert (state.state, state.sentence) == ("done", "")
    assert steps == [(step, "") for step in range(6)]


def test_a_result_that_is_half_there_is_taken_back_and_begins_anew(make_queue: MakeQueue, queues: Any) -> None:
    """Another file is opened while a result is half applied."""
    reason, scene = [""], []

    def apply(folder: Path, findings: Mapping[str, Any]) -> Iterator[None]:
        try:
            for step in range(100):
                scene.append(step)
                time.sleep(0.003)
                yield
        except GeneratorExit:
            scene.clear()
            raise

    queue = make_queue(program(PATIENT), lambda _: reason[0])
    state = queue.submit(queues.JobRequest("x", "x", {}, {}, apply))
    until(queue, lambda: len(scene) > 5)
    queue.start_over()
    reason[0] = "Another file."
    assert (state.state, scene) == ("held", [])
    until(queue, lambda: bool(state.sentence))
    assert (state.state, state.sentence, scene) == ("held", "Another file.", [])
    reason[0] = ""
    until(queue, lambda: state.ended)
    assert (state.state, scene) == ("done", list(range(100)))


def test_what_does_not_change_the_scene_is_never_held(make_queue: MakeQueue, queues: Any) -> None:
    queue, kept = make_queue(program(PATIENT), lambda _: "Made for a file that is no longer open."), []

    def forget(findings: Mapping[str, Any]) -> Iterator[None]:
        kept.append(findings)
        yield

    records = queue.submit(queues.JobRequest("x", "records", {}, {}, scene_of(kept), changes_scene=False))
    install = queue.submit(queues.LocalRequest("install", lambda _: {}, forget, changes_scene=False))
    views = queue.submit(queues.JobRequest("x", "views", {}, {}, scene_of(kept)))
    until(queue, lambda: views.state == "held" and bool(views.sentence))
    assert (records.state, install.state, len(kept)) == ("done", "done", 2)


def test_another_command_exchanges_the_worker(make_queue: MakeQueue, queues: Any) -> None:
    command = program(PATIENT)
    queue = make_queue(command)
    first = queue.submit(queues.JobRequest("x", "first", {}, {}, scene_of([])))
    until(queue, lambda: first.ended)
    before = queue._client._process.pid
    command += ["another"]
    second = queue.submit(queues.JobRequest("x", "second", {}, {}, scene_of([])))
    until(queue, lambda: second.ended)
    assert (first.state, second.state) == ("done", "done")
    assert queue._client._process.pid != before


def test_a_test_of_another_worker_waits_for_the_job_that_runs(make_queue: MakeQueue, queues: Any) -> None:
    """The idle time was changed meanwhile, say, and with it the command."""
    command = program(PATIENT.replace("time.sleep(0.05)", "time.sleep(0.5)"))
    queue, kept = make_queue(command), []
    state = queue.submit(queues.JobRequest("x", "first", {}, {}, scene_of(kept)))
    until(queue, lambda: state.stage == "x")
    before = queue._client._process.pid
    command += ["another"]
    queue.test_connection()
    until(queue, lambda: state.ended and not queue.busy)
    assert (state.state, state.sentence, len(kept)) == ("done", "", 1)
    assert queue.status == {"task": "status"}
    assert queue._client._process.pid != before


def test_work_on_the_environment_begins_when_the_worker_has_ended(make_queue: MakeQueue, queues: Any) -> None:
    """It would find the worker's files in use. A job that waits before it starts the worker once more."""
    queue = make_queue(program(PATIENT.replace("break", "time.sleep(0.3); break")))
    first, second = (queue.submit(queues.JobRequest("x", name, {}, {}, scene_of([]))) for name in ("first", "second"))
    alive = []
    work = queues.LocalRequest(
        "Remove worker", lambda _: {"alive": alive.append(queue.alive)}, lambda _: iter(()), without_worker=True
    )
    third = queue.submit(work)
    until(queue, lambda: third.ended)
    assert [job.state for job in (first, second, third)] == ["done", "done", "done"]
    assert alive == [False]
    assert queue.problem == ""


def test_the_first_good_job_brings_how_the_worker_is(make_queue: MakeQueue, queues: Any) -> None:
    queue = make_queue(program(PATIENT))
    state = queue.submit(queues.JobRequest("x", "first", {}, {}, scene_of([])))
    until(queue, lambda: state.ended and not queue.busy)
    assert (state.state, queue.status) == ("done", {"task": "status"})


def test_test_connection_tells_how_the_worker_is(make_queue: MakeQueue) -> None:
    queue = make_queue(CONVERT)
    queue.test_connection()
    until(queue, lambda: bool(queue.status), seconds=170)
    assert queue.connection == "ready"
    assert queue.status["device"] in ("cpu", "cuda")
    assert queue.status["checkpoint"] == "small"
    assert not queue.busy
    process = queue._client._process
    queue.close()
    assert process.poll() is not None
    assert (queue.connection, queue.status) == ("off", {})


def test_an_output_folder_that_cannot_be_is_named_as_such(queues: Any, tmp_path: Path) -> None:
    queue = queues.JobQueue(lambda: CONVERT, lambda: Path("/dev/null/results"), lambda _: "", lambda _: None)
    state = queue.submit(queues.JobRequest("status", "Any", {}, {}, lambda folder, findings: iter(())))
    until(queue, lambda: state.ended)
    assert state.state == "failed"
    assert "/dev/null/results" in state.sentence
    assert "another output folder" in state.sentence
    queue.close()
