"""Warping a picture by a coarse flow, and what a step of the flow needs to know, in numba.

No fastmath: see `loss_kernels` for why.
"""

import math

import numpy as np
from numba import njit, prange


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def warp(picture, flow, gain, offset, warped):
    """Read a picture at displaced places and undo a gain and an offset of its colours.

    Args:
        picture: [4, H, W] premultiplied RGBA.
        flow: [2, h, w] displacements in x and y in pixels of the picture, on a coarse grid over the whole picture.
        gain: [3].
        offset: [3].
        warped: [4, H, W] receives (colour - offset alpha) / gain, and alpha, of the displaced places.
    """
    _, height, width = picture.shape
    _, grid_height, grid_width = flow.shape
    for row in prange(height):
        down = min(max((row + 0.5) * grid_height / height - 0.5, 0.0), grid_height - 1.0)
        upper = min(int(down), max(grid_height - 2, 0))
        lower = min(upper + 1, grid_height - 1)
        below = np.float32(down - upper)
        for column in range(width):
            across = min(max((column + 0.5) * grid_width / width - 0.5, 0.0), grid_width - 1.0)
            left = min(int(across), max(grid_width - 2, 0))
            right = min(left + 1, grid_width - 1)
            beside = np.float32(across - left)
            one = np.float32(1.0)
            upper_x = (one - beside) * flow[0, upper, left] + beside * flow[0, upper, right]
            lower_x = (one - beside) * flow[0, lower, left] + beside * flow[0, lower, right]
            upper_y = (one - beside) * flow[1, upper, left] + beside * flow[1, upper, right]
            lower_y = (one - beside) * flow[1, lower, left] + beside * flow[1, lower, right]
            x = column + (one - below) * upper_x + below * lower_x
            y = row + (one - below) * upper_y + below * lower_y
            x = min(max(x, np.float32(0.0)), np.float32(width - 1))
            y = min(max(y, np.float32(0.0)), np.float32(height - 1))
            x0, y0 = int(math.floor(x)), int(math.floor(y))
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            u, v = np.float32(x - x0), np.float32(y - y0)
            for channel in range(4):
                top = (one - u) * picture[channel, y0, x0] + u * picture[channel, y0, x1]
                bottom = (one - u) * picture[channel, y1, x0] + u * picture[channel, y1, x1]
                warped[channel, row, column] = (one - v) * top + v * bottom
            alpha = warped[3, row, column]
            for channel in range(3):
                warped[channel, row, column] = (warped[channel, row, column] - offset[channel] * alpha) / gain[channel]


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def flow_equations(target, rendered, grid_height, grid_width):
    """Add up the normal equations of Lucas and Kanade (1981) in the cells of a coarse grid.

    Args:
        target: [4, H, W] the picture that is to be moved, premultiplied RGBA.
        rendered: [4, H, W] where it is to go.
        grid_height: cells down.
        grid_width: cells across.

    Returns:
        [5, h, w] sums over the four channels of gx gx, gx gy, gy gy, gx d, gy d with (gx, gy) the target's gradient
        and d = rendered - target.
    """
    _, height, width = target.shape
    sums = np.zeros((5, grid_height, grid_width), np.float32)
    for cell_row in prange(grid_height):
        first_row = cell_row * height // grid_height
        last_row = (cell_row + 1) * height // grid_height
        for row in range(max(first_row, 1), min(last_row, height - 1)):
            for column in range(1, width - 1):
                cell = column * grid_width // width
                for channel in range(4):
                    gradient_x = np.float32(0.5) * (target[channel, row, column + 1] - target[channel, row, column - 1])
                    gradient_y = np.float32(0.5) * (target[channel, row + 1, column] - target[channel, row - 1, column])
                    difference = rendered[channel, row, column] - target[channel, row, column]
                    sums[0, cell_row, cell] += gradient_x * gradient_x
                    sums[1, cell_row, cell] += gradient_x * gradient_y
                    sums[2, cell_row, cell] += gradient_y * gradient_y
                    sums[3, cell_row, cell] += gradient_x * difference
                    sums[4, cell_row, cell] += gradient_y * difference
    return sums
