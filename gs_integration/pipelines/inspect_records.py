"""Records looked at: what their checks find, their views in one picture, and where their cameras stand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from distill_core.camera_plot import camera_plot
from distill_core.errors import UserError
from distill_core.pictures.contact_sheet import CHECKERBOARD, contact_sheet
from distill_core.pictures.images import resize_premultiplied
from distill_core.records.multi_view_record import MultiViewRecord, RecordView, read_record
from distill_core.records.record_checks import CheckedRecord, check_record
from distill_core.records.shard_sets import ShardSet, open_record_set

_SHEET_VIEWS = 24
_MOST_COLUMNS = 8
_CELL_PX = 160
_FARTHEST_GREY = 0.85
"""Depth goes from black, which is near, to this; white is empty."""


@dataclass(frozen=True)
class FoundRecord:
    """A record that has not been opened yet.

    Attributes:
        name: within its set.
        open: raises UserError.
    """

    name: str
    open: Callable[[], MultiViewRecord]


@dataclass(frozen=True)
class InspectedRecord:
    """What there is to know of a record.

    Attributes:
        name: within its set.
        record: opened.
        checked: the findings.
        sheet: its views, with depth and normals where it has them, RGB in 0..1.
        plot: its cameras from above and from the front, RGB in 0..1.
    """

    name: str
    record: MultiViewRecord
    checked: CheckedRecord
    sheet: Float[np.ndarray, "3 sheet_height sheet_width"]
    plot: Float[np.ndarray, "3 plot_height plot_width"]


def find_records(address: str) -> list[FoundRecord]:
    """The records at an address: one record or capture, a folder of records, a set of shards, or one shard of a set.

    Args:
        address: a path; for shards anything that fsspec knows.

    Raises:
        UserError: nothing of the kind is there.
    """
    if address.endswith(".tar"):
        folder, _, file = address.rpartition("/")
        shards = ShardSet(folder or ".")
        places = shards.places_in(file)
        if not places:
            raise UserError(f"{address}: expected a shard that shards.json beside it names, got none; name another.")
        return [FoundRecord(shards.summaries[place].name, partial(shards.read, place)) for place in places]
    path = Path(address)
    if "://" not in address and not (path / "shards.json").is_file() and not any(path.glob("*/transforms.json")):
        return [FoundRecord(path.resolve().name, partial(read_record, path))]
    records = open_record_set(address)
    return [FoundRecord(summary.name, partial(records.read, place)) for place, summary in enumerate(records.summaries)]


def inspect_record(found: FoundRecord) -> InspectedRecord:
    """Open a record and look at all of it.

    Raises:
        UserError: it cannot be opened, or none of its views can be read.
    """
    record = found.open()
    checked = check_record(record)
    views = list(readable_views(record, _SHEET_VIEWS))
    if not views:
        raise UserError(f"{found.name}: {checked.findings[0].says}")
    plot = camera_plot(record.cameras, checked.centre, checked.surface, radius=checked.radius)
    return InspectedRecord(found.name, record, checked, view_sheet(views), plot)


def readable_views(record: MultiViewRecord, most: int) -> Iterator[RecordView]:
    """So many views at most, evenly spaced; damaged ones are passed over.

    Args:
        record: that they are of.
        most: views.
    """
    for index in np.unique(np.linspace(0, len(record) - 1, most).round().astype(int)):
        try:
            yield record.read_view(int(index))
        except UserError:
            continue  # the check of the files names it


def view_sheet(views: Sequence[RecordView]) -> Float[np.ndarray, "3 height width"]:
    """Colours of all views, and below them depth and normals where every view has them; RGB in 0..1.

    Args:
        views: at least one.
    """
    names = [Path(view.name).stem[-18:] for view in views]
    colours = [_shrunk(view.rgba) for view in views]
    columns = -(-len(views) // -(-len(views) // _MOST_COLUMNS))  # rows of the same length, or nearly
    parts = [contact_sheet(colours, columns, labels=names, background=CHECKERBOARD)]
    sizes = [colour.shape[1:] for colour in colours]
    depths = [view.depth for view in views if view.depth is not None]
    if len(depths) == len(views):
        seen = np.concatenate([depth[depth > 0] for depth in depths])
        near, far = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
        greys = [
            np.where(depth > 0, (depth - near) / max(far - near, 1e-6) * _FARTHEST_GREY, 1).astype(np.float32)[None]
            for depth in depths
        ]
        pictures = [_picked(np.repeat(grey, 3, axis=0), size) for grey, size in zip(greys, sizes, strict=True)]
        parts.append(contact_sheet(pictures, columns))
    normals = [view.normals for view in views if view.normals is not None]
    if len(normals) == len(views):
        shown = [np.where(np.abs(normal).sum(axis=0) > 0, normal * 0.5 + 0.5, 1) for normal in normals]
        pictures = [_picked(normal.astype(np.float32), size) for normal, size in zip(shown, sizes, strict=True)]
        parts.append(contact_sheet(pictures, columns))
    return np.concatenate(parts, axis=1)


def _shrunk(rgba: np.ndarray) -> np.ndarray:
    height, width = rgba.shape[1:]
    scale = min(1.0, _CELL_PX / max(height, width))
    return (
        rgba if scale == 1 else resize_premultiplied(rgba, max(1, round(width * scale)), max(1, round(height * scale)))
    )


def _picked(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The picture at another size by picking pixels: depth and normals between two surfaces mean nothing."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, picture.shape[1:], strict=True)
    )
    return picture[:, rows[:, None], columns]
