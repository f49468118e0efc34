"""Opacities and sizes as formats store them, where the splats have logits and logarithms."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

LOWEST_LOG_SCALE = -20.0
"""Flat splats may be stored with a thickness of 0, whose logarithm is not finite."""


def opacities_of_logits(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Opacities in 0..1.

    Args:
        logits: of any shape, before the logistic function.
    """
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))


def logits_of_opacities(opacities: npt.NDArray[np.floating]) -> FloatArray:
    """Logits; infinite at 0 and 1, not a number outside.

    Args:
        opacities: of any shape, in 0..1.
    """
    opacities = opacities.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.log(opacities) - np.log1p(-opacities)).astype(np.float32)


def opacity_bytes(logits: FloatArray) -> npt.NDArray[np.uint8]:
    """Opacities in 0..255.

    Args:
        logits: of any shape, before the logistic function.
    """
    return np.rint(255 * opacities_of_logits(logits)).astype(np.uint8)


def opacity_logits(content: npt.NDArray[np.uint8]) -> FloatArray:
    """Logits of opacities in 0..255; infinite at both ends.

    Args:
        content: of any shape.
    """
    return logits_of_opacities(content / 255)


def log_scales_of(scales: npt.NDArray[np.floating]) -> FloatArray:
    """Logarithms of sizes; `LOWEST_LOG_SCALE` for 0, not a number below.

    Args:
        scales: of any shape, not negative.
    """
    scales = scales.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scales == 0, LOWEST_LOG_SCALE, np.log(scales)).astype(np.float32)
