"""A view of a record cut to the square in which the unit ball just fits, as training views show an object."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.framing import square_window
from distill_core.pictures.images import resize_premultiplied
from distill_core.records.multi_view_record import RecordView

# What the ball's outline may miss the edge of a pixel by where a picture is framed so already.
_ROUNDING_PX = 1e-6
_LARGEST_SIDE_PX = 32_768


@dataclass(frozen=True)
class FramedView:
    """A view at the resolution of a network.

    Attributes:
        camera: of the cut-out.
        rgba: straight RGBA in 0..1, transparent beyond the picture's edge.
        is_seen: False beyond the picture's edge, where nothing is known.
        depth: z-depth in world units, 0 where empty or unknown.
        normals: unit, world space, 0 where empty or unknown.
    """

    camera: Camera
    rgba: Float[np.ndarray, "4 resolution resolution"]
    is_seen: Bool[np.ndarray, "resolution resolution"]
    depth: Float[np.ndarray, "resolution resolution"] | None
    normals: Float[np.ndarray, "3 resolution resolution"] | None


def framed_view(view: RecordView, resolution: int) -> FramedView:
    """Cut a view to the square around the unit ball and bring it to a size.

    Colours are means over areas; depth and normals are those at the centres of the new pixels.

    Args:
        view: of a record whose object is in the unit ball.
        resolution: side of the result in pixels.

    Raises:
        UserError: the camera is in the ball, or it is nowhere near the picture.
    """
    left, top, side = _ball_square(view)
    camera = view.camera.cropped(left, top, side, side).resized(resolution, resolution)
    columns = left + (np.arange(resolution) + 0.5) * side / resolution
    rows = top + (np.arange(resolution) + 0.5) * side / resolution
    height, width = view.rgba.shape[1:]
    is_seen = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    if not is_seen.any():
        raise UserError(f"{view.name}: expected the object in the picture, got one beside it; leave the record out.")

    def at_centres(values: Float[np.ndarray, "*channels rows columns"]) -> Float[np.ndarray, "*channels r r"]:
        along_y, along_x = values.shape[-2] / height, values.shape[-1] / width
        row = np.clip(np.floor(rows * along_y).astype(int), 0, values.shape[-2] - 1)
        column = np.clip(np.floor(columns * along_x).astype(int), 0, values.shape[-1] - 1)
        return np.where(is_seen, values[..., row[:, None], column], 0).astype(np.float32)

    return FramedView(
        camera,
        resize_premultiplied(square_window(view.rgba, left, top, side), resolution, resolution),
        is_seen,
        None if view.depth is None else at_centres(view.depth),
        None if view.normals is None else at_centres(view.normals),
    )


def _ball_square(view: RecordView) -> tuple[int, int, int]:
    """Left and top edge and side, in whole pixels, of the square that holds the outline of the unit ball."""
    camera = view.camera
    x, y, z = camera.world_to_camera[:3, 3]
    if z <= 1:
        raise UserError(
            f"{view.name}: expected a camera outside the unit ball that looks at it, got its centre at a depth of "
            f"{z:.3g}; the record is not normalised: import it with masks."
        )
    ends = []
    for across, focal, centre in ((x, camera.fx, camera.cx), (y, camera.fy, camera.cy)):
        # Planes through the camera and one axis of the picture that touch the ball.
        reach = math.sqrt(across**2 + z**2 - 1)
        ends.append([centre + focal * (across * z + sign * reach) / (z**2 - 1) for sign in (-1, 1)])
    (x0, x1), (y0, y1) = ends
    side = math.ceil(max(x1 - x0, y1 - y0) - _ROUNDING_PX)
    if not 1 <= side <= _LARGEST_SIDE_PX:
        raise UserError(f"{view.name}: expected an object of a size to be seen, got one {side} pixels wide.")
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side
