"""Rectangles side by side in a square, at the largest scale at which they fit."""

import numpy as np
from jaxtyping import Float64

from distill_core.errors import UserError

_HALVINGS = 24


def pack_rectangles(
    sizes: Float64[np.ndarray, "charts 2"], side_texels: int, padding_texels: int
) -> tuple[Float64[np.ndarray, "charts 2"], float]:
    """Lay rectangles on shelves, the highest first (next fit with decreasing height, Coffman et al. 1980).

    Args:
        sizes: width and height, in any unit.
        side_texels: side of the square.
        padding_texels: free texels around each rectangle.

    Returns:
        The lower left corners in texels, and the texels a unit of `sizes`.

    Raises:
        UserError: more rectangles than the square has room for, however small.
    """
    order = np.argsort(-sizes[:, 1], kind="stable")
    ordered = sizes[order]
    low, high = 0.0, side_texels / max(float(np.sqrt(sizes.prod(axis=1).sum())), float(sizes.max()), 1e-300)
    best = None
    # The largest scale that the area allows, then halving.
    for scale in [high] + [None] * _HALVINGS:
        scale = (low + high) / 2 if scale is None else scale
        placed = _shelves(ordered * scale, side_texels, padding_texels)
        if placed is None:
            high = scale
        else:
            low, best = scale, placed
            if low == high:
                break
    if best is None:
        raise UserError(
            f"Expected a surface of as many charts as a texture of {side_texels} x {side_texels} holds, got "
            f"{len(sizes):,}; choose a larger texture."
        )
    places = np.zeros_like(ordered)
    places[order] = best
    return places, low


def _shelves(sizes: np.ndarray, side: int, padding: int) -> np.ndarray | None:
    """Lower left corners of rectangles that are sorted by height, or None if they do not fit."""
    # Gaps are shared by neighbours; the square's own edge needs half of one.
    widths, heights = (sizes + padding).T
    if widths.max() > side or float((widths * heights).sum()) > side * side:
        return None
    right = np.cumsum(widths)
    places = np.zeros_like(sizes)
    start, bottom = 0, 0.0
    while start < len(sizes):
        used = right[start - 1] if start else 0.0
        end = int(np.searchsorted(right, used + side, side="right"))
        end = max(end, start + 1)
        if bottom + heights[start] > side:
            return None
        places[start:end, 0] = right[start:end] - widths[start:end] - used
        places[start:end, 1] = bottom
        bottom += heights[start]
        start = end
    return places + padding / 2
