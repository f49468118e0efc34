"""Models to records through Blender: wall time against what Cycles reports, objects an hour, and the fast renderer.

Each row is a job of `render_dataset.py` on the same models. "Over Cycles" is the time that the workers were there, from
the start of the program to its end, over the sum of what Cycles states for all its pictures (colours, and one sample
for depth and normals): the rest is starting, importing, writing. The fast renderer makes the same record of the same
cameras: base colour alone, without light.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError
from renderers.blender.job_folder import read_journal

_PROGRAM = Path(__file__).resolve().parents[1] / "scripts" / "render_dataset.py"
_MODELS = (
    "crane_Spot_full.glb",
    "gazebo_dumpster.glb",
    "gazebo_fire_hydrant.glb",
    "gso_Chelsea_lo_fl_rdheel_zAQrnhlEfw8.glb",
    "gso_Threshold_Porcelain_Teapot_White.glb",
    "khronos_Avocado.glb",
    "kaykit_stove_multi_countertop.glb",
    "market_taxi.glb",
    "polyhaven_painted_wooden_stool.glb",
    "quaternius_Cow.glb",
    "ycb_006_mustard_bottle.glb",
    "ycb_077_rubiks_cube.glb",
)
_STAGES = ("import", "colours", "geometry", "write")


class Settings(BaseModel):
    """Which models, and the job around which workers, views and resolution are varied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/mixed_formats"), description="folder with the twelve models")
    folder: Path = Field(default=Path("out/blender"), description="for jobs; each is removed when it is measured")
    num_models: int = Field(default=12, ge=1, le=len(_MODELS), description="models of each job")
    num_views: int = Field(default=12, ge=1, le=999, description="views of a model")
    resolution: int = Field(default=256, ge=16, le=2048, description="side of the views in pixels")
    samples: int = Field(default=32, ge=1, description="Cycles' samples a pixel")
    varied: bool = Field(
        default=True, description="also other numbers of views and another resolution, with half of the models"
    )


def run(settings: Settings) -> dict[str, Any]:
    """Run the jobs and time them.

    Args:
        settings: which models, and how they are rendered.

    Raises:
        UserError: a model is not there, or a job left one out.
    """
    source = _folder_of_models(settings, settings.num_models)
    views, size = settings.num_views, settings.resolution
    rows = [_blender_row(settings, source, workers, views, size) for workers in (1, 2)]
    if settings.varied:
        half = _folder_of_models(settings, max(1, settings.num_models // 2))
        rows += [
            _blender_row(settings, half, 1, max(1, views // 2), size),
            _blender_row(settings, half, 1, views, size // 2),
        ]
    return {"blender": rows, "fast": _fast_row(source, views, size)}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    names = ["renderer", "models", "workers", "views", "px", "wall s", "Cycles reports s", "over Cycles"]
    names += ["objects an hour", "import", "render", "write"]
    lines = [f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
    for row in result["blender"]:
        shares = row["shares"]
        job = f"{row['models']} | {row['workers']} | {row['views']} | {row['resolution']} | {row['wall_seconds']:.1f}"
        lines.append(
            f"| Cycles | {job} | {row['cycles_seconds']:.1f} | {row['over_cycles']:.2f} | "
            f"{row['objects_an_hour']:.0f} | {shares['import']:.0%} | {shares['colours'] + shares['geometry']:.0%} | "
            f"{shares['write']:.0%} |"
        )
    fast = result["fast"]
    job = f"{fast['models']} | 1 | {fast['views']} | {fast['resolution']} | {fast['wall_seconds']:.1f}"
    shares = [f"{fast['shares'][stage]:.0%}" for stage in ("import", "render", "write")]
    lines.append(f"| fast renderer | {job} | | | {fast['objects_an_hour']:.0f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _folder_of_models(settings: Settings, count: int) -> Path:
    folder = settings.folder / f"models-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _MODELS[:count]:
        if not (settings.models / name).is_file():
            raise UserError(f"Expected {settings.models / name}, which is not there; name the folder with --models.")
        shutil.copyfile(settings.models / name, folder / name)
    return folder


def _blender_row(settings: Settings, source: Path, workers: int, views: int, resolution: int) -> dict[str, Any]:
    output = settings.folder / f"job-{workers}-{views}-{resolution}"
    shutil.rmtree(output, ignore_errors=True)
    options = {
        "--workers": workers,
        "--num-views": views,
        "--resolution": resolution,
        "--samples": settings.samples,
        "--denoiser": "fast",
    }
    words = [str(word) for option in options.items() for word in option]
    began = time.monotonic()
    command = [sys.executable, str(_PROGRAM), str(source), "--output-dir", str(output), *words]
    status = subprocess.run(command, stdout=sys.stderr).returncode
    wall = time.monotonic() - began
    if status != 0:
        raise UserError(f"Expected every model to be rendered, got status {status}; see {output / 'report.json'}.")
    entries = [entry.seconds for entry in read_journal(output / "journal.jsonl").values()]
    shutil.rmtree(output)
    sums = {stage: sum(entry[stage] for entry in entries) for stage in (*_STAGES, "cycles")}
    return {
        "models": len(entries),
        "workers": workers,
        "views": views,
        "resolution": resolution,
        "wall_seconds": round(wall, 2),
        "cycles_seconds": round(sums["cycles"], 2),
        "over_cycles": round(wall * workers / sums["cycles"], 3),
        "objects_an_hour": round(3600 * len(entries) / wall, 1),
        # Of the workers' time; what is written beside a running render is counted too.
        "shares": {stage: round(sums[stage] / (wall * workers), 4) for stage in _STAGES},
        "seconds": {stage: round(value, 2) for stage, value in sums.items()},
    }


def _fast_row(source: Path, views: int, resolution: int) -> dict[str, Any]:
    """The same records by the z-buffer renderer, in this process."""
    from distill_core.records.multi_view_record import MultiViewRecord, write_record
    from renderers.blender.rigs import make_rig
    from renderers.blender.settings import RigSettings
    from renderers.blender.tasks import object_seed
    from renderers.mesh_rendering import prepare, render_views
    from renderers.meshes import load_mesh, normalised

    rig_settings = RigSettings(num_views=views, resolution=resolution)
    seconds = {"import": 0.0, "render": 0.0, "write": 0.0}
    paths = sorted(source.iterdir())
    began = time.monotonic()
    for path in [paths[0], *paths]:  # the first once more: kernels are compiled once a machine, not once a job
        if path == paths[0]:
            seconds, began = dict.fromkeys(seconds, 0.0), time.monotonic()
        cameras = make_rig(rig_settings, object_seed(0, path.name)).cameras
        ticks = [time.monotonic()]
        mesh = prepare(normalised(load_mesh(path)))
        ticks.append(time.monotonic())
        rendered = render_views(mesh, cameras, supersampling=2)
        ticks.append(time.monotonic())
        record = MultiViewRecord(cameras, rendered.colour, rendered.depth, rendered.normals)
        write_record(record, source.parent / "fast" / path.name)
        ticks.append(time.monotonic())
        for number, stage in enumerate(seconds):
            seconds[stage] += ticks[number + 1] - ticks[number]
    wall = time.monotonic() - began
    shutil.rmtree(source.parent / "fast")
    return {
        "models": len(paths),
        "views": views,
        "resolution": resolution,
        "wall_seconds": round(wall, 2),
        "objects_an_hour": round(3600 * len(paths) / wall, 1),
        "shares": {stage: round(value / wall, 4) for stage, value in seconds.items()},
    }
