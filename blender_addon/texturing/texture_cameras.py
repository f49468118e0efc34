"""Where the views of a texture are taken from, around a mesh in the unit ball: the same cameras that are shown before.

The rings are those of the project (`ring_and_poles_cameras`, `orbit_rig`): azimuth 0 is in front of the object, at -y,
and 90 at +x; cameras have 40 degrees and let the unit ball touch the edges of their square picture.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..views.camera_conversion import frame_of_camera

RING, RING_AND_POLES, AUTOMATIC, SELECTED = "RING", "RING_AND_POLES", "AUTOMATIC", "SELECTED"
WORKER_NAMES = {RING: "ring", RING_AND_POLES: "ring-and-poles", AUTOMATIC: "automatic"}
"""How the worker calls the sets that it knows, too."""

FEWEST = {RING: 1, RING_AND_POLES: 3, AUTOMATIC: 1}
_RING_ELEVATION = 15.0
_FIELD_OF_VIEW = 40.0
_SIDE_PX = 128
"""Of the stated pictures; the worker scales cameras to the size that it makes."""


def ring_frames(kind: str, num_views: int, azimuth_degrees: float) -> list[dict[str, Any]]:
    """Frames of a ring of cameras in the unit ball's world.

    Args:
        kind: RING or RING_AND_POLES.
        num_views: all of them, the poles included.
        azimuth_degrees: of the first camera.
    """
    num_poles = 2 if kind == RING_AND_POLES else 0
    in_ring = num_views - num_poles
    angles = [(azimuth_degrees + 360 * view / in_ring, _RING_ELEVATION) for view in range(in_ring)]
    angles += [(azimuth_degrees, 90.0), (azimuth_degrees, -90.0)][:num_poles]
    return [_frame(_orbit_pose(azimuth, elevation)) for azimuth, elevation in angles]


def selected_frames(cameras: Sequence[Any], render: Any, world_to_unit: np.ndarray) -> list[dict[str, Any]]:
    """Frames of cameras of the scene, seen from the unit ball's world.

    Args:
        cameras: perspective cameras; their pictures become square, as wide as what they render.
        render: the scene's render settings.
        world_to_unit: [4, 4] of the mesh, a scale and a translation.

    Raises:
        JobError: a camera is not perspective.
    """
    frames = []
    for camera in cameras:
        frame = frame_of_camera(camera, _SIDE_PX, _SIDE_PX, render=render)
        pose = np.array(frame["transform_matrix"])
        pose[:3, 3] = world_to_unit[:3, :3] @ pose[:3, 3] + world_to_unit[:3, 3]
        frames.append({**frame, "transform_matrix": pose.tolist()})
    return frames


def frustum_lines(frame: dict[str, Any], depth: float) -> np.ndarray:
    """The edges of what a camera sees down to a depth, and a roof that shows where up is: [2 K, 3] ends of K lines.

    Args:
        frame: in any world.
        depth: in units of that world.
    """
    pose = np.array(frame["transform_matrix"])
    width, height, focal_x, focal_y = (frame[name] for name in ("w", "h", "fl_x", "fl_y"))
    left, right = -frame["cx"] / focal_x, (width - frame["cx"]) / focal_x
    top, bottom = frame["cy"] / focal_y, -(height - frame["cy"]) / focal_y
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    roof = ((left + right) / 2, top + 0.35 * (top - bottom))
    points = np.array([(0.0, 0.0, 0.0), *((x * depth, y * depth, -depth) for x, y in (*corners, roof))])
    pairs = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1), (1, 5), (5, 2)]
    in_world = points @ pose[:3, :3].T + pose[:3, 3]
    return in_world[np.array(pairs).ravel()]


def _frame(pose: np.ndarray) -> dict[str, Any]:
    focal = 0.5 * _SIDE_PX / math.tan(math.radians(_FIELD_OF_VIEW) / 2)
    middle = _SIDE_PX / 2
    lens = {"w": _SIDE_PX, "h": _SIDE_PX, "fl_x": focal, "fl_y": focal, "cx": middle, "cy": middle}
    return {**lens, "transform_matrix": pose.tolist()}


def _orbit_pose(azimuth_degrees: float, elevation_degrees: float) -> np.ndarray:
    """The pose [4, 4] in OpenGL's axes of a camera that looks at the origin and sees the unit ball, upright."""
    azimuth, elevation = math.radians(azimuth_degrees), math.radians(elevation_degrees)
    backward = np.array(
        [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(backward, right), backward], axis=1)
    pose[:3, 3] = backward / math.sin(math.radians(_FIELD_OF_VIEW) / 2)
    return pose
