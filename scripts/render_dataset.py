"""Render models into records: posed pictures with exact cameras, depth and normals, through Blender.

Writes a record folder for each model, report.json and contact_sheet.png. Stopped or killed, the same command goes on;
with --cluster, on a Ray cluster.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from renderers.blender.settings import DatasetSettings
from renderers.settings import ClusterSettings
from renderers.sources.settings import SourceSettings
from scripts.command_line import USER_ERROR_STATUS, run, say

if TYPE_CHECKING:
    from renderers.blender.job_folder import JobFolder
    from renderers.record_store import RecordStore
    from renderers.sources.objects import SourceObject

_SHEET_OBJECTS = 100
_FIRST_PICTURE = "images/000.png"


class RenderDataset(DatasetSettings):
    """Command line of this program."""

    source: Annotated[str, tyro.conf.Positional] = Field(
        description="a folder of models (glb, gltf, obj, ply, stl, fbx, dae, usd, blend) or one of them, a download of "
        "Objaverse 1.0 (hf-objaverse-v1), a manifest.csv of Objaverse-XL, or objaverse: what its own package fetches"
    )
    output_dir: Path = Field(description="folder of the records; that of an unfinished job goes on")
    objects: SourceSettings = SourceSettings()
    machines: ClusterSettings = ClusterSettings()


def main(settings: RenderDataset, progress: Progress) -> int:
    """Render what has no record yet, and say what was left out."""
    from gs_integration.pipelines.report import recorded_run
    from renderers.blender.job_folder import opened_job
    from renderers.blender.supervisor import record_settings
    from renderers.cluster import record_store
    from renderers.sources.by_layout import find_objects

    store = record_store(settings.machines, settings.output_dir)
    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        objects = find_objects(settings.source, settings.objects)
        with opened_job(settings.output_dir, record_settings(settings)) as job_folder:
            try:
                _render(objects, settings, job_folder, record.progress)
            finally:
                findings = _findings(objects, job_folder)
                _write_report(settings.output_dir, record.report(settings, objects=findings))
            _write_sheet(
                settings.output_dir, [str(finding["record"]) for finding in findings if finding["record"]], store
            )
    left_out = [finding for finding in findings if finding["state"] == "left out"]
    say(f"{len(objects) - len(left_out)} of {len(objects)} models rendered; wrote {settings.output_dir}")
    for finding in left_out:
        say(f"left out {finding['uid']}: {finding['reason']}")
    return USER_ERROR_STATUS if left_out else 0


def _render(
    objects: "list[SourceObject]", settings: RenderDataset, job_folder: "JobFolder", progress: Progress
) -> None:
    from renderers.blender.supervisor import Supervisor
    from renderers.cluster import render_on_cluster

    if settings.machines.cluster is not None:
        render_on_cluster(objects, settings, settings.machines, job_folder, progress)
        return
    with Supervisor(settings, job_folder, progress) as supervisor:
        supervisor.run(objects)


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

    from distill_core.atomic_files import write_text

    write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", folder / "report.json")


def _write_sheet(folder: Path, records: list[str], store: "RecordStore") -> None:
    """The first view of each object, of the first hundred."""
    from distill_core.pictures.contact_sheet import contact_sheet
    from distill_core.pictures.images import decode_picture, write_png

    shown = records[:_SHEET_OBJECTS]
    pictures = []
    for name in shown:
        content = store.read_file(name, _FIRST_PICTURE)
        pictures.append(decode_picture(content, Path(name), smallest_side_px=1, allow_empty=True).rgba)
    if pictures:
        write_png(folder / "contact_sheet.png", contact_sheet(pictures, 10, labels=shown))


if __name__ == "__main__":
    run(main, RenderDataset, description=__doc__)
