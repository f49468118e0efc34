"""Models to records: with the fast renderer in this process, or with Blender in processes of its own."""

import logging
from dataclasses import dataclass
from pathlib import Path

from distill_core.errors import UserError
from distill_core.pictures.contact_sheet import contact_sheet
from distill_core.pictures.images import write_png
from distill_core.progress import Progress
from distill_core.records.multi_view_record import read_record, write_record
from gs_integration.pipelines.render_models_settings import RenderModelsSettings
from gs_integration.pipelines.report import RunRecord, file_sha256, write_json
from renderers.blender.rigs import make_rig
from renderers.blender.settings import DatasetSettings, WorkerSettings
from renderers.blender.tasks import object_seed
from renderers.lighting import StudioLight
from renderers.mesh_records import mesh_record
from renderers.meshes import load_mesh
from renderers.sources.local_folder import local_objects
from renderers.sources.objects import SourceObject

logger = logging.getLogger(__name__)

_SHEET_OBJECTS = 100


@dataclass(frozen=True)
class RenderedModels:
    """What became of a folder of models.

    Attributes:
        records: names of their folders.
        left_out: the file of each model that has no record, and why.
    """

    records: list[str]
    left_out: dict[str, str]


def render_models(
    models: Path, output: Path, settings: RenderModelsSettings, run: RunRecord, *, blender: Path | None = None
) -> RenderedModels:
    """Write a record for each model of a folder, `report.json` and `contact_sheet.png`.

    Args:
        models: the folder; an index.csv in it may say who made them and under what licence.
        output: a new folder.
        settings: everything a person can choose.
        run: the record of the job; its progress gets the stage "rendering".
        blender: the executable that renders if Blender shall; None takes Blender's Python module.

    Raises:
        UserError: no model in the folder, none that could be rendered, or no Blender that works.
    """
    objects = local_objects(models)
    output.mkdir(parents=True)
    render = _render_fast if settings.renderer == "fast" else _render_with_blender
    left_out = render(objects, output, settings, run.progress, blender)
    records = [thing.name for thing in objects if thing.uid not in left_out]
    if not records:
        first, reason = next(iter(left_out.items()))
        raise UserError(reason if first in reason else f"{first}: {reason}")
    run.progress.stage("files", None)
    pictures = [read_record(output / name).pictures[0] for name in records[:_SHEET_OBJECTS]]
    write_png(output / "contact_sheet.png", contact_sheet(pictures, 10, labels=records[:_SHEET_OBJECTS]))
    findings = [
        {"uid": thing.uid, "record": None if thing.uid in left_out else thing.name, "reason": left_out.get(thing.uid)}
        for thing in objects
    ]
    write_json(output / "report.json", run.report(settings, objects=findings))
    return RenderedModels(records, left_out)


def _render_fast(
    objects: list[SourceObject], output: Path, settings: RenderModelsSettings, progress: Progress, _: Path | None
) -> dict[str, str]:
    left_out = {}
    light = StudioLight() if settings.light == "studio" else None
    num_views = len(make_rig(settings.views, 0).cameras)
    progress.stage("rendering", len(objects) * num_views)
    for thing in objects:
        rig = make_rig(settings.views, object_seed(settings.seed, thing.uid))
        try:
            mesh = load_mesh(thing.path, up_axis=None if settings.up_axis == "auto" else settings.up_axis)
            about = {
                "source": {
                    "uid": thing.uid,
                    "file": thing.path.name,
                    "sha256": file_sha256(thing.path),
                    "origin": thing.origin,
                    "author": thing.author,
                },
                "licence": thing.licence,
            }
            write_record(mesh_record(mesh, rig, light=light, progress=progress, metadata=about), output / thing.name)
        except UserError as error:
            left_out[thing.uid] = str(error)
            logger.warning("left out %s: %s", thing.uid, error)
    return left_out


def _render_with_blender(
    objects: list[SourceObject], output: Path, settings: RenderModelsSettings, progress: Progress, blender: Path | None
) -> dict[str, str]:
    # Here, because they need fcntl, which Windows lacks and the fast renderer does not need.
    try:
        from renderers.blender.job_folder import opened_job
        from renderers.blender.supervisor import Supervisor, record_settings
    except ImportError as error:
        if error.name != "fcntl":
            raise
        raise UserError(
            "Expected Linux, macOS or WSL to render through Blender, got a system without fcntl; "
            "choose the fast renderer."
        ) from None

    whole = DatasetSettings(
        views=settings.views,
        render=settings.render,
        processes=WorkerSettings(blender=blender),
        up_axis=settings.up_axis,
        seed=settings.seed,
    )
    with opened_job(output, record_settings(whole)) as job_folder:
        with Supervisor(whole, job_folder, progress) as supervisor:
            supervisor.run(objects)
        entries = dict(job_folder.entries)
    for name in ("journal.jsonl", "job.json", ".lock"):  # what an interrupted job goes on from; this one is whole
        (output / name).unlink(missing_ok=True)
    return {thing.uid: str(entries[thing.uid].reason) for thing in objects if entries[thing.uid].state == "left out"}
