"""The view of a camera out of that of another camera in the same place.

Cameras that share their centre see along the same rays, so one picture is the other after a homography (Hartley and
Zisserman, Multiple View Geometry, section 8.4.2), whatever the scene.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from distill_core.cameras import Camera, orbit_angles, orbit_camera
from distill_core.errors import UserError
from distill_core.pictures.images import premultiply, unpremultiply

_SAME_PLACE = 1e-6
_NEAREST = 1.05
"""Closer to the middle of the unit ball than this, a camera sees no outline of it."""
_MOST_SAMPLES = 8


def ball_camera(camera: Camera, side_px: int) -> Camera:
    """Return the upright camera in the same place whose square picture the unit ball just fills.

    Args:
        camera: outside the ball; where it looks and how it is turned does not matter.
        side_px: of the picture.

    Raises:
        UserError: the camera is in the ball or at its surface.
    """
    azimuth, elevation, distance = orbit_angles(camera.position)
    if distance < _NEAREST:
        raise UserError(
            f"Expected a camera at least {_NEAREST:g} from the middle of the object, whose farthest point is at 1, got "
            f"one at {distance:.3g}; move it away from the object."
        )
    field_of_view = 2 * math.degrees(math.asin(1 / distance))
    return orbit_camera(
        azimuth, elevation, field_of_view_degrees=field_of_view, width=side_px, height=side_px, distance=distance
    )


def turned_view(
    rgba: Float[np.ndarray, "4 height width"], camera: Camera, target: Camera
) -> Float[np.ndarray, "4 target_height target_width"]:
    """Return what another camera in the same place sees.

    Bilinear between pixels; where the target's pixels are larger, they are means over several points.

    Args:
        rgba: straight RGBA, of `camera`.
        camera: that took it.
        target: a camera in the same place, with any lens and turned in any way.

    Returns:
        Straight RGBA, transparent where the first picture does not reach.

    Raises:
        ValueError: the cameras stand in different places.
    """
    if np.abs(camera.position - target.position).max() > _SAME_PLACE * max(1.0, float(np.abs(camera.position).max())):
        raise ValueError("expected cameras in the same place")
    samples = min(_MOST_SAMPLES, max(1, math.ceil(camera.fx / target.fx)))
    fine = target.resized(target.width * samples, target.height * samples)
    columns, rows = np.meshgrid(np.arange(fine.width) + 0.5, np.arange(fine.height) + 0.5)
    pixels = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
    target_to_source = camera.intrinsics @ camera.world_to_camera[:3, :3] @ target.camera_to_world[:3, :3]
    x, y, depth = target_to_source @ np.linalg.inv(fine.intrinsics) @ pixels
    ahead = depth > 0
    # What lies behind the camera is sent to a place outside of the picture.
    safe = np.where(ahead, depth, 1.0)
    places = np.stack([np.where(ahead, y / safe, -10.0) - 0.5, np.where(ahead, x / safe, -10.0) - 0.5])
    seen = [map_coordinates(channel, places, order=1, mode="grid-constant") for channel in premultiply(rgba)]
    blocks = np.stack(seen).reshape(4, target.height, samples, target.width, samples)
    return unpremultiply(blocks.mean(axis=(2, 4), dtype=np.float64).astype(np.float32))
