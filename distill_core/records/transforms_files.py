"""`transforms.json` as nerfstudio, NeRF-synthetic and instant-ngp write it, read and written.

    nerfstudio        w h fl_x fl_y cx cy at the top or in each frame; paths with endings
    NeRF-synthetic    camera_angle_x alone; paths without ending; one file a split, transforms_train.json and so on
    instant-ngp       fl_x fl_y cx cy and k1 k2 p1 p2 of OpenCV's lens

Poses are camera-to-world in OpenGL axes. The file may come from a stranger: each value is checked where it is read.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill_core.camera_conventions import pose_from_opengl, pose_to_opengl
from distill_core.cameras import Camera, FloatArray
from distill_core.errors import UserError
from distill_core.records.depth_files import read_depth_archive
from distill_core.records.lens_distortion import Distortion
from distill_core.records.record_files import StatedView

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_MAX_FILE_BYTES = 1 << 26
_PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
_OPENCV_MODELS = ("OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
_INTRINSICS = ("w", "h", "fl_x", "fl_y", "cx", "cy")
_DISTORTION = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_STANDARD_KEYS = {
    *("frames", "camera_angle_x", "camera_angle_y", "camera_model", "is_fisheye", "onestep3d"),
    *_INTRINSICS,
    *_DISTORTION,
}


# --- reading ------------------------------------------------------------------------------------------------


def load_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UserError: the file cannot be read, is too large, no JSON, nested too deep or no object.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UserError(f"{path}: expected at most {_MAX_FILE_BYTES:,} bytes, got {path.stat().st_size:,}.")
        return parse_json_object(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; check the path.") from error


def parse_json_object(content: bytes, path: Path) -> dict[str, Any]:
    """Parse JSON that holds an object.

    Args:
        content: of the file.
        path: where it came from, for messages.

    Raises:
        UserError: no JSON, nested too deep or no object.
    """
    try:
        loaded = json.loads(content)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "it may be cut off: copy or export it again."
        ) from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deep for a capture; export it again.") from error
    except ValueError as error:  # no text encoding that JSON allows, or a number of thousands of digits
        raise UserError(f"{path} is not valid JSON ({error}); export it again.") from error
    if not isinstance(loaded, dict):
        raise UserError(f'{path}: expected a JSON object with "frames", got {type(loaded).__name__}.')
    return loaded


def stated_views(path: Path, split: str | None = None) -> tuple[list[StatedView], dict[str, Any]]:
    """Read the views that a `transforms.json` states, and its metadata.

    Args:
        path: the file.
        split: keeps the frames that `SPLIT_filenames` names (nerfstudio); None keeps all.

    Returns:
        The views, and what stands under `onestep3d` (without the schema version), or, in a file by others, the plain
        values at the top that are no intrinsics.

    Raises:
        UserError: what a person can mend in the file.
    """
    top = load_json_object(path)
    views = views_of(top, path)
    if views[0].depth_path is None and (path.parent / "depth.npz").is_file():
        views = _with_depth_archive(path.parent / "depth.npz", views)
    if split is not None:
        views = _views_of_split(path, top, views, split)
    return views, metadata_of(top, path)


def views_of(top: Mapping[str, Any], path: Path) -> list[StatedView]:
    """The views that the content of a `transforms.json` states.

    Args:
        top: the content.
        path: where it came from, for messages.

    Raises:
        UserError: what a person can mend in the file.
    """
    frames = top.get("frames")
    if frames is None:
        raise UserError(f'{path} has no "frames"; expected a list of pictures with their poses.')
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise UserError(f'{path}: expected "frames" to be a list of objects; export it again.')
    if not frames:
        raise UserError(f'{path} has no frames: "frames" is empty; expected at least one picture with its pose.')
    views = [_stated_view(path, top, frame, f"frame {index}") for index, frame in enumerate(frames)]
    for kind in ("depth_path", "normals_path", "albedo_path", "object_index_path"):
        given = sum(getattr(view, kind) is not None for view in views)
        if given not in (0, len(views)):
            raise UserError(f"{path}: expected a {kind} for all frames or for none, got {given} of {len(views)}.")
    timed = sum(view.time is not None for view in views)
    if timed not in (0, len(views)):
        logger.warning("%s: %d of %d frames have a time: taken as a still scene.", path, timed, len(views))
        views = [replace(view, time=None) for view in views]
    if any("mask_path" in frame for frame in frames):
        # They may cut the object out, or only what must not be learned: alpha alone says that.
        logger.warning("%s: masks (mask_path) are not used; store them as the pictures' alpha if they are.", path)
    return views


def splits_in(top: Mapping[str, Any]) -> list[str]:
    """The splits that a nerfstudio file names (`train_filenames` and so on)."""
    return [split for split in ("train", "val", "test") if isinstance(top.get(f"{split}_filenames"), list)]


def _with_depth_archive(archive: Path, views: list[StatedView]) -> list[StatedView]:
    num_depths = len(read_depth_archive(archive))
    if num_depths != len(views):
        raise UserError(f"{archive}: expected depth of {len(views)} views, got {num_depths}; take the file away.")
    return [replace(view, depth_path=archive.name, depth_index=index) for index, view in enumerate(views)]


def _views_of_split(path: Path, top: Mapping[str, Any], views: list[StatedView], split: str) -> list[StatedView]:
    if split not in splits_in(top):
        named = ", ".join(splits_in(top)) or "none"
        raise UserError(f"{path}: expected a list {split}_filenames for split {split!r}, got splits: {named}.")
    names = {str(name) for name in top[f"{split}_filenames"]}
    chosen = [view for view in views if view.picture_path in names]
    if len(chosen) < len(names):
        raise UserError(f"{path}: {split}_filenames names {len(names)} pictures, of which frames hold {len(chosen)}.")
    return chosen


def metadata_of(top: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What stands under `onestep3d`, or, in a file by others, the plain values at the top that are no intrinsics.

    Args:
        top: the content of a `transforms.json`.
        path: where it came from, for messages.

    Raises:
        UserError: a record of another schema version.
    """
    ours = top.get("onestep3d")
    if ours is None:
        return {
            key: value
            for key, value in top.items()
            if key not in _STANDARD_KEYS and isinstance(value, str | int | float | bool)
        }
    if not isinstance(ours, dict) or ours.get("schema_version") != SCHEMA_VERSION:
        version = ours.get("schema_version") if isinstance(ours, dict) else ours
        raise UserError(f"{path}: expected a record of schema version {SCHEMA_VERSION}, got {version!r}; update this.")
    return {key: value for key, value in ours.items() if key != "schema_version"}


def _stated_view(path: Path, top: Mapping[str, Any], frame: Mapping[str, Any], label: str) -> StatedView:
    where = f"{path}, {label}"
    picture_path = _text(frame, "file_path", where)
    if picture_path is None:
        raise UserError(f'{where}: expected a "file_path", got none.')
    values = {**top, **frame}
    pose = _pose(frame.get("transform_matrix"), where)
    width, height = _size(values, "w", where), _size(values, "h", where)
    return StatedView(
        label=label,
        picture_path=picture_path,
        stated_size=None if width is None or height is None else (width, height),
        camera_at=partial(_camera, _lens_numbers(values, where), pose),
        distortion=_distortion(values, where),
        depth_path=_text(frame, "depth_file_path", where),
        normals_path=_text(frame, "normal_file_path", where),
        albedo_path=_text(frame, "albedo_file_path", where),
        object_index_path=_text(frame, "object_index_file_path", where),
        time=_time(frame),
    )


def _pose(matrix: object, where: str) -> FloatArray:
    rows = matrix if isinstance(matrix, list) else []
    lengths = {len(row) if isinstance(row, list) else -1 for row in rows}
    if len(rows) not in (3, 4) or lengths != {4}:
        got = "none" if matrix is None else f"{len(rows)} x {max(lengths, default=0)}"
        raise UserError(f"{where}: expected a 4 x 4 (or 3 x 4) transform_matrix, got {got}.")
    numbers = [[_matrix_number(value, where) for value in row] for row in rows]
    try:
        return pose_from_opengl(np.array(numbers, dtype=np.float64))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _matrix_number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: expected numbers in transform_matrix, got {str(value)[:40]!r}.")
    return value if isinstance(value, float) else float(min(max(value, -(10**300)), 10**300))


def _lens_numbers(values: Mapping[str, Any], where: str) -> dict[str, float]:
    """The intrinsics that are given, checked one by one."""
    names = ("fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y")
    numbers = {name: number for name in names if (number := _number(values, name, where)) is not None}
    for name in ("fl_x", "fl_y"):
        if numbers.get(name, 1.0) <= 0:
            raise UserError(f"{where}: focal length must be positive, got {numbers[name]:g} ({name}).")
    for name in ("camera_angle_x", "camera_angle_y"):
        if not 0 < numbers.get(name, 1.0) < math.pi:
            raise UserError(f"{where}: {name} must be between 0 and pi, got {numbers[name]:g}.")
    if not numbers.keys() - {"cx", "cy"}:
        raise UserError(f"{where}: no focal length: expected camera_angle_x or fl_x.")
    return numbers


def _camera(numbers: Mapping[str, float], pose: FloatArray, width: int, height: int) -> Camera:
    """The camera of a picture of this size; what is not given is square pixels and the picture's middle."""
    focal_x = numbers.get("fl_x") or _focal_length(numbers.get("camera_angle_x"), width)
    focal_y = numbers.get("fl_y") or _focal_length(numbers.get("camera_angle_y"), height)
    if "fl_x" in numbers and "fl_y" not in numbers:
        focal_y = focal_x  # an angle beside a focal length may be rounded
    elif "fl_y" in numbers and "fl_x" not in numbers:
        focal_x = focal_y
    return Camera(
        width=width,
        height=height,
        fx=focal_x or focal_y or 0.0,
        fy=focal_y or focal_x or 0.0,
        cx=numbers.get("cx", width / 2),
        cy=numbers.get("cy", height / 2),
        camera_to_world=pose,
    )


def _focal_length(angle: float | None, size_px: int) -> float | None:
    return None if angle is None else 0.5 * size_px / math.tan(angle / 2)


def _distortion(values: Mapping[str, Any], where: str) -> Distortion | None:
    model = values.get("camera_model", "OPENCV_FISHEYE" if values.get("is_fisheye") else "OPENCV")
    k1, k2, p1, p2, k3, k4, k5, k6 = (_number(values, name, where) or 0.0 for name in _DISTORTION)
    if model == "OPENCV_FISHEYE":
        return Distortion("fisheye", (k1, k2, k3, k4))
    if model in _PINHOLE_MODELS:
        return None
    if model not in _OPENCV_MODELS:
        raise UserError(
            f"{where}: expected a camera_model of {', '.join((*_PINHOLE_MODELS, *_OPENCV_MODELS))} or OPENCV_FISHEYE, "
            f"got {str(model)[:40]!r}; undistort the pictures."
        )
    if model != "FULL_OPENCV" and (k4 or k5 or k6):
        raise UserError(
            f"{where}: k4, k5 and k6 mean different things to different programs; "
            "undistort the pictures, or state camera_model FULL_OPENCV if they are OpenCV's."
        )
    return Distortion("opencv", (k1, k2, p1, p2, k3, k4, k5, k6))


def _number(values: Mapping[str, Any], name: str, where: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or value != value:
        raise UserError(f"{where}: expected {name} to be a finite number, got {str(value)[:40]!r}.")
    return float(value)


def _size(values: Mapping[str, Any], name: str, where: str) -> int | None:
    value = _number(values, name, where)
    if value is not None and (value != int(value) or not 1 <= value <= 1_000_000):
        raise UserError(f"{where}: expected {name} to be a whole number of pixels, got {value:g}.")
    return None if value is None else int(value)


def _text(values: Mapping[str, Any], name: str, where: str) -> str | None:
    value = values.get(name)
    if value is not None and (not isinstance(value, str) or not value.strip("./") or "\0" in value):
        raise UserError(f"{where}: expected {name} to be a path, got {str(value)[:40]!r}.")
    return value


def _time(frame: Mapping[str, Any]) -> float | None:
    """Nerfstudio's time of a scene that moves; programs that keep the hour of a picture there say nothing of it."""
    time = frame.get("time")
    return float(time) if isinstance(time, int | float) and not isinstance(time, bool) and abs(time) < 1e300 else None


# --- writing ------------------------------------------------------------------------------------------------


def transforms_text(
    cameras: Sequence[Camera],
    picture_paths: Sequence[str],
    *,
    view_paths: Mapping[str, Sequence[str]] | None = None,
    times: Sequence[float] = (),
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """The text of a nerfstudio `transforms.json`, one frame a line.

    Args:
        cameras: one a view.
        picture_paths: relative to the file, with `/`.
        view_paths: of what is known beside the pictures, one a view, by the key that frames have it under:
            depth_file_path (16-bit PNGs in steps of 0.001 units), normal_file_path, albedo_file_path,
            object_index_file_path.
        times: of the views of a scene that moves, 0 to 1; empty for one that does not.
        metadata: goes under `onestep3d`, with the schema version; plain JSON values.

    Raises:
        ValueError: lists of different lengths, or metadata that is no JSON.
    """
    lenses = [dict(zip(_INTRINSICS, (c.width, c.height, c.fx, c.fy, c.cx, c.cy), strict=True)) for c in cameras]
    shared = {key: value for key, value in lenses[0].items() if all(lens[key] == value for lens in lenses)}
    frames: list[dict[str, Any]] = []
    for camera, lens, picture_path in zip(cameras, lenses, picture_paths, strict=True):
        own = {key: value for key, value in lens.items() if key not in shared}
        matrix = pose_to_opengl(camera.camera_to_world).tolist()
        frames.append({"file_path": picture_path, **own, "transform_matrix": matrix})
    for key, values in [*(view_paths or {}).items(), *([("time", times)] if len(times) else [])]:
        for frame, value in zip(frames, values, strict=True):
            frame[key] = value
    ours = {"schema_version": SCHEMA_VERSION, **(metadata or {})}
    top = json.dumps({"camera_model": "PINHOLE", **shared, "onestep3d": ours}, indent=2, allow_nan=False)
    lines = ",\n    ".join(json.dumps(frame, allow_nan=False) for frame in frames)
    return top.removesuffix("\n}") + f',\n  "frames": [\n    {lines}\n  ]\n}}\n'
