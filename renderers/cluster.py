"""The jobs of `blender.supervisor` on a Ray cluster: an object is a task, with retries, cores and memory.

This process gives out the work, keeps the journal and writes no record: nodes do (`cluster_node`). When it is killed,
its tasks end with it, and the same command goes on from the records and the journal. Ray is imported only here.
"""

import io
import logging
import re
import socket
from collections import deque
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from distill_core.errors import UserError
from distill_core.progress import Progress
from renderers.blender.job_folder import Entry, JobFolder, clear_hidden
from renderers.blender.settings import DatasetSettings
from renderers.cluster_node import NodeWork, render_on_node
from renderers.record_store import RecordStore
from renderers.settings import ClusterSettings
from renderers.sources.objects import SourceObject

_LOG = logging.getLogger(__name__)
_GIB = 1 << 30
_PYTHON_GIB = 0.5  # what a node's own process takes beside Blender
_LOST_NODES = 3  # an object goes to another node so often before it is suspected
_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 5.0


def render_on_cluster(
    objects: list[SourceObject],
    settings: DatasetSettings,
    machines: ClusterSettings,
    job_folder: JobFolder,
    progress: Progress,
) -> None:
    """Render the objects that are not done yet; returns when each is done or left out.

    Args:
        objects: all of the set.
        settings: of the job; the number of workers is the cluster's.
        machines: which cluster, and where the records go.
        job_folder: where the journal goes, and the records unless they go elsewhere.
        progress: told of each object.

    Raises:
        UserError: Ray is missing, no cluster at the address, or a node lacks what the job needs.
    """
    waiting = deque(thing for thing in objects if not _is_settled(thing, settings, machines, job_folder))
    if not waiting:
        return
    work = _node_work(settings, machines, job_folder)
    ray = _connected(machines)
    try:
        memory = round((settings.processes.memory_limit_gib + _PYTHON_GIB) * _GIB)
        _see_that_one_fits(ray, machines.cores_per_object, memory)
        render = ray.remote(num_cpus=machines.cores_per_object, memory=memory, max_retries=_LOST_NODES)(render_on_node)
        progress.stage("rendering", len(waiting))
        with redirect_stdout(_RayTalk()):
            _give_out(ray, render, ray.put(work), waiting, machines, job_folder, progress)
        clear_hidden(job_folder.folder)  # what nodes that were lost had begun to write
    finally:
        ray.shutdown()


def _give_out(
    ray: Any,
    render: Any,
    work: Any,
    waiting: deque[SourceObject],
    machines: ClusterSettings,
    job_folder: JobFolder,
    progress: Progress,
) -> None:
    """Give tasks out until all have an outcome, and note each in the journal."""
    running: dict[Any, SourceObject] = {}
    while waiting or running:
        # Enough that no core waits for this process; more would only sit in its memory.
        wanted = 2 * max(1, int(ray.cluster_resources().get("CPU", 0)) // machines.cores_per_object)
        while waiting and len(running) < wanted:
            thing = waiting.popleft()
            running[render.remote(work, thing)] = thing
        ready, _ = ray.wait(list(running), num_returns=len(running), timeout=_POLL_SECONDS)
        for task in ready:
            thing = running.pop(task)
            job_folder.note(thing.uid, _outcome(ray, task, thing))
            progress.advance()


class _RayTalk(io.TextIOBase):
    """What Ray prints of nodes that end, whatever it is asked: the sentence goes to the log, its dumps nowhere."""

    def write(self, text: str) -> int:
        for line in re.sub(r"\x1b\[\d*m", "", text).splitlines():
            if line.startswith("("):
                _LOG.warning("Ray: %s", line.partition(")")[2].strip()[:200])
        return len(text)


def record_store(machines: ClusterSettings, folder: Path) -> RecordStore:
    """Where the records of a job are.

    Args:
        machines: what the person chose.
        folder: of the job.

    Raises:
        UserError: an address of no known kind, or one without a cluster.
    """
    if machines.records_address is not None and machines.cluster is None:
        raise UserError(
            f"Expected --cluster beside --records-address, got {machines.records_address} alone; one machine writes "
            "into --output-dir."
        )
    return RecordStore(machines.records_address or str(folder.absolute()))


def _is_settled(
    thing: SourceObject, settings: DatasetSettings, machines: ClusterSettings, job_folder: JobFolder
) -> bool:
    entry = job_folder.entries.get(thing.uid)
    if entry is not None and entry.state == "left out":
        return not settings.retry
    # A record far away is looked for by the node: a million questions asked from here would take hours.
    return job_folder.is_done(thing.name) if machines.records_address is None else entry is not None


def _node_work(settings: DatasetSettings, machines: ClusterSettings, job_folder: JobFolder) -> NodeWork:
    proof = None
    if machines.records_address is None:
        proof = job_folder.work.absolute() / "seen_by_every_node"
        proof.touch()
    return NodeWork(
        settings.model_dump_json(include=set(DatasetSettings.model_fields)),
        record_store(machines, job_folder.folder).address,
        Path.cwd(),
        proof,
        machines.cores_per_object,
    )


def _connected(machines: ClusterSettings) -> Any:
    """The module ray, connected to the cluster."""
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "Expected Ray for --cluster, but it is not installed; install it with: pip install 'onestep3d[cluster]'."
        ) from error
    try:
        host, found, port = str(machines.cluster).rpartition(":")
        if found and port.isdigit():  # Ray itself would go on trying for minutes
            socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
        ray.init(address=machines.cluster, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        sentence = " ".join(str(error).split())
        raise UserError(
            f"--cluster: expected a Ray cluster at {machines.cluster}, got: {sentence.rstrip('.')[:300]}; start one "
            "with ray start --head, or leave the option out."
        ) from error
    return ray


def _see_that_one_fits(ray: Any, cores: int, memory: int) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cores and node.get("memory", 0) >= memory for node in nodes):
        _LOG.warning(
            "no node of the cluster has %d cores and %.1f GiB of memory for an object; waiting for one to join "
            "(--cores-per-object and --memory-limit-gib ask for less).",
            cores,
            memory / _GIB,
        )


def _outcome(ray: Any, task: Any, thing: SourceObject) -> Entry:
    try:
        entry: Entry = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise  # a bug, with the node's traceback in its text
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        entry = Entry("left out", f"{thing.path.name}: {_LOST_NODES + 1} nodes died with it: {_first_line(error)}.", {})
    if entry.state == "left out":
        reason = entry.reason or ""
        _LOG.warning("left out %s", reason if thing.path.name in reason else f"{thing.uid}: {reason}")
    return entry


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:200]
