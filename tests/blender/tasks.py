"""One model through a worker, without a supervisor."""

from pathlib import Path
from typing import Any

from distill_core.records.multi_view_record import MultiViewRecord, read_record, write_record
from renderers.blender.rigs import Rig
from renderers.blender.settings import DatasetSettings
from renderers.blender.supervisor import raw_to_record
from renderers.blender.tasks import worker_task
from renderers.blender.worker_process import WorkerProcess


def answered(worker: WorkerProcess, task: dict[str, Any]) -> dict[str, Any]:
    worker.give(task)
    answer = None
    while answer is None:
        answer = worker.answer()
    return answer


def rendered(
    worker: WorkerProcess, model: Path, rig: Rig, settings: DatasetSettings, folder: Path
) -> tuple[MultiViewRecord, dict[str, Any]]:
    """A record as a job writes it, read again, and the worker's answer; the raw passes stay in `folder / "raw"`."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    answer = answered(worker, worker_task(model, model.name, raw, rig, settings, seed=1, threads=1))
    assert answer["event"] == "done", answer
    metadata = {name: answer[name] for name in ("source_to_object", "animation", "objects")}
    write_record(raw_to_record(raw, rig, metadata, settings), folder / "record")
    return read_record(folder / "record"), answer
