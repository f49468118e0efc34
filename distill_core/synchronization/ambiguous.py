"""Pictures that show something else when they are turned, flipped, negated, or cut up and put together again.

Every view is an orthogonal map, a permutation of pixels and a sign: noise stays standard normal noise, and the map
commutes with scaling a clean picture and adding noise to it (Geng et al., Visual Anagrams, CVPR 2024). Turns are whole
quarters, since others do not permute pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from distill_core.synchronization.ambiguous_names import AmbiguousView
from distill_core.synchronization.pixel_copies import PixelCopies

# A piece's knob: its radius, and how far its centre lies beyond the edge, in sides of a piece.
_KNOB_RADIUS, _KNOB_REACH = 0.16, 0.1
_PIECES = 4
_PATCHES = 4
_DISC_RADIUS = 0.38


def ambiguous_views(channels: int, side: int, views: Sequence[AmbiguousView], *, seed: int = 0) -> PixelCopies:
    """Return views of one square picture.

    Args:
        channels: C.
        side: of the picture in pixels; a multiple of 4 for patches, jigsaw and hinge.
        views: one name a view; `identity` is the picture itself.
        seed: of the permutations of pixels and patches, and of the cut of the jigsaw.

    Raises:
        ValueError: no view, or a side that cannot be cut.
    """
    if not views:
        raise ValueError("expected at least one view, got none")
    order = np.stack([_order(view, side, seed).ravel() for view in views])
    # Orthogonality: each view takes every pixel once.
    if not np.array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(side * side), order.shape)):
        raise AssertionError("a view of an ambiguous picture is no permutation of its pixels")
    signs = torch.tensor([-1.0 if view == "negate" else 1.0 for view in views])
    shape = (channels, side, side)
    return PixelCopies(shape, shape, torch.from_numpy(order.copy()), signs=signs)


def _order(view: AmbiguousView, side: int, seed: int) -> np.ndarray:
    """[side, side] which pixel of the picture each pixel of the view shows."""
    pixels = np.arange(side * side).reshape(side, side)
    generator = np.random.default_rng(seed)
    match view:
        case "identity" | "negate":
            return pixels
        case "flip":
            return pixels[::-1]
        case "mirror":
            return pixels[:, ::-1]
        case "rotate-90" | "rotate-180" | "rotate-270":
            return np.rot90(pixels, int(view.removeprefix("rotate-")) // 90)
        case "skew":
            return _skewed(pixels)
        case "pixels":
            return generator.permutation(side * side).reshape(side, side)
        case "patches":
            return _each_patch(pixels, generator.permutation(_PATCHES**2), lambda patch, row, column: patch)
        case "hinge":
            # Neighbouring squares turn about the corner at which they hang together: one to the left, one to the right.
            squares = np.arange(_PATCHES**2)
            return _each_patch(
                pixels, squares, lambda patch, row, column: np.rot90(patch, 1 - 2 * ((row + column) % 2))
            )
        case "jigsaw":
            turns = np.concatenate([[0], generator.integers(1, 4, _PIECES**2 // 4 - 1)])
            return _turned_where(pixels, turns[jigsaw_orbits(side, seed)])
        case "inner-circle":
            rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
            return _turned_where(pixels, np.where(np.hypot(rows, columns) <= _DISC_RADIUS * side, 1, 0))


def _skewed(pixels: np.ndarray) -> np.ndarray:
    """Every column pushed down by as many pixels as it lies right of the middle, around the edge."""
    side = len(pixels)
    rows, columns = np.indices(pixels.shape)
    return pixels[(rows - (columns - side // 2)) % side, columns]


def _each_patch(
    pixels: np.ndarray, order: np.ndarray, turn: Callable[[np.ndarray, int, int], np.ndarray]
) -> np.ndarray:
    """A grid of patches in another order, each perhaps turned."""
    patch_side = _part_of(len(pixels), _PATCHES)
    grid = pixels.reshape(_PATCHES, patch_side, _PATCHES, patch_side).swapaxes(1, 2)
    patches = grid.reshape(_PATCHES**2, patch_side, patch_side)[order]
    turned = np.stack([turn(patch, place // _PATCHES, place % _PATCHES) for place, patch in enumerate(patches)])
    return turned.reshape(grid.shape).swapaxes(1, 2).reshape(pixels.shape)


def _turned_where(pixels: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Each pixel from where `turns` quarters about the middle bring it; `turns` must be the same a quarter further."""
    return np.choose(turns, [np.rot90(pixels, quarters) for quarters in range(4)])


def jigsaw_orbits(side: int, seed: int) -> np.ndarray:
    """Return which orbit of jigsaw pieces each pixel belongs to, int [side, side].

    The 4 x 4 pieces have round knobs and holes, and the cut is the same after a quarter turn. So the four pieces that
    a quarter turn takes into one another have one shape; they are an orbit, and a jigsaw is put together anew by
    turning each orbit about the middle of the picture by quarters of its own.

    Args:
        side: of the picture in pixels, a multiple of 4.
        seed: decides on which side of each edge the knob is.
    """
    piece = _part_of(side, _PIECES)
    rows, columns = np.indices((side, side))
    # Pieces of one orbit bear the number that their turned copy in the upper left quarter has.
    quarter = np.arange((_PIECES // 2) ** 2).reshape(_PIECES // 2, -1)
    cells = np.block([[quarter, np.rot90(quarter, -1)], [np.rot90(quarter, 1), np.rot90(quarter, 2)]])
    orbits = cells[rows // piece, columns // piece]
    cut = orbits.copy()
    generator = np.random.default_rng(seed)
    # Edges of the upper left quarter and those to its right neighbour; turning gives all others.
    for row, column in np.ndindex(quarter.shape):
        for down, right in ((0, 1), (1, 0)):
            if row + down == len(quarter):
                continue
            sign = 1 if generator.random() < 0.5 else -1
            owner = (row, column) if sign > 0 else (row + down, column + right)
            middle_row = (row + 0.5 + down * (0.5 + sign * _KNOB_REACH)) * piece - 0.5
            middle_column = (column + 0.5 + right * (0.5 + sign * _KNOB_REACH)) * piece - 0.5
            knob = np.hypot(rows - middle_row, columns - middle_column) <= _KNOB_RADIUS * piece
            for quarters in range(4):
                cut[np.rot90(knob, quarters)] = cells[owner]
    return cut


def _part_of(side: int, parts: int) -> int:
    if side % parts:
        raise ValueError(f"expected a side that is a multiple of {parts} pixels, got {side}")
    return side // parts
