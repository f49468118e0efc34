"""Adam on the CPU in one pass over memory, in numba.

No fastmath: see `loss_kernels` for why.
"""

import math

import numpy as np
from numba import njit, prange

_CHUNK = 8192


@njit(parallel=True, error_model="numpy", cache=True, nogil=True)
def adam_step(
    values, gradient, first_moment, second_moment, column_rates, decay_1, decay_2, correction_1, correction_2
):
    """Move values [N, D] along their gradient, in place (Kingma and Ba 2015, algorithm 1, epsilon 1e-15).

    Args:
        values: [N, D].
        gradient: [N, D].
        first_moment: [N, D], updated.
        second_moment: [N, D], updated.
        column_rates: [D] learning rates.
        decay_1: of the first moment.
        decay_2: of the second moment.
        correction_1: 1 - decay_1^t.
        correction_2: 1 - decay_2^t.
    """
    rows, columns = values.shape
    kept_1, kept_2 = np.float32(decay_1), np.float32(decay_2)
    new_1, new_2 = np.float32(1 - decay_1), np.float32(1 - decay_2)
    rates = (column_rates / correction_1).astype(np.float32)
    scale = np.float32(1 / correction_2)
    smallest = np.float32(1e-15)
    rows_a_chunk = max(_CHUNK // columns, 1)
    for chunk in prange((rows + rows_a_chunk - 1) // rows_a_chunk):
        for row in range(chunk * rows_a_chunk, min((chunk + 1) * rows_a_chunk, rows)):
            for column in range(columns):
                slope = gradient[row, column]
                first = kept_1 * first_moment[row, column] + new_1 * slope
                second = kept_2 * second_moment[row, column] + new_2 * slope * slope
                first_moment[row, column] = first
                second_moment[row, column] = second
                values[row, column] -= rates[column] * first / (math.sqrt(second * scale) + smallest)
