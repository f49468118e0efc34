"""Linear light to the values of pictures, numpy alone."""

import numpy as np
from jaxtyping import Float, Float32


def linear_to_srgb(values: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Values in sRGB of linear light in 0..1 (IEC 61966-2-1).

    Args:
        values: light.
    """
    values = np.asarray(values, np.float32)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
