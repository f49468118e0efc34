"""What a fit of a record leaves in its folder."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.pictures.contact_sheet import contact_sheet
from distill_core.pictures.images import composite, resize_premultiplied, write_png
from distill_core.progress import Progress
from gs_integration.fitting.capture_orbit import capture_orbit
from gs_integration.formats.arrays import Axes, SplatArrays
from gs_integration.formats.ply import write_ply
from gs_integration.output_folder import complete_folder
from gs_integration.pipelines.fit_record import FittedRecord
from gs_integration.pipelines.report import RunRecord, write_json
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.turntable import write_film

FIT_RESULTS = frozenset({"splats.ply", "report.json", "preview.png", "turntable.mp4"})
"""Names of the files that a fit consists of."""

_FILM_PX = 384
_PREVIEW_VIEWS = 8
_PREVIEW_SIDE_PX = 256


def save_fit(result: FittedRecord, folder: Path, run: RunRecord) -> None:
    """Write splats.ply, report.json, preview.png (true views above rendered ones) and turntable.mp4.

    Args:
        result: the fit.
        folder: new, empty, or holding an earlier result, which is replaced.
        run: the record of the job.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    num_frames = result.settings.turntable_frames
    with complete_folder(folder, FIT_RESULTS) as temporary:
        if num_frames:
            run.progress.stage("turntable", num_frames)
            write_film(temporary / "turntable.mp4", _film(result, num_frames, run.progress), side_px=_FILM_PX)
        run.progress.stage("files", None)
        tensors = result.splats.tensors()
        arrays = SplatArrays(
            means=tensors["means"].numpy(),
            quaternions_wxyz=tensors["quaternions_wxyz"].numpy(),
            log_scales=tensors["log_scales"].numpy(),
            opacity_logits=tensors["opacity_logits"].numpy(),
            harmonics=tensors["harmonics"].numpy(),
            axes=nearest_axes(result.fitted.cameras),
        )
        write_ply(temporary / "splats.ply", arrays)
        write_png(temporary / "preview.png", preview(result))
        write_json(temporary / "report.json", run.report(result.settings, **findings(result)))


def findings(result: FittedRecord) -> dict[str, object]:
    """Return what the report says of the fit.

    Args:
        result: the fit.
    """
    sizes = sorted({(camera.width, camera.height) for camera in result.fitted.cameras})
    return {
        "begun_from": result.begun_from,
        "views": {
            "fitted": len(result.fitted.cameras),
            "held_out": len(result.held_out.cameras),
            "sizes_px": [list(size) for size in sizes],
        },
        "splats": {
            "count": len(result.splats),
            "axes": nearest_axes(result.fitted.cameras),
            "count_over_time": result.fit.counts,
        },
        "fit_seconds": round(result.fit.seconds, 2),
        "held_out": {
            "psnr": result.mean("psnr"),
            "psnr_inside": result.mean("psnr_inside"),
            "ssim": result.mean("ssim"),
            "views": [asdict(score) for score in result.scores],
        },
    }


def nearest_axes(cameras: Sequence[Camera]) -> Axes:
    """Name the axes of a capture's world: those in which its cameras stand most nearly upright.

    Args:
        cameras: of the capture.
    """
    up = -np.stack([camera.camera_to_world[:3, 1] for camera in cameras]).mean(axis=0)
    along: dict[Axes, float] = {"z-up": float(up[2]), "y-up": float(up[1]), "y-down": float(-up[1])}
    return max(along, key=lambda axes: along[axes])


def table(result: FittedRecord) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: the fit.
    """
    width, height = result.fitted.cameras[0].width, result.fitted.cameras[0].height
    compared = "| | | |"
    if result.scores:
        means = [result.mean("psnr"), result.mean("psnr_inside"), result.mean("ssim")]
        compared = f"| {means[0]:.2f} | {means[1]:.2f} | {means[2]:.3f} |"
    return "\n".join(
        [
            "| views fitted | held out | size (px) | PSNR (dB) | PSNR inside (dB) | SSIM | splats | fit (s) |",
            "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            f"| {len(result.fitted.cameras)} | {len(result.scores)} | {width} x {height} {compared} "
            f"{len(result.splats):,} | {result.fit.seconds:.0f} |",
        ]
    )


def preview(result: FittedRecord) -> np.ndarray:
    """Return pairs of true and rendered views, those held out if there are any, [3, H, W].

    Args:
        result: the fit.
    """
    views = result.held_out if result.scores else result.fitted
    chosen = np.unique(np.linspace(0, len(views.cameras) - 1, _PREVIEW_VIEWS).astype(int))
    renders = result.renders or {view: _render(result, views.cameras[view]) for view in chosen}
    rows = [
        [composite(views.pictures[view], 1.0) for view in chosen],
        [renders[view] for view in chosen],
    ]
    return contact_sheet([_tile(picture) for row in rows for picture in row], columns=len(chosen))


def _tile(picture: np.ndarray) -> np.ndarray:
    """A picture [3, H, W] in the middle of a white square."""
    _, height, width = picture.shape
    side = max(height, width)
    square = np.ones((4, side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[:3, top : top + height, left : left + width] = picture
    return resize_premultiplied(square, _PREVIEW_SIDE_PX, _PREVIEW_SIDE_PX)[:3]


def _render(result: FittedRecord, camera: Camera) -> np.ndarray:
    with torch.no_grad():
        return rasterize(result.splats, [camera], torch.ones(3)).colour[0].clamp(0, 1).numpy()


def _film(result: FittedRecord, num_frames: int, progress: Progress) -> Iterator[np.ndarray]:
    for camera in capture_orbit(result.fitted.cameras, num_frames, _FILM_PX):
        frame = _render(result, camera)
        yield (frame * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
        progress.advance()
