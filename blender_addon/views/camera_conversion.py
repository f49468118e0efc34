"""Blender's perspective cameras to frames of a `transforms.json`, and back.

A frame states its picture's size and intrinsics in pixels (the centre of the first pixel is at (0.5, 0.5)) and
`transform_matrix`, the camera's pose in OpenGL's axes, which are Blender's own. The equations are those of Blender's
manual and source (camera parameters to view plane): the sensor spans the side that `sensor_fit` names, AUTO the longer
one, and AUTO uses the sensor's width for either; shifts are in parts of that side.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mathutils import Matrix

from ..queueing.job_requests import JobError

INTRINSICS = ("w", "h", "fl_x", "fl_y", "cx", "cy")
_SENSOR_MM = {"HORIZONTAL": 36.0, "VERTICAL": 24.0}
# Blender keeps matrices in single precision.
_RIGID_TOLERANCE = 1e-4


def frame_of_camera(camera: Any, width_px: int, height_px: int, *, render: Any) -> dict[str, Any]:
    """The frame of a camera as Blender renders it.

    Args:
        camera: an object of type CAMERA.
        width_px: of the rendered picture.
        height_px: of the rendered picture.
        render: the scene's render settings, of which the pixel aspect is taken.

    Returns:
        w, h, fl_x, fl_y, cx, cy in pixels, transform_matrix as four rows.

    Raises:
        JobError: a camera that is not perspective, or one that is sheared.
    """
    lens = camera.data
    if lens.type != "PERSP":
        raise JobError(f"{camera.name}: expected a perspective camera, got {lens.type.lower()}; change its lens type.")
    pixel_height = render.pixel_aspect_y / render.pixel_aspect_x
    sensor_mm, sensor_px = _sensor(lens, width_px, height_px * pixel_height)
    focal_px = lens.lens / sensor_mm * sensor_px
    return {
        "w": width_px,
        "h": height_px,
        "fl_x": focal_px,
        "fl_y": focal_px / pixel_height,
        "cx": width_px / 2 - lens.shift_x * sensor_px,
        "cy": height_px / 2 + lens.shift_y * sensor_px / pixel_height,
        "transform_matrix": _rigid(camera).tolist(),
    }


def set_camera(camera: Any, frame: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    """Give a camera the lens and the place of a frame; the scene's resolution stays as it is.

    The sensor spans the shorter side of the frame's picture, so that a scene of another shape shows all of it. Where
    pixels of the frame are not square, the scene needs their pixel aspect (fl_y / fl_x) to render the same picture.

    Args:
        camera: an object of type CAMERA.
        frame: of a transforms.json.
        shared: the top of that file, for what the frame does not state.

    Raises:
        JobError: the frame states no usable camera.
    """
    width, height, focal_x, focal_y, centre_x, centre_y = intrinsics_of(frame, shared)
    pixel_height = focal_x / focal_y
    lens = camera.data
    lens.type = "PERSP"
    lens.sensor_fit = "VERTICAL" if width >= height * pixel_height else "HORIZONTAL"
    lens.sensor_width, lens.sensor_height = _SENSOR_MM["HORIZONTAL"], _SENSOR_MM["VERTICAL"]
    sensor_mm, sensor_px = _sensor(lens, width, height * pixel_height)
    lens.lens = focal_x * sensor_mm / sensor_px
    lens.shift_x = (width / 2 - centre_x) / sensor_px
    lens.shift_y = (centre_y - height / 2) * pixel_height / sensor_px
    camera.matrix_world = Matrix(pose_of(frame).tolist())


def intrinsics_of(frame: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[float, ...]:
    """Width, height, focal lengths and principal point of a frame, in pixels.

    Args:
        frame: of a transforms.json.
        shared: the top of that file.

    Raises:
        JobError: one of them is missing or cannot be.
    """
    values = [frame.get(name, shared.get(name)) for name in INTRINSICS]
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) != len(INTRINSICS) or not np.isfinite(numbers).all() or min(numbers[:4]) <= 0:
        raise JobError(f"Expected a camera with {', '.join(INTRINSICS)} in pixels, got {values}; make the file again.")
    return tuple(numbers)


def pose_of(frame: Mapping[str, Any]) -> np.ndarray:
    """The pose [4, 4] of a frame, camera to world, in OpenGL's axes.

    Args:
        frame: of a transforms.json.

    Raises:
        JobError: it is no rotation and translation.
    """
    try:
        matrix = np.array(frame.get("transform_matrix"), np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not _is_rotation(matrix[:3, :3]):
        raise JobError("Expected a camera whose transform_matrix turns and moves; make the file again.")
    return matrix


def transforms(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of a `transforms.json`.

    Args:
        frames: one a camera; a `file_path` is added where there is none.
    """
    named = [{"file_path": f"views/{place:03d}.png", **frame} for place, frame in enumerate(frames)]
    return {"camera_model": "PINHOLE", "frames": named}


def _sensor(lens: Any, width: float, height: float) -> tuple[float, float]:
    """The sensor in millimetres and the side that it spans, both sides given in widths of a pixel."""
    if lens.sensor_fit == "VERTICAL":
        return lens.sensor_height, height
    # On a tie Blender takes the horizontal; AUTO uses the sensor's width for either side.
    return lens.sensor_width, width if lens.sensor_fit == "HORIZONTAL" or width >= height else height


def _rigid(camera: Any) -> np.ndarray:
    """The camera's pose [4, 4] as Blender renders it: without scale."""
    matrix = np.array(camera.matrix_world, np.float64)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() > 0:
        matrix[:3, :3] /= lengths
    if not _is_rotation(matrix[:3, :3]):
        raise JobError(f"{camera.name}: expected a camera that is turned and moved alone; clear its parent's scale.")
    return matrix


def _is_rotation(matrix: np.ndarray) -> bool:
    off = np.abs(matrix.T @ matrix - np.eye(3)).max()
    return bool(off < _RIGID_TOLERANCE and np.linalg.det(matrix) > 0)
