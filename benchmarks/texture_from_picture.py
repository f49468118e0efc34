"""Meshes textured after one picture with the shipped checkpoint: seconds, how much is textured, whether views agree.

Well-known textured meshes and validation models are textured after a picture of themselves from the front, meshes that
never had a texture after a picture of something else. Unwrapping counts apart from all the rest, which reading the
picture, fitting it, all views, the texture and every file belong to. A stopped measurement goes on where it was.
"""

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.texturing_models import meshes_with_pictures
from distill_core.errors import UserError
from gs_integration.pipelines.settings import GeneratorSettings
from gs_integration.pipelines.texture_settings import TextureSettings

if TYPE_CHECKING:
    from distill_core.models.view_generator import ViewGenerator
    from distill_core.pictures.images import Picture
    from gs_integration.pipelines.texture_results import TexturedResult
    from renderers.meshes import TexturedMesh

_SHOWN_PX = 128
_SHOWN_TURNS = (0.0, 90.0, 180.0, 270.0)
_SHOWN_ELEVATION_DEGREES = 15.0
_COLUMNS = 3
_BEFORE = "unwrapping"
"""The stage that has a column of its own."""


class Settings(BaseModel):
    """Which meshes, how many views, and where finished rows are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assets: Path = Field(
        default=Path("../shared/assets"), description="folder with eval/, texturing/, models/ and pictures/"
    )
    folder: Path = Field(
        default=Path("out/texture_from_picture"),
        description="folder of rows.jsonl, from which a stopped measurement goes on, and comparison.png",
    )
    validation_models: int = Field(default=6, ge=0, description="the first so many, by SHA-256 of the name")
    only: tuple[str, ...] = Field(default=(), description="names of meshes, as eval/Duck; all if none is given")
    checkpoint: str = Field(default="small", description="name of a checkpoint that ships with the project, or a path")
    num_views: int = Field(default=10, ge=3, le=64, description="views that the texture is made from")
    texture_size: int = Field(default=1024, ge=16, le=4096, description="texels along a side of the texture")
    turntable_frames: int = Field(default=72, ge=2, le=720, description="frames of each mesh's film")
    device: Literal["auto", "cpu", "cuda"] = Field(default="cpu", description="where the generator runs")


def run(settings: Settings) -> dict[str, Any]:
    """Texture every mesh that has no row yet.

    Args:
        settings: which meshes.

    Raises:
        UserError: no such folder, mesh or checkpoint.
    """
    from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
    from gs_integration.pipelines.devices import torch_device
    from gs_integration.pipelines.report import file_sha256
    from gs_integration.row_log import RowLog

    file = find_checkpoint(settings.checkpoint)
    identity: dict[str, object] = {
        "checkpoint": file_sha256(file),
        **settings.model_dump(mode="json", include={"num_views", "texture_size", "turntable_frames", "device"}),
    }
    log = RowLog(settings.folder / "rows.jsonl", identity, ("mesh",))
    generator = load_generator(file, torch_device(settings.device))
    job = TextureSettings(
        generator=GeneratorSettings(checkpoint=settings.checkpoint, device=settings.device),
        num_views=settings.num_views,
        texture_size=settings.texture_size,
        turntable_frames=settings.turntable_frames,
    )
    known = dict(meshes_with_pictures(settings.assets, settings.validation_models))
    if unknown := [name for name in settings.only if name not in known]:
        raise UserError(f"Expected meshes among {', '.join(known)}, got {unknown[0]}.")
    rows = []
    for name in settings.only or known:
        if (name,) not in log.rows:
            mesh, picture = known[name]()
            log.add({"mesh": name, **_textured(name, mesh, picture, job, generator, settings.folder)})
        rows.append(log.rows[name,])
    _draw(settings.folder, [row["mesh"] for row in rows])
    slowest = max(rows, key=lambda row: row["seconds"])
    return {
        "meshes": rows,
        "most_seconds": slowest["seconds"],
        "lowest_textured_share": min(row["textured_share"] for row in rows),
        "lowest_consistency_psnr": min(row["consistency_psnr"] for row in rows),
    }


def _textured(
    name: str, mesh: "TexturedMesh", picture: "Picture", job: TextureSettings, generator: "ViewGenerator", folder: Path
) -> dict[str, Any]:
    """Run the whole job on one mesh, files included, and return its row."""
    from distill_core.progress import SilentProgress
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.texture_mesh import texture_mesh

    began = time.perf_counter()
    with recorded_run(SilentProgress()) as record:
        result = texture_mesh(mesh, picture, job, generator, record.progress)
        result.save(folder / "results" / name, record)
        record.progress.finish()
    total, stages = time.perf_counter() - began, record.progress.seconds
    _keep(folder / "pictures" / f"{name}.png", result)
    return {
        "faces": len(result.unwrapped.mesh.faces),
        "coordinates": result.unwrapped.method,
        "unwrapping_seconds": stages[_BEFORE],
        "seconds": total - stages[_BEFORE],
        "stages": stages,
        "picture_lifted": result.picture_lifted,
        "textured_share": result.coverage.view_share,
        "surface_share": result.coverage.surface_share,
        "consistency_psnr": float(result.consistency_psnr.mean()),
        "consistency_psnr_lowest_view": float(result.consistency_psnr.min()),
        "seam_ratio": result.seams.ratio,
    }


def table(result: dict[str, Any]) -> str:
    """Return the worst of every folder of meshes as a Markdown table; the figures of each mesh are in the JSON file.

    Args:
        result: what `run` returned.
    """
    folders: dict[str, list[dict[str, Any]]] = {}
    for row in result["meshes"]:
        folders.setdefault(row["mesh"].partition("/")[0], []).append(row)
    lines = [
        "| meshes | number | unwrapping, at most (s) | all else, at most (s) | textured of what views show, at least | "
        "consistency, at least (dB) | seams, median |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for folder, rows in folders.items():
        lines.append(_summary(f"`{folder}`", rows))
    if len(folders) > 1:
        lines.append(_summary("**all**", result["meshes"]))
    return "\n".join(lines)


def _summary(words: str, rows: list[dict[str, Any]]) -> str:
    """One line: the worst of some rows, each figure with the mesh whose it is."""

    def named(row: dict[str, Any], figure: str) -> str:
        return f"{figure} ({row['mesh'].partition('/')[2]})"

    unwrapping, slowest = (max(rows, key=lambda row: row[seconds]) for seconds in ("unwrapping_seconds", "seconds"))
    barest, least = (min(rows, key=lambda row: row[figure]) for figure in ("textured_share", "consistency_psnr"))
    cells = [
        named(unwrapping, f"{unwrapping['unwrapping_seconds']:.1f}"),
        named(slowest, f"{slowest['seconds']:.1f}"),
        named(barest, f"{100 * barest['textured_share']:.1f} %"),
        named(least, f"{least['consistency_psnr']:.1f}"),
        f"{statistics.median(row['seam_ratio'] for row in rows):.2f}",
    ]
    return f"| {words} | {len(rows)} | {' | '.join(cells)} |"


def _keep(file: Path, result: "TexturedResult") -> None:
    """Write the picture and the textured mesh from around, side by side."""
    import numpy as np

    from distill_core.cameras import orbit_camera
    from distill_core.pictures.images import composite, resize_premultiplied, write_png
    from renderers.mesh_rendering import prepare, render_views
    from renderers.mesh_saving import wearing

    azimuth, size = result.settings.azimuth_degrees, {"width": _SHOWN_PX, "height": _SHOWN_PX}
    cameras = [orbit_camera(azimuth + turn, _SHOWN_ELEVATION_DEGREES, **size) for turn in _SHOWN_TURNS]
    worn = prepare(wearing(result.unwrapped.mesh, result.texture))
    views = render_views(worn, cameras, with_normals=False).colour
    assert result.source is not None  # only textures after a prompt have none
    shown = [resize_premultiplied(result.source.rgba, _SHOWN_PX, _SHOWN_PX), *views]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, np.concatenate([composite(one, 1.0) for one in shown], axis=2).clip(0, 1))


def _draw(folder: Path, names: list[str]) -> None:
    from distill_core.pictures.contact_sheet import contact_sheet
    from distill_core.pictures.images import read_picture, write_png

    strips = [read_picture(folder / "pictures" / f"{name}.png").rgba for name in names]
    write_png(folder / "comparison.png", contact_sheet(strips, _COLUMNS, names))
