"""Sequences of CO3D: frame annotations (gzip JSON) with PyTorch3D cameras, pictures and masks.

Format: https://github.com/facebookresearch/co3d, frame_annotations.jgz. Masks become alpha; depth is left out, it is
scaled by estimates of its own.
"""

import gzip
import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill_core.camera_conventions import PyTorch3DCamera, camera_from_pytorch3d
from distill_core.errors import UserError
from distill_core.record_files import StatedView

_ANNOTATIONS = "frame_annotations.jgz"
_MAX_BYTES = 1 << 31


def find_annotations(folder: Path) -> Path | None:
    """The frame annotations of a category's folder, or of the only category in a dataset's folder."""
    if (folder / _ANNOTATIONS).is_file():
        return folder / _ANNOTATIONS
    found = sorted(folder.glob(f"*/{_ANNOTATIONS}"))
    return found[0] if len(found) == 1 else None


def stated_views(path: Path, sequence: str | None = None) -> list[StatedView]:
    """Read the views of one sequence; picture paths are relative to the dataset, two folders above the file.

    Args:
        path: `frame_annotations.jgz` of a category.
        sequence: its name; None if the file holds only one.

    Raises:
        UserError: a damaged file, an unknown sequence, or several and none named.
    """
    annotations = _annotations(path)
    names = sorted({frame["sequence_name"] for frame in annotations})
    if sequence is None and len(names) == 1:
        sequence = names[0]
    if sequence not in names:
        raise UserError(
            f"{path}: expected the name of a sequence, got {sequence!r}; it holds {len(names)}: "
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}."
        )
    chosen = [frame for frame in annotations if frame["sequence_name"] == sequence]
    return [_stated_view(path, frame, f"frame {index}") for index, frame in enumerate(chosen)]


def _annotations(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path) as stream:
            text = stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise UserError(f"{path}: expected at most 2 GiB of annotations; name a smaller file.")
        annotations = json.loads(text)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected gzip-compressed JSON, got {error}; copy it again.") from error
    if not isinstance(annotations, list) or not all(
        isinstance(frame, dict) and isinstance(frame.get("sequence_name"), str) for frame in annotations
    ):
        raise UserError(f"{path}: expected a list of frame annotations, each with its sequence_name; copy it again.")
    if not annotations:
        raise UserError(f"{path} has no frames; expected at least one.")
    return annotations


def _stated_view(path: Path, frame: dict[str, Any], label: str) -> StatedView:
    try:
        viewpoint, image, mask = frame["viewpoint"], frame["image"], frame.get("mask")
        height, width = (int(size) for size in image["size"])
        focal_x, focal_y = (float(value) for value in viewpoint["focal_length"])
        principal_x, principal_y = (float(value) for value in viewpoint["principal_point"])
        foreign = PyTorch3DCamera(
            rotation=np.array(viewpoint["R"], dtype=np.float64).reshape(3, 3),
            translation=np.array(viewpoint["T"], dtype=np.float64).reshape(3),
            focal_length=(focal_x, focal_y),
            principal_point=(principal_x, principal_y),
            # CO3D v1 did not name its format.
            ndc_format=viewpoint.get("intrinsics_format", "ndc_norm_image_bounds").lower(),
        )
        return StatedView(
            label=label,
            picture_path=str(image["path"]),
            stated_size=(width, height),
            camera_at=partial(camera_from_pytorch3d, foreign),
            mask_path=None if mask is None or mask.get("path") is None else str(mask["path"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{path}, {label}: expected a frame annotation of CO3D, got {error!r}; copy it again."
        ) from error
