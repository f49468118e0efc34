"""A record of posed pictures to splats, compared at the views that were held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np
import torch

from distill_core import metrics
from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import composite, resize_premultiplied
from distill_core.progress import Progress
from distill_core.records.colmap import read_sparse_points
from distill_core.records.multi_view_record import MultiViewRecord, holdout_split, read_record, record_splits
from gs_integration.fitting.initialization import FAINT_OPACITY, splats_from_hull, splats_from_points, splats_random
from gs_integration.fitting.optimization import FitResult, fit_splats
from gs_integration.fitting.plane_sweep import agreeing_points
from gs_integration.fitting.settings import FitRecordSettings
from gs_integration.fitting.visual_hull import HullGrid, visual_hull
from gs_integration.pipelines.devices import splat_device, torch_device
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

_OPAQUE_SHARE = 0.98
"""Pictures with hardly any transparent pixel show a scene, not an object cut out of one."""


@dataclass(frozen=True, eq=False)
class RecordViews:
    """Views at the size at which they are fitted.

    Attributes:
        cameras: one a view.
        pictures: straight RGBA [4, H, W], one a view; sizes may differ.
        names: the pictures' paths in their capture.
    """

    cameras: list[Camera]
    pictures: list[np.ndarray]
    names: list[str]


@dataclass(frozen=True)
class HeldOutView:
    """How the splats compare with a picture that they were not fitted to, over white.

    Attributes:
        name: the picture's path in its capture.
        psnr: over all pixels, dB.
        psnr_inside: inside its silhouette, dB; the same where there is none.
        ssim: structural similarity.
    """

    name: str
    psnr: float
    psnr_inside: float
    ssim: float


@dataclass(frozen=True, eq=False)
class FittedRecord:
    """Splats of a capture.

    Attributes:
        settings: those of the job.
        splats: in the capture's own world, on the CPU.
        fit: how they came about.
        begun_from: where the splats began.
        fitted: the views that were fitted.
        held_out: the views that were not.
        scores: one a held-out view.
        renders: the splats at the held-out views over white, RGB [3, H, W].
    """

    settings: FitRecordSettings
    splats: Splats
    fit: FitResult
    begun_from: str
    fitted: RecordViews
    held_out: RecordViews
    scores: list[HeldOutView]
    renders: list[np.ndarray]

    def mean(self, measure: Literal["psnr", "psnr_inside", "ssim"]) -> float:
        """Return the mean of a measure over the held-out views; NaN if there are none."""
        return float(np.mean([getattr(score, measure) for score in self.scores])) if self.scores else float("nan")


def fit_record(path: Path, settings: FitRecordSettings, progress: Progress) -> FittedRecord:
    """Fit splats to a record or a capture by others.

    Args:
        path: as `read_record` takes it.
        settings: everything a person can choose.
        progress: stages "pictures", "beginning", "splats", "comparison".

    Raises:
        UserError: the capture cannot be read, shows no depth, is too small to be compared, or does not allow the
            beginning that was asked for.
    """
    learned, compared = _split(path, settings.holdout_every)
    # A capture may hold both transforms.json and a COLMAP model, in different worlds: points only with their own poses.
    model = path if learned.metadata.get("format") == "colmap" else None
    if settings.begin_from == "points" and model is None:
        raise UserError("Expected a COLMAP model to begin from its points, got another capture; begin from random.")
    progress.stage("pictures", len(learned) + (len(compared) if compared else 0))
    fitted = _read_views(learned, settings.resolution, progress)
    held_out = _read_views(compared, settings.resolution, progress) if compared else RecordViews([], [], [])
    _check_views(fitted, held_out)
    progress.stage("beginning", None)
    initial, hull, begun_from = _beginning(model, fitted, settings)
    device = splat_device(torch_device(settings.device))
    result = fit_splats(
        fitted.cameras, fitted.pictures, initial.to(device), settings.fit, progress, hull=hull, seed=settings.seed
    )
    progress.stage("comparison", len(held_out.cameras))
    renders, scores = [], []
    for camera, picture, name in zip(held_out.cameras, held_out.pictures, held_out.names, strict=True):
        render = _over_white(result.splats, camera)
        renders.append(render)
        scores.append(_compare(name, render, picture))
        progress.advance()
    return FittedRecord(settings, result.splats.to("cpu"), result, begun_from, fitted, held_out, scores, renders)


def _split(path: Path, holdout_every: int) -> tuple[MultiViewRecord, MultiViewRecord | None]:
    """Open the views to fit and those to hold out."""
    splits = record_splits(path) if path.is_dir() else []
    if "train" in splits and "test" in splits:
        learned, compared = read_record(path, "train"), read_record(path, "test") if holdout_every else None
        _expect_still(path, learned)
        return learned, compared
    record = read_record(path)
    _expect_still(path, record)
    if not holdout_every:
        return record, None
    learned, compared = holdout_split(len(record), holdout_every)
    return record.subset(learned), record.subset(compared)


def _expect_still(path: Path, record: MultiViewRecord) -> None:
    moments = len(record.moments())
    if moments > 1:
        raise UserError(f"{path}: expected views of one moment, got {moments} moments of a scene that moves.")


def _read_views(record: MultiViewRecord, resolution: int, progress: Progress) -> RecordViews:
    """Read the pictures, reduced so that their longer side is at most `resolution`."""
    views = RecordViews([], [], [])
    for index in range(len(record)):
        view = record.read_view(index)
        factor = min(1.0, resolution / max(view.camera.width, view.camera.height))
        width, height = (max(round(side * factor), 1) for side in (view.camera.width, view.camera.height))
        views.cameras.append(view.camera.resized(width, height))
        views.pictures.append(resize_premultiplied(view.rgba, width, height).astype(np.float32))
        views.names.append(view.name)
        progress.advance()
    return views


def _check_views(fitted: RecordViews, held_out: RecordViews) -> None:
    """Refuse before the fit what would be of no use after it."""
    places = np.stack([camera.position for camera in fitted.cameras])
    if np.ptp(places, axis=0).max() < 1e-6 * max(1.0, np.abs(places).max()):
        raise UserError(
            f"Expected pictures from at least two places, got {len(places)} from one, which show no depth; "
            "image_to_3dgs.py makes splats of a single picture."
        )
    for camera, name in zip(held_out.cameras, held_out.names, strict=True):
        if min(camera.width, camera.height) < metrics.SSIM_WINDOW_PX:
            raise UserError(
                f"{name}: expected at least {metrics.SSIM_WINDOW_PX} x {metrics.SSIM_WINDOW_PX} pixels to compare, got "
                f"{camera.width} x {camera.height}; choose a larger --resolution or --holdout-every 0."
            )


def _beginning(
    colmap_model: Path | None, views: RecordViews, settings: FitRecordSettings
) -> tuple[Splats, HullGrid | None, Literal["hull", "points", "agreement", "random"]]:
    """Return the first splats, the hull that confines them if there is one, and where they came from."""
    choice, num_splats, seed = settings.begin_from, settings.fit.num_splats, settings.seed
    if choice == "auto":
        inside = np.mean([(picture[3] > 0.5).mean() for picture in views.pictures])
        choice = "hull" if inside < _OPAQUE_SHARE else "agreement" if colmap_model is None else "points"
    match choice:
        case "hull":
            hull = visual_hull(views.cameras, [picture[3] for picture in views.pictures])
            splats = splats_from_hull(hull, views.cameras, views.pictures, num_splats=num_splats, seed=seed)
            return splats, hull, choice
        case "points":
            assert colmap_model is not None
            positions, colours = read_sparse_points(colmap_model)
            return splats_from_points(positions, colours / 255, num_splats=num_splats, seed=seed), None, choice
        case "agreement":
            positions, colours = agreeing_points(views.cameras, views.pictures, num_points=num_splats, seed=seed)
            return splats_from_points(positions, colours, opacity=FAINT_OPACITY, seed=seed), None, choice
        case "random":
            splats = splats_random(views.cameras, views.pictures, num_splats=num_splats, seed=seed)
            return splats, None, choice
        case _:
            assert_never(choice)


def _over_white(splats: Splats, camera: Camera) -> np.ndarray:
    with torch.no_grad():
        colour = rasterize(splats, [camera], torch.ones(3, device=splats.device)).colour[0]
    return colour.clamp(0, 1).cpu().numpy()


def _compare(name: str, render: np.ndarray, picture: np.ndarray) -> HeldOutView:
    truth = composite(picture, 1.0)
    return HeldOutView(
        name=name,
        psnr=float(metrics.psnr(render, truth)),
        psnr_inside=float(metrics.psnr(render, truth, mask=picture[3] > 0.5)),
        ssim=float(metrics.ssim(render, truth)),
    )
