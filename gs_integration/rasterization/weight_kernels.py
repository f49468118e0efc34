"""Numba kernels: how much of each splat every pixel shows, listed instead of summed.

Letters as in `blending_kernels`: u, v mean in pixels; q, r the exponent's squares; T transmittance. The rules are the
same, one pixel at a time: alpha capped and cut, a pixel closed before the splat that would close it.
"""

import math

import numba
import numpy as np

from gs_integration.rasterization.blending_kernels import (
    L1,
    L2,
    L3,
    LOG2_OPACITY,
    RADIUS_X,
    RADIUS_Y,
    TILE_HEIGHT,
    TILE_WIDTH,
    U,
    V,
)
from gs_integration.rasterization.constants import HIGHEST_ALPHA, LOWEST_ALPHA, LOWEST_TRANSMITTANCE

# Compiled with sources e69f5e7c2f6e (see test_kernel_sources.py)
_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}
_LOG2_LOWEST = np.float32(math.log2(LOWEST_ALPHA))


@numba.njit(**_OPTIONS, forceinline=True)
def _alpha(projected, index, column, row):
    """Alpha of a splat at the centre of a pixel, 0 where it is cut."""
    dx = np.float32(column) + np.float32(0.5) - projected[index, U]
    dy = np.float32(row) + np.float32(0.5) - projected[index, V]
    if abs(dx) > projected[index, RADIUS_X] or abs(dy) > projected[index, RADIUS_Y]:
        return np.float32(0)
    q = projected[index, L1] * dx + projected[index, L2] * dy
    r = projected[index, L3] * dy
    power = projected[index, LOG2_OPACITY] - q * q - r * r
    if power < _LOG2_LOWEST:
        return np.float32(0)
    return min(np.float32(2) ** power, np.float32(HIGHEST_ALPHA))


@numba.njit(**_OPTIONS, parallel=True)
def count_weights(projected, tile_starts, tile_splats, width, height, counts):
    """Count the splats that every pixel shows.

    Args:
        projected: [N, 12].
        tile_starts: [tiles + 1], into the list.
        tile_splats: [pairs] rows of `projected`, front to back.
        width: of the picture.
        height: of the picture.
        counts: [H W] filled, pixels in rows.
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    for tile in numba.prange(len(tile_starts) - 1):
        left, top = (tile % across) * TILE_WIDTH, (tile // across) * TILE_HEIGHT
        for row in range(top, min(top + TILE_HEIGHT, height)):
            for column in range(left, min(left + TILE_WIDTH, width)):
                transmittance = np.float32(1)
                count = 0
                for place in range(tile_starts[tile], tile_starts[tile + 1]):
                    alpha = _alpha(projected, tile_splats[place], column, row)
                    if alpha > np.float32(0):
                        after = transmittance - transmittance * alpha
                        if after <= np.float32(LOWEST_TRANSMITTANCE):
                            break
                        transmittance = after
                        count += 1
                counts[row * width + column] = count


@numba.njit(**_OPTIONS, parallel=True)
def fill_weights(projected, tile_starts, tile_splats, width, height, starts, splats, weights):
    """List the splats that every pixel shows, front to back, and how much of each.

    Args:
        projected: [N, 12].
        tile_starts: [tiles + 1], into the list.
        tile_splats: [pairs] rows of `projected`, front to back.
        width: of the picture.
        height: of the picture.
        starts: [H W + 1] running sum of what `count_weights` counted.
        splats: [entries] filled with rows of `projected`.
        weights: [entries] filled with T alpha.
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    for tile in numba.prange(len(tile_starts) - 1):
        left, top = (tile % across) * TILE_WIDTH, (tile // across) * TILE_HEIGHT
        for row in range(top, min(top + TILE_HEIGHT, height)):
            for column in range(left, min(left + TILE_WIDTH, width)):
                transmittance = np.float32(1)
                entry = starts[row * width + column]
                for place in range(tile_starts[tile], tile_starts[tile + 1]):
                    if entry == starts[row * width + column + 1]:
                        break
                    alpha = _alpha(projected, tile_splats[place], column, row)
                    if alpha > np.float32(0):
                        splats[entry] = tile_splats[place]
                        weights[entry] = transmittance * alpha
                        transmittance -= transmittance * alpha
                        entry += 1
