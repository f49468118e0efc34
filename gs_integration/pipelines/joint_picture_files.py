"""What pictures made of views that agree leave in their folder."""

import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from distill_core.pictures.contact_sheet import contact_sheet
from distill_core.pictures.images import write_png
from gs_integration.output_folder import complete_folder
from gs_integration.pipelines.report import RunRecord, write_json
from gs_integration.pipelines.result_names import JOINT_RESULTS
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    SequenceSettings,
    ZoomSettings,
)
from gs_integration.pipelines.synchronize_pictures import JointPictures
from gs_integration.turntable import write_film

_COLUMNS = 8
_MOST_IN_PREVIEW = 24
_SMALLEST_PX = 128
_FILM_PX = 256
_CURVES_PX = (160, 800)


def save_joint_pictures(result: JointPictures, folder: Path, run: RunRecord) -> None:
    """Write `picture.png` (the canonical picture), `views/`, `preview.png` and `report.json`.

    A zoom has a film, `zoom.mp4`, instead of the picture, and a sequence `sequence.csv` beside it: a row a frame, the
    channels in -1..1.

    Args:
        result: of the task.
        folder: new, empty, or holding an earlier result, which is replaced.
        run: the record of the job.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    settings = result.settings
    with complete_folder(folder, JOINT_RESULTS) as temporary:
        run.progress.stage("files", None)
        (temporary / "views").mkdir()
        for number, view in enumerate(result.views):
            write_png(temporary / "views" / f"{number:03d}.png", view)
        if isinstance(settings, ZoomSettings):
            frames = zoom_frames(result.views, settings.magnification, settings.frames_per_level, _FILM_PX)
            write_film(temporary / "zoom.mp4", frames, side_px=_FILM_PX)
        else:
            write_png(temporary / "picture.png", result.canonical)
        if isinstance(settings, SequenceSettings):
            _write_sequence(temporary / "sequence.csv", result.canonical[:, 0])
        write_png(temporary / "preview.png", _preview(result))
        write_json(temporary / "report.json", run.report(settings, **result.findings()))


def zoom_frames(levels: np.ndarray, magnification: int, frames_per_level: int, side_px: int) -> Iterator[np.ndarray]:
    """Yield the film of a zoom, uint8 [side, side, 3], from the widest picture into the nearest.

    Args:
        levels: [L, 3, S, S] in 0..1, each the middle of the one before.
        magnification: from one to the next.
        frames_per_level: frames until the next level fills the picture.
        side_px: of the frames.
    """
    for level, wide in enumerate(levels):
        last = level == len(levels) - 1
        for frame in range(1 if last else frames_per_level):
            scale = magnification ** (frame / frames_per_level)
            shown = _magnified(wide, scale, side_px)
            if not last:
                _lay_into_the_middle(shown, levels[level + 1], side_px * scale / magnification)
            yield (shown.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _magnified(picture: np.ndarray, scale: float, side_px: int) -> np.ndarray:
    """The middle [side, side, 3] of a picture [3, S, S]; pixel centres half a pixel from the borders."""
    factor = side_px * scale / picture.shape[1]
    shift = side_px / 2 - 0.5 - factor * (picture.shape[1] / 2 - 0.5)
    matrix = np.array([[factor, 0, shift], [0, factor, shift]])
    return cv2.warpAffine(
        np.ascontiguousarray(picture.transpose(1, 2, 0)),
        matrix,
        (side_px, side_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _lay_into_the_middle(frame: np.ndarray, picture: np.ndarray, side: float) -> None:
    """Lay a picture, reduced to `side` pixels, over the middle of a frame, fading over its border."""
    full = len(frame)
    scale = side / full
    reduced = cv2.resize(np.ascontiguousarray(picture.transpose(1, 2, 0)), (full, full), interpolation=cv2.INTER_LINEAR)
    matrix = np.array([[scale, 0, (full - 1) * (1 - scale) / 2], [0, scale, (full - 1) * (1 - scale) / 2]])
    # Reducing to at least half or a quarter: blurred first, so that details do not flicker.
    softened = cv2.GaussianBlur(reduced, (0, 0), max(0.5 * (1 / scale - 1), 1e-3))
    laid = cv2.warpAffine(softened, matrix, (full, full), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    distance = np.abs(np.arange(full) - (full - 1) / 2)
    inside = np.clip((side / 2 - distance) / max(0.04 * side, 1.0), 0, 1)
    weight = (inside[:, None] * inside[None])[..., None].astype(np.float32)
    frame[:] = frame * (1 - weight) + laid * weight


def _write_sequence(path: Path, channels: np.ndarray) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", *(f"channel_{number}" for number in range(len(channels)))])
        for frame, values in enumerate(channels.T * 2 - 1):
            rows.writerow([frame, *(f"{value:.6f}" for value in values)])


def _preview(result: JointPictures) -> np.ndarray:
    settings = result.settings
    if isinstance(settings, SequenceSettings):
        return curves(result.canonical[:, 0], *_CURVES_PX)
    views = list(result.views[:_MOST_IN_PREVIEW])
    labels = (
        list(settings.views)
        if isinstance(settings, AmbiguousSettings)
        else [f"view {number}" for number in range(len(views))]
    )
    times = max(1, _SMALLEST_PX // views[0].shape[1])
    sheet = contact_sheet([_enlarged(view, times) for view in views], _COLUMNS, labels)
    if isinstance(settings, ZoomSettings | AmbiguousSettings):
        return sheet
    return _above(_enlarged(result.canonical, times), sheet)


def _enlarged(picture: np.ndarray, times: int) -> np.ndarray:
    """A picture with each pixel repeated along both sides."""
    return picture.repeat(times, axis=1).repeat(times, axis=2)


def _above(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two pictures below one another, over white."""
    width = max(first.shape[2], second.shape[2])
    padded = [np.pad(each, ((0, 0), (2, 2), (0, width - each.shape[2])), constant_values=1) for each in (first, second)]
    return np.concatenate(padded, axis=1)


def curves(channels: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Draw channels [C, frames] of values in 0..1 as curves over time, red, green, blue; RGB [3, height, width].

    Args:
        channels: at most three.
        height_px: of the picture.
        width_px: of the picture.
    """
    canvas = np.full((height_px, width_px, 3), 255, np.uint8)
    places = np.linspace(0, width_px - 1, channels.shape[1])
    for channel, values in enumerate(channels[:3]):
        colour = tuple(200 if channel == own else 30 for own in range(3))
        points = np.stack([places, (1 - values) * (height_px - 1)], axis=1).round().astype(np.int32)
        cv2.polylines(canvas, [points.reshape(-1, 1, 2)], isClosed=False, color=colour, lineType=cv2.LINE_AA)
    return canvas.transpose(2, 0, 1).astype(np.float32) / 255
