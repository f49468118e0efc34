"""Captures by others, found below a folder: CO3D's categories, MVImgNet and other COLMAP folders, transforms.json.

A capture is opened when its turn comes; what a dataset's own scores or files rule out is named with the reason.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from distill_core.errors import UserError
from distill_core.records.colmap import find_colmap_model, images_folder
from distill_core.records.multi_view_record import (
    MultiViewRecord,
    co3d,
    read_co3d_sequence,
    read_colmap,
    read_record,
    record_splits,
)

_TRANSFORMS = ("transforms.json", "transforms_train.json")


@dataclass(frozen=True)
class Capture:
    """Pictures of one thing, not opened yet.

    Attributes:
        uid: names it within its dataset: CATEGORY/SEQUENCE, or its folder below the one that was searched.
        kind: the layout, "co3d", "colmap" or "transforms".
        open: reads cameras and finds the pictures; raises UserError.
        rejected: why it is not to be used, None if it is.
        facts: of the dataset, for the record: scores, frames left out.
    """

    uid: str
    kind: str
    open: Callable[[], MultiViewRecord]
    rejected: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def find_captures(folder: Path, *, least_quality: float = 0.5, masks: Path | None = None) -> list[Capture]:
    """The captures below a folder, in the order of their names.

    Args:
        folder: a dataset, a category or one capture.
        least_quality: of CO3D's sequences, score of the cameras; those without a score are kept.
        masks: for COLMAP: the name of a folder in each capture, or a folder in which the captures' own folders are
            repeated, with a picture for each picture that is white where the object is.

    Raises:
        UserError: no such folder, nothing in it, or damaged annotations of CO3D.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder of captures, but {folder} is none; check the path.")
    categories = co3d.category_annotations(folder)
    if categories:
        found = [capture for path in categories for capture in _sequences(path, least_quality)]
    else:
        found = list(_folders(folder, masks))
    if not found:
        raise UserError(
            f"{folder}: expected captures (frame_annotations.jgz of CO3D, COLMAP's sparse/0 beside images, or "
            "transforms.json) in it or below, found none; name another folder."
        )
    return found


def _sequences(annotations: Path, least_quality: float) -> Iterator[Capture]:
    category = annotations.parent.name
    for sequence in co3d.read_sequences(annotations):
        quality, rejected = sequence.viewpoint_quality, None
        if not sequence.views:
            rejected = "no frame of it is usable by the dataset's own figures"
        elif quality is not None and quality < least_quality:
            rejected = f"the score of its cameras is {quality:.3g}, below {least_quality:g}"
        yield Capture(
            f"{category}/{sequence.name}",
            "co3d",
            partial(read_co3d_sequence, sequence),
            rejected,
            {
                "category": category,
                "viewpoint_quality": quality,
                "point_cloud_quality": sequence.point_cloud_quality,
                "frames_left_out": sequence.left_out,
            },
        )


def _folders(root: Path, masks: Path | None) -> Iterator[Capture]:
    for place, folders, files in os.walk(root):
        here = Path(place)
        # A model beside others is the largest one, sparse/0: the others hold what COLMAP could not join to it.
        model = find_colmap_model(here) or find_colmap_model(here / "0")
        if any(name in files for name in _TRANSFORMS):
            split = "train" if "train" in record_splits(here) else None
            yield Capture(
                _uid(here, root),
                "transforms",
                partial(read_record, here, split),
                facts={} if split is None else {"split_of_capture": split},
            )
        elif model is not None:
            yield _colmap_capture(model, root, masks)
        elif "images" in folders:
            rejected = "it has pictures and no reconstruction (sparse/0)"
            yield Capture(_uid(here, root), "colmap", partial(read_colmap, here), rejected)
        else:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            continue
        folders.clear()


def _colmap_capture(model: Path, root: Path, masks: Path | None) -> Capture:
    try:
        home = images_folder(model).parent
    except UserError as error:
        return Capture(_uid(model, root), "colmap", partial(read_colmap, model), str(error))
    uid = _uid(home, root)
    if masks is None:
        return Capture(uid, "colmap", partial(read_colmap, model))
    mirrored = masks / uid
    return Capture(uid, "colmap", partial(read_colmap, model, masks=mirrored if mirrored.is_dir() else home / masks))


def _uid(home: Path, root: Path) -> str:
    home, root = home.resolve(), root.resolve()
    return home.relative_to(root).as_posix() if home != root and home.is_relative_to(root) else home.name
