"""Render a folder of models into records: posed pictures with exact cameras, depth and normals, through Blender.

Writes a record folder for each model, report.json and contact_sheet.png. Stopped or killed, the same command goes on.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from renderers.blender.settings import DatasetSettings
from scripts.command_line import USER_ERROR_STATUS, run, say

if TYPE_CHECKING:
    from renderers.blender.job_folder import JobFolder
    from renderers.sources.objects import SourceObject

_SHEET_OBJECTS = 100


class RenderDataset(DatasetSettings):
    """Command line of this program."""

    source: Annotated[Path, tyro.conf.Positional] = Field(
        description="a folder of models: glb, gltf, obj, ply, stl, fbx, dae, usd, blend"
    )
    output_dir: Path = Field(description="folder of the records; that of an unfinished job goes on")


def main(settings: RenderDataset, progress: Progress) -> int:
    """Render what has no record yet, and say what was left out."""
    from gs_integration.pipelines.report import recorded_run
    from renderers.blender.job_folder import opened_job
    from renderers.blender.supervisor import Supervisor, record_settings
    from renderers.sources.local_folder import local_objects

    objects = local_objects(settings.source)
    with (
        recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record,
        opened_job(settings.output_dir, record_settings(settings)) as job_folder,
    ):
        try:
            Supervisor(settings, job_folder, record.progress).run(objects)
        finally:
            findings = _findings(objects, job_folder)
            _write_report(settings.output_dir, record.report(settings, objects=findings))
        _write_sheet(settings.output_dir, objects, job_folder)
    left_out = [finding for finding in findings if finding["state"] == "left out"]
    say(f"{len(objects) - len(left_out)} of {len(objects)} models rendered; wrote {settings.output_dir}")
    for finding in left_out:
        say(f"left out {finding['uid']}: {finding['reason']}")
    return USER_ERROR_STATUS if left_out else 0


def _findings(objects: "list[SourceObject]", job_folder: "JobFolder") -> list[dict[str, object]]:
    findings = []
    for thing in objects:
        entry = job_folder.entries.get(thing.uid)
        state = "done" if job_folder.is_done(thing.name) else entry.state if entry else "not yet"
        findings.append(
            {
                "uid": thing.uid,
                "record": thing.name if state == "done" else None,
                "state": state,
                "reason": entry.reason if entry else None,
                "seconds": entry.seconds if entry else None,
            }
        )
    return findings


def _write_report(folder: Path, report: dict[str, object]) -> None:
    import json

    from scripts.atomic_files import write_text

    write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", folder / "report.json")


def _write_sheet(folder: Path, objects: "list[SourceObject]", job_folder: "JobFolder") -> None:
    """The first view of each object, of the first hundred."""
    from distill_core.contact_sheet import contact_sheet
    from distill_core.images import write_png
    from distill_core.records import read_record

    done = [thing.name for thing in objects if job_folder.is_done(thing.name)][:_SHEET_OBJECTS]
    if done:
        pictures = [read_record(folder / name).pictures[0] for name in done]
        write_png(folder / "contact_sheet.png", contact_sheet(pictures, 10, labels=done))


if __name__ == "__main__":
    run(main, RenderDataset, description=__doc__)
