"""From where views look at an object: words for prompts, and which of the views are neighbours."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from distill_core.cameras import Camera, orbit_camera

_LOOKED_AT = 4
"""Views that a view looks at: itself, the one nearest to the front, and two neighbours, as on a ring."""
_STEEP_DEGREES = 60.0
_FRONT_DEGREES, _BACK_DEGREES = 45.0, 135.0


def view_words(camera: Camera, front_azimuth_degrees: float) -> str:
    """Return front view, side view, back view, top view or bottom view.

    Top and bottom begin 60 degrees from the horizon; else front and back are a quarter of the circle each.

    Args:
        camera: looks at the origin.
        front_azimuth_degrees: azimuth of a camera that sees the object's front.
    """
    x, y, z = _direction(camera)
    elevation = np.degrees(np.arcsin(np.clip(z, -1, 1)))
    if abs(elevation) > _STEEP_DEGREES:
        return "top view" if elevation > 0 else "bottom view"
    azimuth = np.degrees(np.arctan2(x, -y)) - front_azimuth_degrees
    turned = abs((azimuth + 180) % 360 - 180)
    if turned <= _FRONT_DEGREES:
        return "front view"
    return "back view" if turned >= _BACK_DEGREES else "side view"


def neighbouring_views(cameras: Sequence[Camera], front_azimuth_degrees: float) -> Int[Tensor, "views looked_at"]:
    """Return which views each view looks at: itself, the one nearest to the front, and the nearest of the others.

    On a ring these are its neighbours to the left and to the right. The relation depends on the cameras alone: cameras
    in another order have the same neighbours.

    Args:
        cameras: V, looking at the origin.
        front_azimuth_degrees: azimuth of a camera that sees the object's front.

    Returns:
        [V, min(V, 4)] indices, none twice in a row.
    """
    directions = np.stack([_direction(camera) for camera in cameras])
    front = int(np.argmax(directions @ _direction(orbit_camera(front_azimuth_degrees, 0.0))))
    rows = []
    for view, nearness in enumerate(directions @ directions.T):
        # Rounded, so that neighbours on both sides are equally near; then the order is that of the cameras.
        order = np.lexsort((np.arange(len(cameras)), -nearness.round(9))).tolist()
        first = [view] if view == front else [view, front]
        rows.append([*first, *(other for other in order if other not in first)][:_LOOKED_AT])
    return torch.tensor(rows, dtype=torch.long)


def _direction(camera: Camera) -> np.ndarray:
    """Unit vector from the origin to a camera."""
    return camera.position / np.linalg.norm(camera.position)
