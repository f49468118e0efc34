"""A person's picture framed as the training views are: the object in the middle, as large as it is there.

Training views look at the middle of an object whose bounding sphere touches the picture's edges, so a silhouette never
reaches farther than half the picture's side from its middle, and mostly fills somewhat less than the frame.
"""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import resize_premultiplied
from distill_core.pictures.mask_parts import main_parts

logger = logging.getLogger(__name__)

_SMALLEST_OBJECT_PX = 8
# Dust beside the object, left by whoever cut it out, does not count for its extent.
_SMALLEST_PART_OF_LARGEST = 0.005


@dataclass(frozen=True)
class FramedPicture:
    """A square cut-out of a picture, which may reach beyond it.

    Attributes:
        rgba: the cut-out, straight RGBA in 0..1; transparent where it lies outside the picture.
        left_px: its left edge in pixels of the picture it was cut from; may be negative.
        top_px: its top edge.
        side_px: its side.
        source_width: size of the picture it was cut from, in pixels.
        source_height: as source_width.
        cut_off_at: edges of the picture at which the object seems to go on: of "left", "top", "right", "bottom".
    """

    rgba: Float[np.ndarray, "4 resolution resolution"]
    left_px: int
    top_px: int
    side_px: int
    source_width: int
    source_height: int
    cut_off_at: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """Pixels of the cut-out to a pixel of the source."""
        return self.rgba.shape[2] / self.side_px

    def source_camera(self, framed_camera: Camera) -> Camera:
        """Return the camera of the whole picture, given the camera of the cut-out.

        Args:
            framed_camera: a camera of any square size for the cut-out.
        """
        of_window = framed_camera.resized(self.side_px, self.side_px)
        return of_window.cropped(-self.left_px, -self.top_px, self.source_width, self.source_height)


def frame_object(
    rgba: Float[np.ndarray, "4 height width"], *, resolution: int = 128, fill: float = 0.83
) -> FramedPicture:
    """Cut out a square with the object in the middle, and bring it to a size.

    Args:
        rgba: straight RGBA; the object is where alpha is high.
        resolution: side of the result in pixels.
        fill: share of the side that the larger side of the object's bounding box takes, unless its corners would then
            reach farther from the middle than half the side.

    Returns:
        The cut-out and where it was; edges lie on whole pixels of the source.

    Raises:
        UserError: nothing is visible, or the object is too small.
    """
    height, width = rgba.shape[1:]
    object_mask = _visible_object(rgba[3])
    rows, columns = np.flatnonzero(object_mask.any(axis=1)), np.flatnonzero(object_mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    larger_side = max(right - left, bottom - top)
    if larger_side < _SMALLEST_OBJECT_PX:
        raise UserError(
            f"Expected an object of at least {_SMALLEST_OBJECT_PX} pixels, got one of {right - left} x {bottom - top} "
            f"in a picture of {width} x {height}; crop the picture closer or give a larger one."
        )
    centre_x, centre_y = (left + right) / 2, (top + bottom) / 2
    side = round(max(larger_side / fill, 2 * _farthest_px(object_mask, centre_x, centre_y)))
    window_left, window_top = round(centre_x - side / 2), round(centre_y - side / 2)
    window = square_window(rgba, window_left, window_top, side)
    cut_off_at = _edges_reached(object_mask)
    if cut_off_at:
        logger.warning(
            "The object touches the picture's edge (%s): what lies beyond is unknown.", ", ".join(cut_off_at)
        )
    framed = resize_premultiplied(window, resolution, resolution)
    return FramedPicture(framed, window_left, window_top, side, width, height, cut_off_at)


def _visible_object(alpha: Float[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Where the object is more than half visible, without specks."""
    if not alpha.max() > 0:
        raise UserError("Expected a picture of an object, got one that is fully transparent; give one with an object.")
    return main_parts(alpha >= 0.5 * alpha.max(), _SMALLEST_PART_OF_LARGEST)


def _farthest_px(object_mask: Bool[np.ndarray, "height width"], centre_x: float, centre_y: float) -> float:
    """Distance from a point to the farthest edge of a pixel of the object."""
    rows = np.flatnonzero(object_mask.any(axis=1))
    first = object_mask[rows].argmax(axis=1)
    last = object_mask.shape[1] - object_mask[rows, ::-1].argmax(axis=1)
    across = np.maximum(np.abs(first - centre_x), np.abs(last - centre_x))
    along = np.maximum(np.abs(rows - centre_y), np.abs(rows + 1 - centre_y))
    return float(np.hypot(across, along).max())


def square_window(
    rgba: Float[np.ndarray, "4 height width"], left: int, top: int, side: int
) -> Float[np.ndarray, "4 side side"]:
    """A square of a picture, which may lie partly outside; transparent there.

    Args:
        rgba: straight RGBA.
        left: left edge of the square in pixels, perhaps negative.
        top: its top edge.
        side: its side.
    """
    window = np.zeros((4, side, side), np.float32)
    height, width = rgba.shape[1:]
    y0, y1, x0, x1 = max(top, 0), min(top + side, height), max(left, 0), min(left + side, width)
    window[:, y0 - top : y1 - top, x0 - left : x1 - left] = rgba[:, y0:y1, x0:x1]
    return window


def _edges_reached(object_mask: Bool[np.ndarray, "height width"]) -> tuple[str, ...]:
    """The picture's edges that the object touches along more than 2 % of its own extent."""
    extent = max(np.count_nonzero(object_mask.any(axis=0)), np.count_nonzero(object_mask.any(axis=1)))
    edges = {
        "left": object_mask[:, 0],
        "top": object_mask[0],
        "right": object_mask[:, -1],
        "bottom": object_mask[-1],
    }
    return tuple(name for name, edge in edges.items() if np.count_nonzero(edge) > 0.02 * extent)
