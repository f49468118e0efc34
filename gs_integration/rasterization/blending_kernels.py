"""Numba kernels: projected splats blended front to back within tiles, and the gradients of that.

Letters of the whole file: u, v mean in pixels; dx, dy pixel minus mean; T transmittance; w weight T alpha; sigma the
exponent, sigma = (a dx^2 + c dy^2) / 2 + b dx dy. Powers of two are summed, not e: with h = log2(e) / 2,
log2(alpha) = log2(opacity) - q^2 - r^2, q = l1 dx + l2 dy, r = l3 dy, where l1, l2, l3 are the Cholesky factor of h
times the conic. A square cannot turn negative by rounding, as a needle's sigma would.

A pixel that is closed keeps its transmittance with a minus sign; so do the places of a tile outside the picture.
"""

import math

import numba
import numpy as np

from gs_integration.rasterization.constants import HIGHEST_ALPHA, LOWEST_ALPHA, LOWEST_TRANSMITTANCE
from gs_integration.rasterization.float_vectors import (
    LANES,
    exp2,
    fused,
    lane_numbers,
    lane_sum,
    load,
    minus_magnitude,
    prefetch,
    splat,
    store,
    where_greater,
)

# Compiled with sources d769d288c76b (see test_kernel_sources.py)
_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}

TILE_WIDTH = 32
TILE_HEIGHT = 16
_ROW = TILE_WIDTH + LANES
"""Columns of a tile's buffers: a window of lanes that begins in the tile may end beyond it."""

# Columns of a projected splat's row.
U, V, L1, L2, L3, LOG2_OPACITY, RED, GREEN, BLUE, DEPTH, RADIUS_X, RADIUS_Y = range(12)
PROJECTED_COLUMNS = 12

# Columns of a pair's row of gradients: sums over the tile's pixels of s = dL/dsigma times 1, q, r, q q, q r, r r, and
# of w dL/dcolour and w dL/d(depth sum). In q and r a splat is round, so that even a needle's sums do not cancel.
S, SQ, SR, SQQ, SQR, SRR, G_RED, G_GREEN, G_BLUE, G_DEPTH = range(10)
GRADIENT_COLUMNS = 10

_LOG2_LOWEST = np.float32(math.log2(LOWEST_ALPHA))
PLACES_AHEAD = 8
"""Splats lie anywhere in memory: their rows are asked for so many places before their turn."""

_PIECES_BETWEEN_LOOKS = 16
"""So many splats are blended before looking whether a tile's pixels are all closed."""


@numba.njit(**_OPTIONS, forceinline=True)
def _row_range(projected, index, tile_y):
    """First row and the one after the last of a splat's bounding box in the tile."""
    v, radius = projected[index, V] - np.float32(tile_y) - np.float32(0.5), projected[index, RADIUS_Y]
    first = max(np.float32(0), np.ceil(v - radius))
    last = min(np.float32(TILE_HEIGHT - 1), np.floor(v + radius))
    return int(first), int(last) + 1


@numba.njit(**_OPTIONS, forceinline=True)
def _column_range(projected, index, tile_x):
    """First column and the one after the last of a splat's bounding box in the tile."""
    u, radius = projected[index, U] - np.float32(tile_x) - np.float32(0.5), projected[index, RADIUS_X]
    first = max(np.float32(0), np.ceil(u - radius))
    last = min(np.float32(TILE_WIDTH - 1), np.floor(u + radius))
    return int(first), int(last) + 1


@numba.njit(**_OPTIONS, forceinline=True)
def _row_columns(row_power, l1, l2, dy, start_dx, first_column, end_column):
    """The part of a bounding box's columns that one row of the ellipse reaches, if that can spare a window."""
    if end_column - first_column <= 2 * LANES:
        return first_column, end_column
    room = row_power - _LOG2_LOWEST
    if room <= np.float32(0):
        return first_column, first_column
    # |l1 dx + l2 dy| <= sqrt(room), with a little slack for rounding.
    per_l1 = np.float32(1) / l1
    half = np.sqrt(room) * per_l1 + np.float32(0.01)
    centre = -l2 * dy * per_l1 - start_dx
    first = max(np.float32(0), np.ceil(centre - half))
    last = min(np.float32(end_column - first_column - 1), np.floor(centre + half))
    return first_column + int(first), first_column + int(last) + 1


@numba.njit(**_OPTIONS, parallel=True)
def blend(projected, tile_starts, tile_splats, width, height, colour, transmittance, depth_sum):
    """Blend every tile's splats.

    Fills colour [3, H, W] (no background), transmittance [H, W] and depth_sum [H, W].
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    for tile in numba.prange(len(tile_starts) - 1):
        tile_x, tile_y = (tile % across) * TILE_WIDTH, (tile // across) * TILE_HEIGHT
        columns, rows = min(TILE_WIDTH, width - tile_x), min(TILE_HEIGHT, height - tile_y)
        # Channels: T, red, green, blue, depth.
        state = np.zeros((5, TILE_HEIGHT, _ROW), np.float32)
        state[0] = np.float32(-1)
        state[0, :rows, :columns] = np.float32(1)
        last = tile_starts[tile + 1] - 1
        for place in range(tile_starts[tile], tile_starts[tile + 1]):
            if (place - tile_starts[tile]) % _PIECES_BETWEEN_LOOKS == 0 and not _any_open(state):
                break
            prefetch(projected, tile_splats[min(place + PLACES_AHEAD, last)])
            _blend_splat(projected, tile_splats[place], tile_x, tile_y, state)
        for row in range(rows):
            for column in range(columns):
                transmittance[tile_y + row, tile_x + column] = abs(state[0, row, column])
                depth_sum[tile_y + row, tile_x + column] = state[4, row, column]
                for channel in range(3):
                    colour[channel, tile_y + row, tile_x + column] = state[1 + channel, row, column]


@numba.njit(**_OPTIONS, forceinline=True)
def _any_open(state):
    zero = splat(np.float32(0))
    highest = zero
    for row in range(TILE_HEIGHT):
        for column in range(0, TILE_WIDTH, LANES):
            transmittance = load(state, 0, row, column)
            highest = where_greater(transmittance, highest, transmittance, highest)
    return lane_sum(highest) > np.float32(0)


@numba.njit(**_OPTIONS, forceinline=True)
def _blend_splat(projected, index, tile_x, tile_y, state):
    first_row, end_row = _row_range(projected, index, tile_y)
    first_column, end_column = _column_range(projected, index, tile_x)
    l1, l2, l3 = projected[index, L1], projected[index, L2], projected[index, L3]
    start_dx = np.float32(tile_x + first_column) + np.float32(0.5) - projected[index, U]
    start_dy = np.float32(tile_y + first_row) + np.float32(0.5) - projected[index, V]
    red, green, blue = splat(projected[index, RED]), splat(projected[index, GREEN]), splat(projected[index, BLUE])
    depth = splat(projected[index, DEPTH])
    zero = splat(np.float32(0))
    lowest, highest = splat(_LOG2_LOWEST), splat(np.float32(HIGHEST_ALPHA))
    closing = splat(np.float32(LOWEST_TRANSMITTANCE))
    slope = lane_numbers() * splat(l1)
    for row in range(first_row, end_row):
        dy = start_dy + np.float32(row - first_row)
        row_power = projected[index, LOG2_OPACITY] - (l3 * dy) * (l3 * dy)
        first, end = _row_columns(row_power, l1, l2, dy, start_dx, first_column, end_column)
        for column in range(first, end, LANES):
            q = slope + splat(l1 * (start_dx + np.float32(column - first_column)) + l2 * dy)
            power = splat(row_power) - q * q
            alpha = exp2(where_greater(power, lowest, power, lowest))
            alpha = where_greater(alpha, highest, highest, alpha)
            alpha = where_greater(lowest, power, zero, alpha)
            before = load(state, 0, row, column)
            weight = before * alpha
            after = before - weight
            weight = where_greater(after, closing, weight, zero)
            store(state, 0, row, column, where_greater(after, closing, after, minus_magnitude(before)))
            store(state, 1, row, column, fused(weight, red, load(state, 1, row, column)))
            store(state, 2, row, column, fused(weight, green, load(state, 2, row, column)))
            store(state, 3, row, column, fused(weight, blue, load(state, 3, row, column)))
            store(state, 4, row, column, fused(weight, depth, load(state, 4, row, column)))


@numba.njit(**_OPTIONS, parallel=True)
def blend_gradients(
    projected,
    tile_starts,
    tile_splats,
    tile_pairs,
    width,
    height,
    behind,
    colour_gradient,
    depth_gradient,
    pair_gradients,
):
    """Go through every tile front to back again and sum each splat's gradients over the tile's pixels.

    Args:
        projected: [N, 12].
        tile_starts: [tiles + 1], into the two lists.
        tile_splats: [pairs] rows of `projected`, front to back.
        tile_pairs: [pairs] rows of `pair_gradients`.
        width: of the picture.
        height: of the picture.
        behind: [H, W] what lies behind nothing: colour . dL/dcolour + depth sum dL/d(depth sum) - T dL/dalpha.
        colour_gradient: [3, H, W].
        depth_gradient: [H, W].
        pair_gradients: [pairs, 10], filled with zeros; every pair's row is written at most once.
    """
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    for tile in numba.prange(len(tile_starts) - 1):
        tile_x, tile_y = (tile % across) * TILE_WIDTH, (tile // across) * TILE_HEIGHT
        columns, rows = min(TILE_WIDTH, width - tile_x), min(TILE_HEIGHT, height - tile_y)
        # Channels: T, behind, gradients of red, green, blue, depth.
        state = np.zeros((6, TILE_HEIGHT, _ROW), np.float32)
        state[0] = np.float32(-1)
        for row in range(rows):
            for column in range(columns):
                state[0, row, column] = np.float32(1)
                state[1, row, column] = behind[tile_y + row, tile_x + column]
                state[5, row, column] = depth_gradient[tile_y + row, tile_x + column]
                for channel in range(3):
                    state[2 + channel, row, column] = colour_gradient[channel, tile_y + row, tile_x + column]
        last = tile_starts[tile + 1] - 1
        for place in range(tile_starts[tile], tile_starts[tile + 1]):
            if (place - tile_starts[tile]) % _PIECES_BETWEEN_LOOKS == 0 and not _any_open(state):
                break
            prefetch(projected, tile_splats[min(place + PLACES_AHEAD, last)])
            prefetch(pair_gradients, tile_pairs[min(place + PLACES_AHEAD, last)])
            _splat_gradients(projected, tile_splats[place], tile_x, tile_y, state, pair_gradients, tile_pairs[place])


@numba.njit(**_OPTIONS, forceinline=True)
def _splat_gradients(projected, index, tile_x, tile_y, state, pair_gradients, pair):
    first_row, end_row = _row_range(projected, index, tile_y)
    first_column, end_column = _column_range(projected, index, tile_x)
    l1, l2, l3 = projected[index, L1], projected[index, L2], projected[index, L3]
    start_dx = np.float32(tile_x + first_column) + np.float32(0.5) - projected[index, U]
    start_dy = np.float32(tile_y + first_row) + np.float32(0.5) - projected[index, V]
    red, green, blue = splat(projected[index, RED]), splat(projected[index, GREEN]), splat(projected[index, BLUE])
    depth = splat(projected[index, DEPTH])
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    lowest, highest = splat(_LOG2_LOWEST), splat(np.float32(HIGHEST_ALPHA))
    closing = splat(np.float32(LOWEST_TRANSMITTANCE))
    slope = lane_numbers() * splat(l1)
    sum_s, sum_q, sum_r, sum_qq, sum_qr, sum_rr = zero, zero, zero, zero, zero, zero
    g_red, g_green, g_blue, g_depth = zero, zero, zero, zero
    for row in range(first_row, end_row):
        dy = start_dy + np.float32(row - first_row)
        row_power = projected[index, LOG2_OPACITY] - (l3 * dy) * (l3 * dy)
        r = splat(l3 * dy)
        first, end = _row_columns(row_power, l1, l2, dy, start_dx, first_column, end_column)
        for column in range(first, end, LANES):
            q = slope + splat(l1 * (start_dx + np.float32(column - first_column)) + l2 * dy)
            power = splat(row_power) - q * q
            alpha = exp2(where_greater(power, lowest, power, lowest))
            alpha = where_greater(lowest, power, zero, alpha)
            free = where_greater(alpha, highest, zero, one)
            alpha = where_greater(alpha, highest, highest, alpha)
            before = load(state, 0, row, column)
            weight = before * alpha
            after = before - weight
            weight = where_greater(after, closing, weight, zero)
            free = where_greater(after, closing, free, zero)
            store(state, 0, row, column, where_greater(after, closing, after, minus_magnitude(before)))
            to_red, to_green = load(state, 2, row, column), load(state, 3, row, column)
            to_blue, to_depth = load(state, 4, row, column), load(state, 5, row, column)
            gain = fused(to_red, red, fused(to_green, green, fused(to_blue, blue, to_depth * depth)))
            gain = weight * gain
            behind = load(state, 1, row, column) - gain
            store(state, 1, row, column, behind)
            s = free * (behind * (alpha / (one - alpha)) - gain)
            s_q, s_r = s * q, s * r
            sum_s, sum_q, sum_r = sum_s + s, sum_q + s_q, sum_r + s_r
            sum_qq, sum_qr, sum_rr = fused(s_q, q, sum_qq), fused(s_q, r, sum_qr), fused(s_r, r, sum_rr)
            g_red, g_green = fused(weight, to_red, g_red), fused(weight, to_green, g_green)
            g_blue, g_depth = fused(weight, to_blue, g_blue), fused(weight, to_depth, g_depth)
    pair_gradients[pair, S] = lane_sum(sum_s)
    pair_gradients[pair, SQ] = lane_sum(sum_q)
    pair_gradients[pair, SR] = lane_sum(sum_r)
    pair_gradients[pair, SQQ] = lane_sum(sum_qq)
    pair_gradients[pair, SQR] = lane_sum(sum_qr)
    pair_gradients[pair, SRR] = lane_sum(sum_rr)
    pair_gradients[pair, G_RED] = lane_sum(g_red)
    pair_gradients[pair, G_GREEN] = lane_sum(g_green)
    pair_gradients[pair, G_BLUE] = lane_sum(g_blue)
    pair_gradients[pair, G_DEPTH] = lane_sum(g_depth)
