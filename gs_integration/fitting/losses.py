"""How far a rendered view is from the true one: robust colour difference, structure (SSIM), silhouette.

`picture_loss` is differentiable torch and runs anywhere; `PictureLoss` gives the same value with its gradient from
numba kernels, for the CPU.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from gs_integration.fitting.loss_kernels import (
    WINDOW_RADIUS,
    colour_and_alpha_loss,
    structure_columns,
    structure_gradient,
    structure_rows,
)

_WINDOW_SIGMA_PX = 1.5


@dataclass(frozen=True)
class LossWeights:
    """Parts of the loss.

    Attributes:
        robust_width: colour difference around which the loss turns from square to linear (Charbonnier), 0..1.
        structure: weight of 1 - SSIM; the colour difference has the rest of 1.
        silhouette: weight of the squared difference of alpha.
    """

    robust_width: float
    structure: float
    silhouette: float


def picture_loss(
    colour: Float[Tensor, "3 height width"],
    alpha: Float[Tensor, "height width"],
    target: Float[Tensor, "4 height width"],
    background: Float[Tensor, "3"],
    weights: LossWeights,
) -> Float[Tensor, ""]:
    """The loss of one view, differentiable.

    Args:
        colour: rendered over the background.
        alpha: rendered.
        target: premultiplied RGBA, 0..1.
        background: what shows through.
        weights: parts of the loss.
    """
    truth = target[:3] + (1 - target[3]) * background[:, None, None]
    robust = ((colour - truth).square() + weights.robust_width**2).sqrt().mean() - weights.robust_width
    silhouette = (alpha - target[3]).square().mean()
    structure = 1 - _ssim_map(colour, truth).mean()
    return (1 - weights.structure) * robust + weights.structure * structure + weights.silhouette * silhouette


def gaussian_window() -> Float[np.ndarray, " taps"]:
    """The 11 weights of SSIM's window along one axis; they sum to 1."""
    offsets = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _WINDOW_SIGMA_PX) ** 2)
    return (window / window.sum()).astype(np.float32)


def _ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of every pixel and channel; see `loss_kernels` for the letters."""
    window = torch.as_tensor(gaussian_window(), dtype=x.dtype, device=x.device)
    stacked = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 1)[:, None]
    across = functional.conv2d(stacked, window[None, None, None, :], padding=(0, WINDOW_RADIUS))
    blurred = functional.conv2d(across, window[None, None, :, None], padding=(WINDOW_RADIUS, 0))
    mu_x, mu_y, xx, yy, xy = blurred[:, 0].unflatten(0, (5, 3))
    a, b = 2 * mu_x * mu_y + 0.01**2, 2 * (xy - mu_x * mu_y) + 0.03**2
    c, d = mu_x.square() + mu_y.square() + 0.01**2, xx + yy - mu_x.square() - mu_y.square() + 0.03**2
    return a * b / (c * d)


class PictureLoss:
    """`picture_loss` and its gradient for pictures of one size on the CPU; buffers are kept between calls."""

    def __init__(self, height: int, width: int, weights: LossWeights) -> None:
        self._weights = weights
        self._window = gaussian_window()
        self._rows = np.zeros((3, height + 2 * WINDOW_RADIUS, 5, width), np.float32)
        self._derivatives = np.zeros((3, height + 2 * WINDOW_RADIUS, 3, width), np.float32)
        self._colour_gradient = np.zeros((3, height, width), np.float32)
        self._alpha_gradient = np.zeros((height, width), np.float32)

    def __call__(
        self,
        colour: Float[np.ndarray, "3 height width"],
        alpha: Float[np.ndarray, "height width"],
        target: Float[np.ndarray, "4 height width"],
        background: Float[np.ndarray, "3"],
    ) -> tuple[float, Float[np.ndarray, "3 height width"], Float[np.ndarray, "height width"]]:
        """Return the loss and its gradients by colour and alpha, which the next call overwrites.

        Args:
            colour: rendered over the background.
            alpha: rendered.
            target: premultiplied RGBA, 0..1.
            background: what shows through.
        """
        weights = self._weights
        sums = colour_and_alpha_loss(
            colour,
            alpha,
            target,
            background,
            weights.robust_width,
            weights.silhouette,
            self._colour_gradient,
            self._alpha_gradient,
        ).sum(axis=0, dtype=np.float64)
        robust_weight = 1 - weights.structure
        structure = 0.0
        if weights.structure > 0:
            structure_rows(colour, target, background, self._window, self._rows)
            ssim = structure_columns(self._rows, self._window, self._derivatives).sum(dtype=np.float64) / colour.size
            structure = 1 - ssim
            structure_gradient(
                colour,
                target,
                background,
                self._derivatives,
                self._window,
                robust_weight,
                -weights.structure / colour.size,
                self._colour_gradient,
            )
        value = robust_weight * sums[0] + weights.structure * structure + sums[1]
        if not math.isfinite(value):
            raise FloatingPointError("the loss is not finite: splats, target or background hold a NaN or infinity")
        return float(value), self._colour_gradient, self._alpha_gradient
