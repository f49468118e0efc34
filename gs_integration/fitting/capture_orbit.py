"""A camera path about what a capture shows, within the directions from which it was taken."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from distill_core.cameras import Camera, focal_length_px, look_at
from gs_integration.fitting.visual_hull import common_volume

_WIDEST_GAP_DEGREES = 90.0
"""A larger gap between the azimuths of neighbouring cameras is left out: nobody saw the thing from there."""


def capture_orbit(cameras: Sequence[Camera], num_frames: int, side_px: int) -> list[Camera]:
    """Cameras at the captured distance and height: a full turn, or to and fro where a side was not captured.

    Args:
        cameras: those of the capture.
        num_frames: number of cameras on the path.
        side_px: side of their pictures in pixels.
    """
    centre, _ = common_volume(cameras)
    offsets = np.stack([camera.position for camera in cameras]) - centre
    up = -np.stack([camera.camera_to_world[:3, 1] for camera in cameras]).mean(axis=0)
    up /= max(float(np.linalg.norm(up)), 1e-9)
    heights = offsets @ up
    level = offsets - heights[:, None] * up
    first_axis = level[int(np.argmax(np.linalg.norm(level, axis=1)))]
    first_axis = first_axis / np.linalg.norm(first_axis)
    second_axis = np.cross(up, first_axis)
    azimuths = np.arctan2(level @ second_axis, level @ first_axis)
    radius = float(np.median(np.linalg.norm(level, axis=1)))
    field_of_view_degrees = float(np.median([min(camera.field_of_view_degrees) for camera in cameras]))
    focal = focal_length_px(field_of_view_degrees, side_px)
    path = []
    for azimuth in _azimuths(azimuths, num_frames):
        position = centre + np.median(heights) * up
        position = position + radius * (np.cos(azimuth) * first_axis + np.sin(azimuth) * second_axis)
        pose = look_at(position, centre, up)
        path.append(Camera(side_px, side_px, focal, focal, side_px / 2, side_px / 2, pose))
    return path


def _azimuths(captured: Float[np.ndarray, " views"], num_frames: int) -> Float[np.ndarray, " frames"]:
    """Angles in radians: evenly around, or swinging over the captured arc when its gap is wide."""
    steps = 2 * np.pi * np.arange(num_frames) / num_frames
    ordered = np.sort(captured)
    gaps = np.diff(ordered, append=ordered[0] + 2 * np.pi)
    widest = int(np.argmax(gaps))
    if gaps[widest] <= np.radians(_WIDEST_GAP_DEGREES):
        return steps
    begin, arc = ordered[(widest + 1) % len(ordered)], 2 * np.pi - gaps[widest]
    return begin + arc * (0.5 - 0.5 * np.cos(steps))
