"""Whole jobs on a cluster of two nodes on this machine's loopback, made by Ray's own helper for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.blender_kills import children
from distill_core.records.multi_view_record import read_record
from renderers.blender.worker_process import worker_command
from tests.blender.shapes import box_and_balls, write_ply
from tests.blender.test_jobs import PATIENCE_SECONDS, PROGRAM, QUICK, render, report
from tests.scripts.processes import REPOSITORY, environment

pytestmark = pytest.mark.blender

NUM_BOXES = 6
# A worker's limit, which is what a task asks of its node, half a GiB of Python's own added.
LIMIT = ["--memory-limit-gib", "2"]
NODE = {"num_cpus": 1, "memory": 3 << 30, "object_store_memory": 80 << 20}


def contents(output: Path) -> dict[str, bytes]:
    """The files of all records."""
    return {
        str(file.relative_to(output)): file.read_bytes()
        for record in output.glob("[!.]*/")
        for file in sorted(record.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that renders nothing and two nodes that take one object each; all listen on 127.0.0.1 alone."""
    with pytest.MonkeyPatch.context() as patch:
        # Ray's own name for "this machine alone", here on Linux too: every address becomes the loopback's.
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra 'cluster'")
        made = cluster_utils.Cluster(
            initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False}
        )
        for _ in range(2):
            made.add_node(**NODE)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    for number in range(NUM_BOXES):
        mesh = box_and_balls()
        mesh.apply_scale((1 + number, 1, 1))
        write_ply(mesh, folder / f"box_{number}.ply")
    (folder / "damaged.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    return folder


@pytest.fixture(scope="module")
def alone(boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the job writes without Ray."""
    output = tmp_path_factory.mktemp("alone") / "out"
    status, text = render(boxes, output, *QUICK, *LIMIT)
    assert status == 2, text  # for the damaged one
    assert len({Path(name).parts[0] for name in contents(output)}) == NUM_BOXES
    return contents(output)


def is_blender(pid: int) -> bool:
    """Whether this is a worker of Blender's that runs."""
    try:
        return worker_command(None)[1].encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def blenders_of_nodes(cluster: Any) -> dict[int, set[int]]:
    """The Blenders that run on the nodes, by the process of Ray's that started them."""
    found = {}
    for node in cluster.worker_nodes:
        for info in node.all_processes["raylet"]:
            for node_process in children(info.process.pid):
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                    if blenders := {pid for pid in children(node_process) if is_blender(pid)}:
                        found[node_process] = blenders
    return found


def begun(boxes: Path, output: Path, cluster: Any, log: Path) -> subprocess.Popen[bytes]:
    """A job on the cluster of which one record at least is there."""
    command = [sys.executable, PROGRAM, str(boxes), "--output-dir", str(output), *QUICK, *LIMIT]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--cluster", cluster.address], env=environment(), cwd=REPOSITORY, stdout=stream, stderr=stream
        )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(output.glob("[!.]*/transforms.json")) and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return process


def test_the_same_records_as_without_ray(cluster: Any, boxes: Path, alone: dict[str, bytes], tmp_path: Path) -> None:
    output = tmp_path / "out"
    status, text = render(boxes, output, *QUICK, *LIMIT, "--cluster", cluster.address)
    assert status == 2, text
    assert contents(output) == alone
    found = report(output)
    assert found.pop("damaged.ply")["state"] == "left out"
    assert {thing["state"] for thing in found.values()} == {"done"}
    assert (output / "contact_sheet.png").is_file()
    # Elsewhere, by an address; the output folder keeps the journal alone.
    options = [*QUICK, *LIMIT, "--cluster", cluster.address, "--records-address", (tmp_path / "far").as_uri()]
    status, text = render(boxes, tmp_path / "near", *options)
    assert status == 2, text
    assert contents(tmp_path / "far") == alone
    assert not contents(tmp_path / "near")
    assert (tmp_path / "near" / "contact_sheet.png").read_bytes() == (output / "contact_sheet.png").read_bytes()


def test_a_node_keeps_its_blender_from_object_to_object_and_leaves_none_behind(
    cluster: Any, boxes: Path, tmp_path: Path
) -> None:
    seen: dict[int, set[int]] = {}
    process = begun(boxes, tmp_path / "out", cluster, tmp_path / "log")
    while process.poll() is None:
        for node_process, blenders in blenders_of_nodes(cluster).items():
            seen.setdefault(node_process, set()).update(blenders)
        time.sleep(0.02)
    assert process.returncode == 2, (tmp_path / "log").read_text()
    assert seen
    assert [len(blenders) for blenders in seen.values()] == [1] * len(seen)
    deadline = time.monotonic() + 20  # the kernel ends them with their parent
    while any(is_blender(pid) for blenders in seen.values() for pid in blenders) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_blender(pid) for blenders in seen.values() for pid in blenders)


def test_a_head_that_is_killed_goes_on_from_what_is_on_disk(
    cluster: Any, boxes: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = begun(boxes, output, cluster, tmp_path / "log")
    process.kill()
    process.wait(PATIENCE_SECONDS)
    first = {path: path.stat().st_mtime_ns for path in output.glob("[!.]*/transforms.json")}
    assert 0 < len(first) < NUM_BOXES
    for record in first:
        read_record(record.parent)
    status, text = render(boxes, output, *QUICK, *LIMIT, "--cluster", cluster.address)
    assert status == 2, text
    assert contents(output) == alone
    assert {path: path.stat().st_mtime_ns for path in first} == first


def test_ctrl_c_ends_a_job_on_the_cluster(cluster: Any, boxes: Path, tmp_path: Path) -> None:
    process = begun(boxes, tmp_path / "out", cluster, tmp_path / "log")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_node_that_is_lost_half_way_costs_no_object(
    cluster: Any, boxes: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = begun(boxes, output, cluster, tmp_path / "log")
    assert len(list(output.glob("[!.]*/transforms.json"))) < NUM_BOXES
    lost = next(iter(cluster.worker_nodes))
    pids = [info.process.pid for infos in lost.all_processes.values() for info in infos]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert process.wait(PATIENCE_SECONDS) == 2, (tmp_path / "log").read_text()
    assert contents(output) == alone
    assert {uid for uid, thing in report(output).items() if thing["state"] == "left out"} == {"damaged.ply"}
    assert [entry.name for entry in output.iterdir() if entry.name.startswith(".")] == [".lock"]
    cluster.remove_node(lost, allow_graceful=False)
