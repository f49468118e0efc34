"""Sequences of CO3D: frame annotations (gzip JSON) with PyTorch3D cameras, pictures, masks and scores.

Format: https://github.com/facebookresearch/co3d, frame_annotations.jgz and sequence_annotations.jgz. Masks become
alpha; depth is left out, it is scaled by estimates of its own.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill_core.camera_conventions import PyTorch3DCamera, camera_from_pytorch3d
from distill_core.errors import UserError
from distill_core.records.compressed_json import read_compressed_json
from distill_core.records.record_files import StatedView

_ANNOTATIONS = "frame_annotations.jgz"
_SEQUENCE_ANNOTATIONS = "sequence_annotations.jgz"
# Below this share of its picture a mask has not found the object.
_LEAST_MASK_SHARE = 0.001


@dataclass(frozen=True)
class Sequence:
    """One sequence of a category, as its annotations state it.

    Attributes:
        annotations: `frame_annotations.jgz` of the category.
        name: of the sequence.
        viewpoint_quality: the dataset's score of the cameras, None where it has none; above 0.5 they are usable.
        point_cloud_quality: the dataset's score of the reconstruction, None where it has none.
        views: those that can be used; picture paths are relative to the dataset, two folders above `annotations`.
        left_out: why a frame cannot be used, by the path of its picture.
    """

    annotations: Path
    name: str
    viewpoint_quality: float | None
    point_cloud_quality: float | None
    views: list[StatedView]
    left_out: dict[str, str]


def find_annotations(folder: Path) -> Path | None:
    """The frame annotations of a category's folder, or of the only category in a dataset's folder."""
    if (folder / _ANNOTATIONS).is_file():
        return folder / _ANNOTATIONS
    found = sorted(folder.glob(f"*/{_ANNOTATIONS}"))
    return found[0] if len(found) == 1 else None


def category_annotations(folder: Path) -> list[Path]:
    """The frame annotations of every category in a dataset's folder, or of the category whose folder it is."""
    own = folder / _ANNOTATIONS
    return [own] if own.is_file() else sorted(folder.glob(f"*/{_ANNOTATIONS}"))


def read_sequences(path: Path) -> list[Sequence]:
    """Read all sequences of a category with the dataset's own scores, by name.

    Frames without camera, and those whose mask is empty by the dataset's own measure, are left out.

    Args:
        path: `frame_annotations.jgz` of the category; `sequence_annotations.jgz` is looked for beside it.

    Raises:
        UserError: a damaged file.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for frame in _annotations(path):
        by_name.setdefault(frame["sequence_name"], []).append(frame)
    scores = _scores(path.with_name(_SEQUENCE_ANNOTATIONS))
    sequences = []
    for name, frames in sorted(by_name.items()):
        reasons = [_unusable(frame) for frame in frames]
        used = [(number, frame) for number, frame in enumerate(frames) if reasons[number] is None]
        sequences.append(
            Sequence(
                path,
                name,
                *scores.get(name, (None, None)),
                views=[_stated_view(path, frame, f"{name}, frame {number}") for number, frame in used],
                left_out={
                    _picture_name(frame, number): reason
                    for number, (frame, reason) in enumerate(zip(frames, reasons, strict=True))
                    if reason is not None
                },
            )
        )
    return sequences


def _unusable(frame: dict[str, Any]) -> str | None:
    """Why a frame cannot be used by what the dataset says of it."""
    if frame.get("viewpoint") is None:
        return "has no camera"
    mask, image = frame.get("mask"), frame.get("image")
    mass = mask.get("mass") if isinstance(mask, dict) else None
    size = image.get("size") if isinstance(image, dict) else None
    if isinstance(mass, int | float) and isinstance(size, list) and len(size) == 2:
        pixels = math.prod(side for side in size if isinstance(side, int))
        if not mass >= _LEAST_MASK_SHARE * pixels:
            return f"its mask covers {mass:g} of {pixels} pixels"
    return None


def _picture_name(frame: dict[str, Any], number: int) -> str:
    image = frame.get("image")
    return str(image.get("path")) if isinstance(image, dict) else f"frame {number}"


def _scores(path: Path) -> dict[str, tuple[float | None, float | None]]:
    """Scores of the cameras and of the point cloud by sequence; nothing where there is no such file."""
    if not path.is_file():
        return {}

    def score(value: object) -> float | None:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    scores = {}
    for row in _read_list(path):
        cloud = row.get("point_cloud")
        scores[row["sequence_name"]] = (
            score(row.get("viewpoint_quality_score")),
            score(cloud.get("quality_score")) if isinstance(cloud, dict) else None,
        )
    return scores


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
    annotations = _read_list(path)
    if not annotations:
        raise UserError(f"{path} has no frames; expected at least one.")
    return annotations


def _read_list(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of annotations, each with its sequence_name."""
    annotations = read_compressed_json(path)
    if not isinstance(annotations, list) or not all(
        isinstance(row, dict) and isinstance(row.get("sequence_name"), str) for row in annotations
    ):
        raise UserError(f"{path}: expected a list of annotations, each with its sequence_name; copy it again.")
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
