"""Splats fitted to renders of well-known models, at views that the fit has not seen.

Sixteen views on two rings go in, eight others between them are compared, over white.
"""

import statistics
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation_models import evaluation_models, render_pictures
from distill_core.camera_rigs import cameras_from_angles
from distill_core.cameras import Camera


class Settings(BaseModel):
    """Which models, and how large their views are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/eval"), description="folder of the models, with INDEX.csv")
    resolution: int = Field(default=256, ge=16, le=2048, description="side of the views in pixels")
    iterations: int | None = Field(default=None, ge=1, description="optimization steps; those of a capture if None")
    limit: int | None = Field(default=None, ge=1, description="measure only this many models")


def run(settings: Settings) -> dict[str, Any]:
    """Fit every model and compare its unseen views.

    Args:
        settings: which models.
    """
    from gs_integration.fitting.settings import capture_settings

    fit = capture_settings() if settings.iterations is None else capture_settings(iterations=settings.iterations)
    models = [
        {"model": name, **_fit_and_compare(mesh, settings.resolution, fit)}
        for name, mesh in evaluation_models(settings.models, settings.limit)
    ]
    return {
        "fit": fit.model_dump(),
        "models": models,
        "median_psnr": statistics.median(model["psnr"] for model in models),
        "median_seconds": statistics.median(model["seconds"] for model in models),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    rows = [
        f"| {row['model']} | {row['psnr']:.2f} | {row['splats']:,} | {row['seconds']:.1f} |" for row in result["models"]
    ]
    return "\n".join(
        [
            "| model | PSNR of unseen views (dB) | splats | seconds |",
            "| --- | ---: | ---: | ---: |",
            *rows,
            f"| **median** | **{result['median_psnr']:.2f}** | | **{result['median_seconds']:.1f}** |",
        ]
    )


def seen_cameras(resolution: int) -> list[Camera]:
    """Return two rings of eight cameras, one a little below the other's gaps.

    Args:
        resolution: side of the pictures in pixels.
    """
    return [
        *cameras_from_angles([45.0 * view for view in range(8)], [5.0], width=resolution, height=resolution),
        *cameras_from_angles([45.0 * view + 22.5 for view in range(8)], [40.0], width=resolution, height=resolution),
    ]


def unseen_cameras(resolution: int) -> list[Camera]:
    """Return eight cameras between the rings, none at an azimuth of theirs.

    Args:
        resolution: side of the pictures in pixels.
    """
    return cameras_from_angles([45.0 * view + 11.25 for view in range(8)], [22.5], width=resolution, height=resolution)


def _fit_and_compare(mesh: Any, resolution: int, fit: Any) -> dict[str, Any]:
    import torch

    from distill_core.metrics import psnr
    from distill_core.pictures.images import composite
    from distill_core.progress import SilentProgress
    from gs_integration.fitting.initialization import splats_from_hull
    from gs_integration.fitting.optimization import fit_splats
    from gs_integration.fitting.visual_hull import visual_hull
    from gs_integration.rasterization.rasterize import rasterize

    cameras, unseen = seen_cameras(resolution), unseen_cameras(resolution)
    pictures, truth = render_pictures(mesh, cameras), render_pictures(mesh, unseen)
    began = time.perf_counter()
    hull = visual_hull(cameras, pictures[:, 3])
    initial = splats_from_hull(hull, cameras, pictures, num_splats=fit.num_splats)
    splats = fit_splats(cameras, pictures, initial, fit, SilentProgress(), source_view=None).splats
    seconds = time.perf_counter() - began
    with torch.no_grad():
        drawn = rasterize(splats, unseen, torch.ones(3)).colour.clamp(0, 1).numpy()
    values = [float(psnr(one, composite(true, 1.0))) for one, true in zip(drawn, truth, strict=True)]
    return {"psnr": statistics.mean(values), "splats": len(splats.means), "seconds": seconds}
