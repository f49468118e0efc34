"""The loss of one rendered view and its gradient, in numba.

Letters: x is the rendered, y the true picture; E(.) is the Gaussian window's mean, mu = E(x) or E(y);
SSIM = a b / (c d) with a = 2 mu_x mu_y + C1, b = 2 (E(xy) - mu_x mu_y) + C2, c = mu_x^2 + mu_y^2 + C1,
d = E(xx) + E(yy) - mu_x^2 - mu_y^2 + C2 (Wang et al. 2004). Outside the picture both are 0.
"""

import math

import numpy as np
from numba import njit, prange

WINDOW_RADIUS = 5
"""The window has 11 x 11 pixels, as in the original."""

_C1 = np.float32(0.01**2)
_C2 = np.float32(0.03**2)

# No fastmath, and sums in a loop of their own: numba optimizes a parallel kernel once when it compiles it and again
# when it stores it, and with freedom to reorder or contract, the first run would give other bits than later ones.


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def colour_and_alpha_loss(
    colour, alpha, target, background, robust_width, alpha_weight, colour_gradient, alpha_gradient
):
    """Add up sqrt(difference^2 + width^2) - width of colours and the weighted squared difference of alpha.

    Args:
        colour: [3, H, W] rendered over the background.
        alpha: [H, W] rendered.
        target: [4, H, W] premultiplied RGBA.
        background: [3].
        robust_width: width of the square part.
        alpha_weight: factor of the squared difference of alpha.
        colour_gradient: [3, H, W] receives the gradient of the first mean.
        alpha_gradient: [H, W] receives the gradient of the second mean.

    Returns:
        [H, 2] sums of each row, divided by the number of values (colours) and of pixels (alpha).
    """
    _, height, width = colour.shape
    per_value = np.float32(1.0 / (3 * height * width))
    per_pixel = np.float32(1.0 / (height * width))
    squared_width = np.float32(robust_width * robust_width)
    weight = np.float32(alpha_weight)
    sums = np.zeros((height, 2), np.float32)
    for row in prange(height):
        lengths = np.zeros(width, np.float32)
        squares = np.zeros(width, np.float32)
        for channel in range(3):
            behind = background[channel]
            for column in range(width):
                truth = target[channel, row, column] + (np.float32(1.0) - target[3, row, column]) * behind
                difference = colour[channel, row, column] - truth
                length = math.sqrt(difference * difference + squared_width)
                lengths[column] += length
                colour_gradient[channel, row, column] = difference / length * per_value
        for column in range(width):
            difference = alpha[row, column] - target[3, row, column]
            squares[column] = difference * difference
            alpha_gradient[row, column] = np.float32(2.0) * weight * difference * per_pixel
        colour_sum, alpha_sum = np.float32(0.0), np.float32(0.0)
        for column in range(width):
            colour_sum += lengths[column]
            alpha_sum += squares[column]
        sums[row, 0] = colour_sum * per_value - np.float32(robust_width / height)
        sums[row, 1] = weight * alpha_sum * per_pixel
    return sums


@njit(error_model="numpy", cache=True, nogil=True, inline="always")
def _blurred_row(source, window, blurred, width):
    """Blur a row that is padded by the window's radius with zeros on both sides."""
    for column in range(width):
        blurred[column] = window[0] * source[column]
    for tap in range(1, 2 * WINDOW_RADIUS + 1):
        factor = window[tap]
        for column in range(width):
            blurred[column] += factor * source[column + tap]


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def structure_rows(colour, target, background, window, rows):
    """Blur x, y, xx, yy, xy along the rows.

    Args:
        colour: [3, H, W] rendered over the background.
        target: [4, H, W] premultiplied RGBA.
        background: [3].
        window: [11] weights that sum to 1.
        rows: [3, H + 10, 5, W] receives the blurred rows, the first and last five of each channel stay 0.
    """
    _, height, width = colour.shape
    for job in prange(3 * height):
        channel, row = job // height, job % height
        behind = background[channel]
        padded = np.zeros((5, width + 2 * WINDOW_RADIUS), np.float32)
        for column in range(width):
            x = colour[channel, row, column]
            y = target[channel, row, column] + (np.float32(1.0) - target[3, row, column]) * behind
            padded[0, column + WINDOW_RADIUS] = x
            padded[1, column + WINDOW_RADIUS] = y
            padded[2, column + WINDOW_RADIUS] = x * x
            padded[3, column + WINDOW_RADIUS] = y * y
            padded[4, column + WINDOW_RADIUS] = x * y
        for quantity in range(5):
            _blurred_row(padded[quantity], window, rows[channel, row + WINDOW_RADIUS, quantity], width)


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def structure_columns(rows, window, derivatives):
    """Blur along the columns, compute SSIM and its derivatives by mu_x, E(xx), E(xy), and blur those along the rows.

    Args:
        rows: [3, H + 10, 5, W] of `structure_rows`.
        window: [11].
        derivatives: [3, H + 10, 3, W] receives the derivatives blurred along the rows, the margin stays 0.

    Returns:
        [3 H] sums of SSIM, one a row and channel.
    """
    _, padded_height, _, width = rows.shape
    height = padded_height - 2 * WINDOW_RADIUS
    sums = np.zeros(3 * height, np.float32)
    for job in prange(3 * height):
        channel, row = job // height, job % height
        means = np.zeros((5, width), np.float32)
        for tap in range(2 * WINDOW_RADIUS + 1):
            factor = window[tap]
            for quantity in range(5):
                for column in range(width):
                    means[quantity, column] += factor * rows[channel, row + tap, quantity, column]
        padded = np.zeros((3, width + 2 * WINDOW_RADIUS), np.float32)
        similarity = np.zeros(width, np.float32)
        for column in range(width):
            mu_x, mu_y = means[0, column], means[1, column]
            a = np.float32(2.0) * mu_x * mu_y + _C1
            b = np.float32(2.0) * (means[4, column] - mu_x * mu_y) + _C2
            c = mu_x * mu_x + mu_y * mu_y + _C1
            d = means[2, column] + means[3, column] - mu_x * mu_x - mu_y * mu_y + _C2
            inverse = np.float32(1.0) / (c * d)
            ssim = a * b * inverse
            similarity[column] = ssim
            by_variance = -ssim / d
            by_covariance = np.float32(2.0) * a * inverse
            by_mean = np.float32(2.0) * (mu_y * b * inverse - ssim * mu_x / c)
            padded[0, column + WINDOW_RADIUS] = by_mean - np.float32(2.0) * mu_x * by_variance - mu_y * by_covariance
            padded[1, column + WINDOW_RADIUS] = by_variance
            padded[2, column + WINDOW_RADIUS] = by_covariance
        total = np.float32(0.0)
        for column in range(width):
            total += similarity[column]
        sums[job] = total
        for quantity in range(3):
            _blurred_row(padded[quantity], window, derivatives[channel, row + WINDOW_RADIUS, quantity], width)
    return sums


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def structure_gradient(colour, target, background, derivatives, window, old_factor, new_factor, colour_gradient):
    """Turn the derivatives of SSIM into its gradient by the rendered colours.

    Args:
        colour: [3, H, W] rendered over the background.
        target: [4, H, W] premultiplied RGBA.
        background: [3].
        derivatives: [3, H + 10, 3, W] of `structure_columns`.
        window: [11].
        old_factor: the gradient so far is multiplied by this.
        new_factor: the gradient of the sum of SSIM is multiplied by this and added.
        colour_gradient: [3, H, W].
    """
    _, height, width = colour.shape
    old, new = np.float32(old_factor), np.float32(new_factor)
    for job in prange(3 * height):
        channel, row = job // height, job % height
        behind = background[channel]
        blurred = np.zeros((3, width), np.float32)
        for tap in range(2 * WINDOW_RADIUS + 1):
            factor = window[tap]
            for quantity in range(3):
                for column in range(width):
                    blurred[quantity, column] += factor * derivatives[channel, row + tap, quantity, column]
        for column in range(width):
            x = colour[channel, row, column]
            y = target[channel, row, column] + (np.float32(1.0) - target[3, row, column]) * behind
            gradient = blurred[0, column] + np.float32(2.0) * x * blurred[1, column] + y * blurred[2, column]
            colour_gradient[channel, row, column] = old * colour_gradient[channel, row, column] + new * gradient
