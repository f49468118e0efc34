"""Rendering jobs killed with SIGKILL at random moments: what the same command makes of them afterwards.

A job renders small models with Blender. A worker, the supervisor or the whole process group is killed when a random
number of records is there and a random time has gone by, so that every stage is met however busy the machine is; the
same command is given again until the set is complete, and then a new job begins, until there were as many kills as
asked for. Compared with an undisturbed run: every file of every record.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError

Victim = Literal["worker", "supervisor", "group"]

_PROGRAM = Path(__file__).resolve().parents[1] / "scripts" / "render_dataset.py"
_OPTIONS = ("--resolution", "64", "--samples", "4", "--num-views", "3", "--rig", "random-sphere", "--workers", "2")
_LIGHT = ("--denoiser", "none", "--lighting", "area-lights", "--seed", "7")
_VICTIMS: tuple[Victim, ...] = ("worker", "supervisor", "group")
_PATIENCE_SECONDS = 900
_DYING_SECONDS = 30


class Settings(BaseModel):
    """How many kills, of what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(
        default=Path("out/blender_kills"), description="for models, jobs and rows; a stopped run goes on"
    )
    kills: int = Field(default=50, ge=1, description="how often something is killed")
    models: int = Field(default=8, ge=1, description="models of a job")
    seed: int = Field(default=0, ge=0, description="of victims and moments")


def run(settings: Settings) -> dict[str, Any]:
    """Kill jobs as often as asked, and look at what the same command makes of each.

    Args:
        settings: how often, and where.

    Raises:
        UserError: the undisturbed job fails.
    """
    from gs_integration.row_log import RowLog

    source = settings.folder / "models"
    write_models(source, settings.models)
    expected, seconds = _undisturbed(source, settings.folder / "undisturbed")
    identity = {"models": settings.models, "seed": settings.seed, "options": [*_OPTIONS, *_LIGHT], "records": expected}
    log = RowLog(settings.folder / "rows.jsonl", identity, ("attempt",))
    while (left := settings.kills - sum(row["hit"] for row in log.rows.values())) > 0:
        for row in _one_job(settings, source, expected, seconds, first=len(log.rows), kills=left):
            log.add(row)
    rows = sorted((row for row in log.rows.values() if row["hit"]), key=lambda row: row["attempt"])
    return {"undisturbed_seconds": seconds, "records": settings.models, "kills": rows, "by_victim": _counts(rows)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = [
        "| killed with SIGKILL | kills | set completed | records as undisturbed | half-written | rendered twice |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for victim, count in result["by_victim"].items():
        lines.append(
            f"| {victim} | {count['kills']} | {count['completed']} | {count['equal']} | {count['half_written']} | "
            f"{count['rendered_twice']} |"
        )
    return "\n".join(lines)


def write_models(folder: Path, count: int) -> None:
    """Write small models, each another: a box with a ball beside it.

    Args:
        folder: is made.
        count: how many.
    """
    import trimesh

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ball = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
        ball.apply_translation((0.8, 0.1 * number, 0.5))
        joined = trimesh.util.concatenate([trimesh.creation.box((1, 0.5 + 0.1 * number, 0.7)), ball])
        joined.export(folder / f"model_{number:02d}.ply")


def children(pid: int) -> list[int]:
    """The processes that a process started and has not buried, in order of their ids.

    Read from the parent that each process names: the kernel's list by thread (`task/*/children`) loses those of a
    thread that ends while it is read.

    Args:
        pid: of the parent.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            if parent == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


def contents(output: Path) -> dict[str, str]:
    """The SHA-256 of every file of every record in a job's folder.

    Args:
        output: of the job.
    """
    return {
        file.relative_to(output).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in sorted(output.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def started_job(source: Path, output: Path, options: tuple[str, ...], log: IO[str]) -> "subprocess.Popen[str]":
    """Start a rendering job in a process group of its own, as a shell does.

    Args:
        source: folder of models.
        output: of the job.
        options: more of the command line.
        log: of what it says.
    """
    command = [sys.executable, str(_PROGRAM), str(source), "--output-dir", str(output), *options]
    return subprocess.Popen(command, stdout=log, stderr=log, text=True, start_new_session=True)


def killed(process: "subprocess.Popen[str]", victim: Victim, place: float) -> bool:
    """Kill a part of a job.

    Args:
        process: the job's supervisor.
        victim: which part.
        place: 0 to 1, which of the workers.

    Returns:
        Whether there was something to kill.
    """
    if process.poll() is not None:
        return False
    workers = children(process.pid)
    match victim:
        case "worker":
            if not workers:
                return False
            os.kill(workers[int(place * len(workers))], signal.SIGKILL)
        case "supervisor":
            os.kill(process.pid, signal.SIGKILL)
        case "group":
            os.killpg(process.pid, signal.SIGKILL)
    if victim != "worker":
        process.wait(_PATIENCE_SECONDS)
        _wait_for_the_end_of(workers)
    return True


def _wait_for_the_end_of(workers: list[int]) -> None:
    deadline = time.monotonic() + _DYING_SECONDS
    while any(Path(f"/proc/{worker}").is_dir() for worker in workers):
        if time.monotonic() > deadline:
            raise UserError(f"Expected the workers {workers} to end with their supervisor, but they go on.")
        time.sleep(0.05)


def _undisturbed(source: Path, output: Path) -> tuple[dict[str, str], float]:
    shutil.rmtree(output, ignore_errors=True)
    began = time.monotonic()
    _finish(source, output)
    return contents(output), round(time.monotonic() - began, 2)


def _finish(source: Path, output: Path) -> None:
    with output.with_suffix(".log").open("a") as log:
        status = started_job(source, output, (*_OPTIONS, *_LIGHT), log).wait(_PATIENCE_SECONDS)
    if status != 0:
        raise UserError(f"Expected the job in {output} to be completed, got status {status}; see {log.name}.")


def _one_job(
    settings: Settings, source: Path, expected: dict[str, str], seconds: float, *, first: int, kills: int
) -> list[dict[str, Any]]:
    """Kill one job until it is complete, at most as often as kills are left; a row for each attempt."""
    import numpy as np

    output = settings.folder / "job"
    shutil.rmtree(output, ignore_errors=True)
    rows: list[dict[str, Any]] = []
    first_times: dict[Path, int] = {}
    half_written, status = 0, -1
    while status != 0 and sum(row["hit"] for row in rows) < kills:
        attempt = first + len(rows)
        generator = np.random.default_rng([settings.seed, attempt])
        victim, before = _VICTIMS[attempt % len(_VICTIMS)], len(_times(output))
        wanted = min(before + int(generator.integers(max(1, settings.models - before))), settings.models)
        pause = float(generator.uniform(0, seconds if wanted == before else seconds / settings.models / 2))
        with output.with_suffix(".log").open("a") as log:
            process = started_job(source, output, (*_OPTIONS, *_LIGHT), log)
            while len(_times(output)) < wanted and process.poll() is None:
                time.sleep(0.02)
            time.sleep(pause)
            # A worker may not be there yet.
            while not (hit := killed(process, victim, float(generator.random()))) and process.poll() is None:
                time.sleep(0.02)
            at_kill = len(_times(output))
            status = process.wait(_PATIENCE_SECONDS)
        half_written += _half_written(output)
        first_times = _times(output) | first_times
        row = {"attempt": attempt, "victim": victim, "records": at_kill, "pause_seconds": round(pause, 2)}
        rows.append(row | {"hit": hit, "status": status})
    if status != 0:
        _finish(source, output)
    half_written += len([entry for entry in output.iterdir() if entry.name.startswith(".") and entry.name != ".lock"])
    found = _times(output)
    outcome = {
        "completed": len(found) == settings.models,
        "equal": contents(output) == expected,
        "half_written": half_written > 0,
        "rendered_twice": any(found.get(record) != when for record, when in first_times.items()),
    }
    return [row | outcome for row in rows]


def _times(output: Path) -> dict[Path, int]:
    """When each record's own file was written, which no later run may change."""
    return {path: path.stat().st_mtime_ns for path in output.glob("[!.]*/transforms.json")}


def _half_written(output: Path) -> int:
    """Folders under a record's name that are no whole record."""
    from distill_core.records.multi_view_record import read_record

    count = 0
    for folder in output.glob("[!.]*/") if output.is_dir() else ():
        try:
            record = read_record(folder)
            for view in range(len(record)):
                record.read_view(view)
        except UserError:
            count += 1
    return count


def _counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    of_victim = {victim: [row for row in rows if row["victim"] == victim] for victim in _VICTIMS}
    return {
        victim: {
            "kills": len(of_one),
            "completed": sum(row["completed"] for row in of_one),
            "equal": sum(row["equal"] for row in of_one),
            "half_written": sum(row["half_written"] for row in of_one),
            "rendered_twice": sum(row["rendered_twice"] for row in of_one),
        }
        for victim, of_one in of_victim.items()
        if of_one
    }
