"""A supervisor that is given one object after another, as a node of a cluster does."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.blender_kills import children
from distill_core.progress import SilentProgress
from distill_core.records.multi_view_record import read_record
from renderers.blender.job_folder import JobFolder, opened_job
from renderers.blender.settings import DatasetSettings
from renderers.blender.supervisor import Supervisor
from renderers.blender.worker_process import worker_command
from renderers.sources.local_folder import local_objects
from renderers.sources.objects import SourceObject
from tests.blender.shapes import box_and_balls, write_ply

pytestmark = pytest.mark.blender

SETTINGS = {
    "views": {"rig": "orbit", "num_views": 1, "resolution": 32},
    "render": {"samples": 1, "denoiser": "none", "lighting": "uniform"},
}


@pytest.fixture
def things(tmp_path: Path) -> list[SourceObject]:
    (tmp_path / "models").mkdir()
    for number in range(4):
        write_ply(box_and_balls(), tmp_path / "models" / f"box_{number}.ply")
    return local_objects(tmp_path / "models")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[JobFolder]:
    with opened_job(tmp_path / "out", {}) as job_folder:
        yield job_folder


def supervisor(job: JobFolder, **processes: int) -> Supervisor:
    settings = DatasetSettings.model_validate({**SETTINGS, "processes": processes})
    return Supervisor(settings, job, SilentProgress())


def workers() -> set[int]:
    """The Blenders that this process started, dead ones that it did not bury among them."""
    return {pid for pid in children(os.getpid()) if _is_blender(pid)}


def _is_blender(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):  # another child, that ended meanwhile
        stat = Path(f"/proc/{pid}/stat").read_text()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return worker_command(None)[1].encode() in command or stat.rpartition(")")[2].split()[0] == "Z"
    return False


def kill(pid: int) -> None:
    """End it, and wait until it has: it is left for its supervisor to bury."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def expect_done(job: JobFolder, things: list[SourceObject]) -> None:
    for thing in things:
        assert job.entries[thing.uid].state == "done"
        assert len(read_record(job.folder / thing.name)) == 1


def test_calls_share_a_worker(job: JobFolder, things: list[SourceObject]) -> None:
    with supervisor(job, workers=1) as supervising:
        supervising.run(things[:1])
        (pid,) = workers()
        supervising.run(things[1:2])
        assert workers() == {pid}
    expect_done(job, things[:2])
    assert not workers()


def test_a_worker_has_a_group_to_end_and_no_share_of_the_processor_of_its_own(
    job: JobFolder, things: list[SourceObject]
) -> None:
    """Linux with autogroups gives each session a share; one that was put last stays so with all that it starts."""
    with supervisor(job, workers=1) as supervising:
        supervising.run(things[:1])
        (pid,) = workers()
        assert (os.getpgid(pid), os.getsid(pid)) == (pid, os.getsid(0))


def test_a_worker_that_dies_between_calls_is_replaced_and_costs_the_next_object_no_try(
    job: JobFolder, things: list[SourceObject], caplog: pytest.LogCaptureFixture
) -> None:
    with supervisor(job, workers=1) as supervising:
        supervising.run(things[:1])
        (pid,) = workers()
        kill(pid)
        supervising.run(things[1:2])
        (replaced,) = workers()
        assert replaced != pid
    expect_done(job, things[:2])
    assert caplog.messages == []  # else: "it is tried once more"
    assert not workers()


def test_a_worker_is_replaced_after_so_many_objects_of_all_calls(job: JobFolder, things: list[SourceObject]) -> None:
    with supervisor(job, workers=1, objects_per_worker=2) as supervising:
        supervising.run(things[:1])
        (pid,) = workers()
        supervising.run(things[1:2])
        assert not workers()
        supervising.run(things[2:3])
        (replaced,) = workers()
        assert replaced != pid
    expect_done(job, things[:3])


def test_a_call_with_fewer_objects_uses_the_workers_that_are_left(job: JobFolder, things: list[SourceObject]) -> None:
    with supervisor(job, workers=2) as supervising:
        supervising.run(things[:2])
        one, other = sorted(workers())
        kill(one)
        supervising.run(things[2:3])
        assert workers() == {other}
        supervising.run(things[3:])
        assert workers() == {other}
    expect_done(job, things)
    assert not workers()
