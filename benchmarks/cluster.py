"""Models to records on a Ray cluster of two nodes on this machine, one of them lost half-way, and the cost of more.

Each row is a job of `render_dataset.py` on the same models: without Ray, on two nodes of one core each, and on two
nodes of which one is killed when a third of the records are there. "Same" counts the records whose files are, byte for
byte, those of the job without Ray. What more objects would cost is their number times the means of these: processor
seconds of the job without Ray, Blender's start and all else included, and the bytes of a record.
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError

_PROGRAM = Path(__file__).resolve().parents[1] / "scripts" / "render_dataset.py"
_PATIENCE_SECONDS = 3600
_MEMORY_GIB = 3


class Settings(BaseModel):
    """Which models, and how they are rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/mixed_formats"), description="folder of models (.glb)")
    folder: Path = Field(default=Path("out/cluster"), description="for jobs; each is removed when it is measured")
    num_models: int = Field(default=12, ge=3, description="models of each job, the first by name")
    num_views: int = Field(default=12, ge=1, le=999, description="views of a model")
    resolution: int = Field(default=256, ge=16, le=2048, description="side of the views in pixels")
    samples: int = Field(default=32, ge=1, description="Cycles' samples a pixel")
    objects: int = Field(default=800_000, ge=1, description="objects whose cost is computed; Objaverse 1.0 has so many")


def run(settings: Settings) -> dict[str, Any]:
    """Run the jobs, compare their records, and compute what more objects cost.

    Args:
        settings: which models, and how they are rendered.

    Raises:
        UserError: a model is not there, a job left one out, or Ray is not installed.
    """
    source = settings.folder / "models"
    source.mkdir(parents=True, exist_ok=True)
    models = sorted(settings.models.glob("*.glb"))[: settings.num_models]
    if len(models) < settings.num_models:
        raise UserError(
            f"Expected {settings.num_models} models (.glb) in {settings.models}, found {len(models)}; name the folder "
            "with --models."
        )
    for model in models:
        shutil.copyfile(model, source / model.name)
    before = _processor_seconds()
    alone, seconds = _finished(_started(settings, source, "alone", "--workers", "2"), settings, "alone")
    object_seconds = (_processor_seconds() - before) / len(alone)
    rows = [{"job": "one machine, two workers", "seconds": seconds, "same": len(alone)}]
    for job, is_killed in (("two nodes", False), ("two nodes, one killed half-way", True)):
        name = "lost" if is_killed else "nodes"
        with _cluster() as cluster:
            process, began = _started(settings, source, name, "--cluster", cluster.address)
            if is_killed:
                _kill_a_node(cluster, settings, name, process)
            digests, seconds = _finished((process, began), settings, name)
        rows.append({"job": job, "seconds": seconds, "same": sum(alone[key] == digests.get(key) for key in alone)})
    record_bytes, shard_bytes = _bytes(settings, "nodes")
    for name in ("alone", "nodes", "lost"):
        shutil.rmtree(settings.folder / name)
    return {
        "models": settings.num_models,
        "views": settings.num_views,
        "resolution": settings.resolution,
        "samples": settings.samples,
        "jobs": rows,
        **cost(settings.objects, object_seconds, record_bytes, shard_bytes),
    }


def cost(objects: int, core_seconds: float, record_bytes: int, shard_bytes: int) -> dict[str, Any]:
    """What objects cost, by what one does.

    Args:
        objects: their number.
        core_seconds: of one object.
        record_bytes: of its record as a folder.
        shard_bytes: of its record in shards.
    """
    return {
        "objects": objects,
        "core_seconds_an_object": round(core_seconds, 2),
        "record_bytes_an_object": record_bytes,
        "shard_bytes_an_object": shard_bytes,
        "core_hours": round(objects * core_seconds / 3600),
        "record_terabytes": round(objects * record_bytes / 1e12, 2),
        "shard_terabytes": round(objects * shard_bytes / 1e12, 2),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown tables.

    Args:
        result: what `run` returned.
    """
    lines = ["| job | wall s | same records |", "| --- | ---: | ---: |"]
    lines += [
        f"| {row['job']} | {row['seconds']:.1f} | {row['same']} of {result['models']} |" for row in result["jobs"]
    ]
    lines += [
        "",
        f"| {result['views']} views, {result['resolution']} px, {result['samples']} samples | core time | record | "
        "in shards |",
        "| --- | ---: | ---: | ---: |",
        f"| one object | {result['core_seconds_an_object']:.1f} s | {result['record_bytes_an_object'] / 1e6:.2f} MB | "
        f"{result['shard_bytes_an_object'] / 1e6:.2f} MB |",
        f"| {result['objects']:,} objects | {result['core_hours']:,} h | {result['record_terabytes']:.2f} TB | "
        f"{result['shard_terabytes']:.2f} TB |",
    ]
    return "\n".join(lines)


@contextmanager
def _cluster() -> Iterator[Any]:
    """A head that renders nothing and two nodes of one core, by Ray's own helper, all on the loopback."""
    # Ray's own name for "this machine alone", which it heeds on Linux too.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        from ray.cluster_utils import Cluster
    except ImportError as error:
        raise UserError("Expected Ray, got none; install it with: pip install 'onestep3d[cluster]'.") from error
    node: dict[str, Any] = {"memory": (_MEMORY_GIB + 1) << 30, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(wait=True, num_cpus=1, **node)
        yield cluster
    finally:
        cluster.shutdown()


def _started(settings: Settings, source: Path, name: str, *options: str) -> tuple[subprocess.Popen[bytes], float]:
    output = settings.folder / name
    shutil.rmtree(output, ignore_errors=True)
    chosen = {
        "--output-dir": output,
        "--num-views": settings.num_views,
        "--resolution": settings.resolution,
        "--samples": settings.samples,
        "--memory-limit-gib": _MEMORY_GIB,
    }
    words = [str(word) for option in chosen.items() for word in option]
    command = [sys.executable, str(_PROGRAM), str(source), *words, *options]
    return subprocess.Popen(command, stdout=sys.stderr), time.monotonic()


def _finished(
    job: tuple[subprocess.Popen[bytes], float], settings: Settings, name: str
) -> tuple[dict[str, str], float]:
    """The hash of each record, and how long the job took."""
    process, began = job
    try:
        status = process.wait(_PATIENCE_SECONDS)
    finally:
        process.kill()
    seconds = round(time.monotonic() - began, 1)
    output = settings.folder / name
    if status != 0:
        raise UserError(f"Expected every model to be rendered, got status {status}; see {output / 'report.json'}.")
    return {record.name: _digest(record) for record in _records(output)}, seconds


def _kill_a_node(cluster: Any, settings: Settings, name: str, process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a node when a third of the records are there."""
    while process.poll() is None and len(_records(settings.folder / name)) < settings.num_models // 3:
        time.sleep(0.1)
    lost = next(iter(cluster.worker_nodes))
    for infos in lost.all_processes.values():
        for info in infos:
            os.kill(info.process.pid, signal.SIGKILL)


def _records(output: Path) -> list[Path]:
    return sorted(file.parent for file in output.glob("[!.]*/transforms.json"))


def _digest(record: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(record.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(record)} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _processor_seconds() -> float:
    """Of all processes that this one started and saw end, and of theirs: other work here hardly changes it."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _bytes(settings: Settings, name: str) -> tuple[int, int]:
    """The mean size of a record, as a folder and in shards of the usual kind."""
    from distill_core.records.multi_view_record import read_record
    from distill_core.records.shard_files import PictureEncoding, ShardWriter

    records = _records(settings.folder / name)
    as_folders = sum(file.stat().st_size for record in records for file in record.rglob("*") if file.is_file())
    shards = settings.folder / "shards"
    shutil.rmtree(shards, ignore_errors=True)
    shards.mkdir()
    with ShardWriter(shards, PictureEncoding(), shard_bytes=1 << 28, val_share=0) as writer:
        for record in records:
            writer.add(record.name, read_record(record))
        writer.finish()
    in_shards = sum(file.stat().st_size for file in shards.iterdir())
    shutil.rmtree(shards)
    return round(as_folders / len(records)), round(in_shards / len(records))
