"""A set of models through worker processes to records; one bad model costs its own time and nothing else."""

import hashlib
import logging
import selectors
import shutil
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from distill_core.errors import UserError
from distill_core.progress import Progress
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord, write_record
from renderers.blender.job_folder import Entry, JobFolder
from renderers.blender.model_checks import check_model
from renderers.blender.multilayer_exr import DamagedExr
from renderers.blender.passes import (
    read_albedo,
    read_colours,
    read_depth,
    read_normals,
    read_object_indices,
    reported_seconds,
)
from renderers.blender.rigs import Rig, make_rig
from renderers.blender.settings import DatasetSettings
from renderers.blender.tasks import check_animation, check_lighting, object_seed, worker_task
from renderers.blender.worker_process import WorkerDied, WorkerProcess, worker_command, worker_threads
from renderers.sources.objects import SourceObject

_LOG = logging.getLogger(__name__)
_GIB = 1 << 30
_POLL_SECONDS = 0.1
_TRIES = 2


@dataclass
class _Job:
    """An object on its way.

    Attributes:
        thing: what is rendered.
        number: of its place in the set, which names its folder of raw passes.
        seed: its own, of cameras, lights and noise.
        tries: how often a worker was given it.
        began: when the latest worker was.
    """

    thing: SourceObject
    number: int
    seed: int
    tries: int = 0
    began: float = 0.0


@dataclass
class _Slot:
    """A place for a worker, and what it works on."""

    worker: WorkerProcess | None = None
    job: _Job | None = None


class Supervisor:
    """Renders objects that are not done yet; as a context, it ends its workers whatever happens.

    Args:
        settings: of the job.
        job_folder: where records and the journal go.
        progress: told of each object.
        cores: that the workers share; None means all that this process may use.
    """

    def __init__(
        self, settings: DatasetSettings, job_folder: JobFolder, progress: Progress, *, cores: int | None = None
    ) -> None:
        self._settings = settings
        self._job_folder = job_folder
        self._progress = progress
        self._cores = cores
        self._command = worker_command(settings.processes.blender)
        self._num_started = 0
        self._slots: list[_Slot] = []
        self._waiting: deque[_Job] = deque()
        self._alone: deque[_Job] = deque()
        self._writing: dict[Future[dict[str, float]], tuple[_Job, dict[str, Any]]] = {}

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for slot in self._slots:
            self._let_go(slot)

    def run(self, objects: list[SourceObject]) -> None:
        """Render the objects, and return when each is done or left out; workers stay for the next call.

        Args:
            objects: all of the set; those with a record are passed over.

        Raises:
            UserError: Blender does not start or lacks what the settings ask for, or the disk is full.
        """
        # What is wrong with these is wrong for all objects.
        make_rig(self._settings.views, 0)
        check_lighting(self._settings.render)
        check_animation(self._settings.animation)
        self._waiting.extend(self._jobs(objects))
        if not self._waiting:
            return
        self._progress.stage("rendering", len(self._waiting))
        num_workers = min(self._settings.processes.workers, len(self._waiting))
        self._slots += [_Slot() for _ in range(len(self._slots), num_workers)]
        for slot in self._slots:
            self._let_go_of_dead(slot)
        self._slots.sort(key=lambda slot: slot.worker is None)  # the workers of an earlier call are fed first
        with ThreadPoolExecutor(num_workers) as writers:
            try:
                for slot in self._slots[:num_workers]:  # Blender takes seconds to start: all of them start at once
                    slot.worker = slot.worker or self._started()
                for slot in self._slots[:num_workers]:
                    self._expect_able(slot)
                while self._waiting or self._alone or self._writing or any(slot.job for slot in self._slots):
                    self._feed()
                    self._listen(writers)
                    self._watch()
                    self._collect()
            finally:
                writers.shutdown(wait=True, cancel_futures=True)

    def _jobs(self, objects: list[SourceObject]) -> list[_Job]:
        jobs = []
        for number, thing in enumerate(objects):
            entry = self._job_folder.entries.get(thing.uid)
            left_out = entry is not None and entry.state == "left out" and not self._settings.retry
            if left_out or self._job_folder.is_done(thing.name):
                continue
            jobs.append(_Job(thing, number, object_seed(self._settings.seed, thing.uid)))
        return jobs

    # --- one round of the loop ------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Give idle workers their next object; what failed once is tried with no other worker beside it."""
        for slot in self._slots:
            while slot.job is None and self._waiting:
                self._give(slot, self._waiting.popleft())
        idle = not self._waiting and not any(slot.job for slot in self._slots)
        while idle and self._alone:
            slot = self._slots[0]
            self._let_go(slot)  # whatever the object met before, it meets a fresh worker now
            self._give(slot, self._alone.popleft())
            idle = slot.job is None

    def _listen(self, writers: ThreadPoolExecutor) -> None:
        busy = [slot for slot in self._slots if slot.job is not None and slot.worker is not None]
        if not busy:
            time.sleep(_POLL_SECONDS / 5)
            return
        with selectors.DefaultSelector() as selector:
            for slot in busy:
                assert slot.worker is not None
                selector.register(slot.worker, selectors.EVENT_READ, slot)
            ready = [key.data for key, _ in selector.select(_POLL_SECONDS)]
        for slot in ready:
            try:
                answer = slot.worker.answer()
            except WorkerDied as death:
                self._failed(slot, str(death))
                continue
            if answer is not None:
                self._hear(slot, answer, writers)

    def _hear(self, slot: _Slot, answer: dict[str, Any], writers: ThreadPoolExecutor) -> None:
        job = slot.job
        assert job is not None
        assert slot.worker is not None
        match answer["event"]:
            case "done":
                slot.job = None
                future = writers.submit(self._write, job, answer, slot.worker.hello["blender"])
                self._writing[future] = (job, answer)
                if slot.worker.num_tasks >= self._settings.processes.objects_per_worker:
                    self._let_go(slot)
            case "refused":
                slot.job = None
                self._leave_out(job, answer["reason"])
            case _:
                self._failed(slot, answer.get("reason", "the worker failed without a reason"))

    def _watch(self) -> None:
        """End workers that take too long or too much."""
        limits = self._settings.processes
        for slot in self._slots:
            if slot.job is None or slot.worker is None:
                continue
            if time.monotonic() - slot.job.began > limits.time_limit_seconds:
                self._failed(slot, f"it took longer than {limits.time_limit_seconds:g} s")
            elif slot.worker.memory_bytes() > limits.memory_limit_gib * _GIB:
                self._failed(slot, f"it took more than {limits.memory_limit_gib:g} GiB of memory")

    def _collect(self) -> None:
        for future in [future for future in self._writing if future.done()]:
            job, answer = self._writing.pop(future)
            try:
                written = future.result()
            except DamagedExr as error:
                self._again_or_leave_out(job, f"its pictures are damaged: {error}")
                continue
            seconds = {**answer["seconds"], **written, "total": round(time.monotonic() - job.began, 3)}
            self._job_folder.note(job.thing.uid, Entry("done", None, seconds))
            self._progress.advance()

    # --- what happens to an object --------------------------------------------------------------------------

    def _give(self, slot: _Slot, job: _Job) -> None:
        job.began = time.monotonic()
        try:
            check_model(job.thing.path)
        except UserError as error:
            self._leave_out(job, str(error))
            return
        self._let_go_of_dead(slot)
        slot.worker = slot.worker or self._started()
        self._expect_able(slot)
        job.began = time.monotonic()
        job.tries += 1
        output = self._raw_folder(job)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        slot.job = job
        slot.worker.give(
            worker_task(
                job.thing.path,
                job.thing.path.name,
                output,
                self._rig(job),
                self._settings,
                seed=job.seed,
                threads=worker_threads(len(self._slots), self._cores),
            )
        )

    def _started(self) -> WorkerProcess:
        self._num_started += 1
        memory_bytes = int(self._settings.processes.memory_limit_gib * _GIB)
        return WorkerProcess(self._command, self._job_folder.work, self._num_started, memory_bytes)

    def _expect_able(self, slot: _Slot) -> None:
        assert slot.worker is not None
        try:
            hello = slot.worker.greet()
        except WorkerDied:  # killed from outside, perhaps, or short of memory for a moment
            slot.worker = self._started()
            try:
                hello = slot.worker.greet()
            except WorkerDied as death:
                raise UserError(
                    f"Expected Blender to start as {self._command[0]}, but it ended: {death}; see --blender and "
                    "make setup-blender."
                ) from death
        render = self._settings.render
        if render.denoiser != "none" and not hello["denoiser"]:
            raise UserError(
                f"--denoiser: Blender {hello['blender']} was built without OpenImageDenoise; give --denoiser none, or "
                "another Blender."
            )
        if render.render_device == "gpu" and not hello["gpus"]:
            raise UserError("--render-device: Blender finds no graphics card that Cycles can use; give cpu.")

    def _failed(self, slot: _Slot, reason: str) -> None:
        """The worker is of no more use; its object is tried once more, or left out."""
        job = slot.job
        assert job is not None
        assert slot.worker is not None
        slot.worker.kill()
        slot.worker, slot.job = None, None
        self._again_or_leave_out(job, reason)

    def _again_or_leave_out(self, job: _Job, reason: str) -> None:
        self._job_folder.expect_room()
        if job.tries < _TRIES:
            _LOG.warning("%s: %s; it is tried once more, alone, at the end.", job.thing.uid, reason)
            self._alone.append(job)
        else:
            self._leave_out(job, f"{job.thing.path.name}: {reason}, twice.")

    def _leave_out(self, job: _Job, reason: str) -> None:
        _LOG.warning("left out %s", reason if job.thing.path.name in reason else f"{job.thing.uid}: {reason}")
        shutil.rmtree(self._raw_folder(job), ignore_errors=True)
        seconds = {"total": round(time.monotonic() - job.began, 3)}
        self._job_folder.note(job.thing.uid, Entry("left out", reason, seconds))
        self._progress.advance()

    def _let_go(self, slot: _Slot) -> None:
        if slot.worker is not None:
            slot.worker.kill()
            slot.worker = None

    def _let_go_of_dead(self, slot: _Slot) -> None:
        """An idle worker that was killed from outside is no fault of the object that it would get next."""
        if slot.worker is not None and slot.worker.has_ended():
            self._let_go(slot)

    def _rig(self, job: _Job) -> Rig:
        # Made when it is needed: the cameras of a million objects at once would fill the memory.
        return make_rig(self._settings.views, job.seed)

    def _raw_folder(self, job: _Job) -> Path:
        return self._job_folder.work / f"raw-{job.number}"

    # --- in a thread: PNG takes about as long as a fast render ----------------------------------------------

    def _write(self, job: _Job, answer: dict[str, Any], blender: str) -> dict[str, float]:
        began = time.monotonic()
        raw = self._raw_folder(job)
        rig = self._rig(job)
        record = raw_to_record(raw, rig, _metadata(job, rig, answer, blender, self._settings), self._settings)
        write_record(record, self._job_folder.folder / job.thing.name)
        reported = reported_seconds(raw)
        shutil.rmtree(raw)
        return {"cycles": round(reported, 2), "write": round(time.monotonic() - began, 3)}


def raw_to_record(folder: Path, rig: Rig, metadata: dict[str, Any], settings: DatasetSettings) -> MultiViewRecord:
    """The raw passes of all views as a record; they are read, and found to be whole, as it is written.

    Args:
        folder: that a worker filled.
        rig: the cameras; every moment of an animation has all of them.
        metadata: of the record.
        settings: of the job: its moments and passes.
    """
    times, passes = settings.animation.times, settings.render.passes
    cameras = list(rig.cameras) * max(1, len(times))

    def lazy(reader: Callable[..., np.ndarray]) -> LazyViews:
        return LazyViews([partial(reader, folder, view) for view in range(len(cameras))])

    return MultiViewRecord(
        cameras=cameras,
        pictures=lazy(read_colours),
        depth=lazy(read_depth),
        normals=LazyViews([partial(read_normals, folder, view, camera) for view, camera in enumerate(cameras)]),
        albedo=lazy(read_albedo) if "albedo" in passes else None,
        object_indices=lazy(read_object_indices) if "object-index" in passes else None,
        times=[time for time in times for _ in rig.cameras],
        metadata=metadata,
    )


def _metadata(job: _Job, rig: Rig, answer: dict[str, Any], blender: str, settings: DatasetSettings) -> dict[str, Any]:
    """What the record says of itself; nothing that differs between two runs of the same job."""
    thing = job.thing
    return {
        "source": {
            "uid": thing.uid,
            "file": thing.path.name,
            "sha256": _sha256(thing.path),
            "origin": thing.origin,
            "author": thing.author,
        },
        "licence": thing.licence,
        "normalisation": {"kind": rig.normalisation, "source_to_object": answer["source_to_object"]},
        **({"up_axis": answer["up_axis"]} if answer["up_axis"] else {}),
        "missing_textures": answer["missing_textures"],
        "num_faces": answer["num_faces"],
        **({"objects": answer["objects"]} if "object-index" in settings.render.passes else {}),
        **({"animation": answer["animation"]} if answer["animation"] else {}),
        "rig": rig.name,
        "renderer": {
            "program": "Blender",
            "version": blender,
            "seed": job.seed,
            "settings": settings.render.model_dump(mode="json"),
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_settings(settings: DatasetSettings) -> dict[str, Any]:
    """All that the records of a job depend on, as plain JSON: not how many workers there are, nor their limits."""
    kept = settings.model_dump(mode="json", include={"views", "render", "animation", "up_axis", "seed"})
    blender = settings.processes.blender
    return kept | {"blender": None if blender is None else str(blender)}
