"""Captures to records: cut out, reduced, moved into the unit ball, written; what cannot be used is listed."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill_core.cameras import Camera, transform_cameras
from distill_core.errors import UserError
from distill_core.pictures.images import Picture, resize_premultiplied
from distill_core.pictures.matting import remove_background
from distill_core.progress import Progress
from distill_core.records.capture_normalisation import normalising_transform
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord, read_record, write_record
from gs_integration.pipelines.import_settings import ImportSettings
from renderers.sources.captures import Capture, find_captures

logger = logging.getLogger(__name__)

_LEAST_CUT_OUT_SHARE = 0.01
"""Alpha counts as a cut-out from this share of transparent pixels on."""
_VIEWS_IN_MEMORY = 999


@dataclass(frozen=True)
class ImportResult:
    """What became of the captures of a folder.

    Attributes:
        written: names of the records.
        kept: names of records of an earlier run with the same settings.
        left_out: reasons, by the captures' names.
    """

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def import_captures(source: Path, settings: ImportSettings, output_dir: Path, progress: Progress) -> ImportResult:
    """Write a record for each capture below a folder; one that is there already is not made again.

    Args:
        source: folder of captures.
        settings: how.
        output_dir: a folder for each record appears in it when it is complete.
        progress: stage "captures".

    Raises:
        UserError: there is nothing to import.
        Cancelled: the caller asked for the end; records that are complete stay.
    """
    captures = find_captures(source, least_quality=settings.least_quality, masks=settings.masks)
    result = ImportResult()
    output_dir.mkdir(parents=True, exist_ok=True)
    progress.stage("captures", len(captures))
    for capture in captures:
        name = capture.uid.replace("/", "__")
        try:
            if capture.rejected is not None:
                raise UserError(capture.rejected)
            if _is_there(output_dir / name, settings):
                result.kept.append(name)
            else:
                write_record(record_of(capture, settings), output_dir / name)
                result.written.append(name)
        except UserError as error:
            result.left_out[capture.uid] = str(error)
            logger.warning("left out %s: %s", capture.uid, error)
        progress.advance()
    return result


def record_of(capture: Capture, settings: ImportSettings) -> MultiViewRecord:
    """The record of a capture; its pictures are read, and normalised where they show the object alone.

    Args:
        capture: not rejected.
        settings: how.

    Raises:
        UserError: whatever a person can mend in the capture.
    """
    opened = capture.open()
    record = opened.subset(_evenly(len(opened), settings.num_views or _VIEWS_IN_MEMORY))
    views = list(_reduced_views(record, settings))
    cameras, pictures = [camera for camera, _ in views], [picture for _, picture in views]
    is_cut_out = all((picture[3] < 0.5).mean() >= _LEAST_CUT_OUT_SHARE for picture in pictures)
    transform = normalising_transform(cameras, [picture[3] for picture in pictures]) if is_cut_out else np.eye(4)
    if not is_cut_out:
        logger.warning(
            "%s: its pictures show more than the object, so it stays in the capture's world and is not for training; "
            "give --masks or --cut-out to change that.",
            capture.uid,
        )
    facts = {key: value for key, value in capture.facts.items() if value not in (None, {}, [])}
    metadata: dict[str, Any] = {
        "source": {"uid": capture.uid, "format": capture.kind, **facts},
        "licence": settings.licence,
        "normalisation": {
            "kind": "bounding sphere" if is_cut_out else "none",
            "source_to_object": transform.tolist(),
        },
        "import": _kept_settings(settings),
    }
    if "missing_pictures" in record.metadata:
        metadata["missing_pictures"] = record.metadata["missing_pictures"]
    return MultiViewRecord(
        cameras=transform_cameras(cameras, transform) if is_cut_out else cameras,
        pictures=LazyViews([partial(np.asarray, picture) for picture in pictures]),
        depth=None if record.depth is None else _scaled_depth(record, transform),
        metadata=metadata,
        names=record.names,
        times=record.times,
    )


def _reduced_views(record: MultiViewRecord, settings: ImportSettings) -> Iterator[tuple[Camera, np.ndarray]]:
    """Cameras and pictures [4, H, W] of the views, cut out and reduced as asked."""
    for camera, name, picture in zip(record.cameras, record.names, record.pictures, strict=True):
        rgba = picture
        if settings.cut_out != "none" and (rgba[3] < 0.5).mean() < _LEAST_CUT_OUT_SHARE:
            matte = remove_background(Picture(rgba, has_alpha=False, path=Path(name)), method=settings.cut_out)
            if matte.method == "none":
                logger.warning("%s: %s", name, matte.warning)
            rgba = matte.rgba
        larger = max(rgba.shape[1:])
        if settings.largest_side is not None and larger > settings.largest_side:
            height, width = (max(1, round(side * settings.largest_side / larger)) for side in rgba.shape[1:])
            rgba, camera = resize_premultiplied(rgba, width, height), camera.resized(width, height)
        yield camera, rgba


def _scaled_depth(record: MultiViewRecord, transform: np.ndarray) -> LazyViews:
    scale = np.float32(np.cbrt(np.linalg.det(transform[:3, :3])))
    depth = record.depth
    assert depth is not None

    def read(index: int) -> np.ndarray:
        return depth[index] * scale

    return LazyViews([partial(read, index) for index in range(len(record))])


def _evenly(num_views: int, at_most: int) -> list[int]:
    """Places of views that are evenly spaced in the order of the capture, the first among them."""
    count = min(num_views, at_most)
    return [place * num_views // count for place in range(count)]


def _kept_settings(settings: ImportSettings) -> dict[str, Any]:
    """What a record depends on: the settings without the threshold that decides whether there is one."""
    return settings.model_dump(mode="json", exclude={"least_quality", "licence"})


def _is_there(folder: Path, settings: ImportSettings) -> bool:
    if not (folder / "transforms.json").is_file():
        return False
    return read_record(folder).metadata.get("import") == _kept_settings(settings)
