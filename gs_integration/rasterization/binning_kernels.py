"""Numba kernels: which splats touch which tile, front to back.

A pair is a splat in a tile. Pairs are numbered splat by splat, so that a splat's pairs lie side by side and their
gradients are summed in one order whatever the threads; tiles list pairs in the order of depth.
"""

import numba
import numpy as np

from gs_integration.rasterization.blending_kernels import (
    PLACES_AHEAD,
    RADIUS_X,
    RADIUS_Y,
    TILE_HEIGHT,
    TILE_WIDTH,
    U,
    V,
)
from gs_integration.rasterization.float_vectors import prefetch
from gs_integration.rasterization.projection_kernels import INVISIBLE

# Compiled with sources a53a2bf132ce (see test_kernel_sources.py)
_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}


@numba.njit(**_OPTIONS, forceinline=True)
def _tile_rectangle(projected, index, width, height):
    """First tile and the one after the last, across and down, of the pixel centres in a splat's bounding box."""
    u, v = projected[index, U] - np.float32(0.5), projected[index, V] - np.float32(0.5)
    radius_x, radius_y = projected[index, RADIUS_X], projected[index, RADIUS_Y]
    left = int(max(np.float32(0), np.ceil(u - radius_x)))
    right = int(min(np.float32(width - 1), np.floor(u + radius_x)))
    top = int(max(np.float32(0), np.ceil(v - radius_y)))
    bottom = int(min(np.float32(height - 1), np.floor(v + radius_y)))
    return left // TILE_WIDTH, right // TILE_WIDTH + 1, top // TILE_HEIGHT, bottom // TILE_HEIGHT + 1


@numba.njit(**_OPTIONS)
def count_pairs(projected, keys, width, height, pair_starts, tile_starts):
    """Number pairs and count each tile's.

    Args:
        projected: [N, 12].
        keys: [N] from `project`.
        width: of the picture.
        height: of the picture.
        pair_starts: [N + 1] zeros; filled with the first pair of every splat.
        tile_starts: [tiles + 1] zeros; filled with the first place of every tile in the list of pairs.
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    for index in range(len(keys)):
        if keys[index] == INVISIBLE:
            continue
        left, right, top, bottom = _tile_rectangle(projected, index, width, height)
        pair_starts[index + 1] = (right - left) * (bottom - top)
        for down in range(top, bottom):
            for tile in range(down * across + left, down * across + right):
                tile_starts[tile + 1] += 1
    for index in range(len(pair_starts) - 1):
        pair_starts[index + 1] += pair_starts[index]
    for tile in range(len(tile_starts) - 1):
        tile_starts[tile + 1] += tile_starts[tile]


@numba.njit(**_OPTIONS)
def fill_tiles(projected, ranked, width, height, pair_starts, tile_starts, tile_splats, tile_pairs):
    """Append every splat, front to back, to the lists of its tiles.

    Args:
        projected: [N, 12].
        ranked: [visible] rows of `projected` that touch the picture, front to back.
        width: of the picture.
        height: of the picture.
        pair_starts: [N + 1] from `count_pairs`.
        tile_starts: [tiles + 1] from `count_pairs`.
        tile_splats: [pairs]; filled with rows of `projected`.
        tile_pairs: [pairs]; filled with numbers of pairs.
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    ends = tile_starts[:-1].copy()
    last = len(ranked) - 1
    for rank in range(len(ranked)):
        prefetch(projected, ranked[min(rank + PLACES_AHEAD, last)])
        index = ranked[rank]
        left, right, top, bottom = _tile_rectangle(projected, index, width, height)
        pair = pair_starts[index]
        for down in range(top, bottom):
            for tile in range(down * across + left, down * across + right):
                place = ends[tile]
                ends[tile] = place + 1
                tile_splats[place] = index
                tile_pairs[place] = pair
                pair += 1
