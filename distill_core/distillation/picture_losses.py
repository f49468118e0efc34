"""Distances between pictures."""

import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.schedules import per_sample
from distill_core.distillation.settings import PictureLossSettings

_PYRAMID_LEVELS = 3


def picture_loss(
    predicted: Float[Tensor, "batch 4 height width"],
    clean: Float[Tensor, "batch 4 height width"],
    weight: Float[Tensor, " batch"],
    settings: PictureLossSettings,
) -> Tensor:
    """Absolute and squared error of premultiplied RGBA, alpha once more, and fine detail once more.

    Args:
        predicted: [B, 4, H, W] premultiplied RGBA in -1..1.
        clean: The same of the truth.
        weight: [B] factor on each picture's error.
        settings: Weights of the parts, for values in 0..1.

    Returns:
        A scalar, float32.
    """
    error = 0.5 * per_sample(weight, predicted) * (predicted.float() - clean)
    loss = error.abs().mean() + settings.squared_weight * error.square().mean()
    loss = loss + settings.alpha_weight * error[:, 3].abs().mean()
    return loss + settings.detail_weight * pyramid_magnitude(error)


def pyramid_magnitude(error: Float[Tensor, "batch channels height width"]) -> Tensor:
    """Mean absolute value of the bands of a Laplacian pyramid; each finer one counts twice as much.

    The pyramid is linear: that of an error is the difference of two pictures' pyramids.

    Args:
        error: [B, C, H, W] with sides that are multiples of 8.

    Returns:
        A scalar.
    """
    total, factor = error.new_zeros(()), 1.0
    for _ in range(_PYRAMID_LEVELS):
        coarse = functional.avg_pool2d(error, 2)
        smooth = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        total = total + factor * (error - smooth).abs().mean()
        error, factor = coarse, 0.5 * factor
    return total
