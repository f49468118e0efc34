"""Noise seen through another grid of pixels, still standard normal and white there.

Interpolated noise loses variance, and copied noise is no longer white where pixels share a value. Integral noise keeps
both: canonical noise is refined, and a pixel is the sum of the fine noise under its footprint, over the square root of
how much there is (Chang et al., "How I Warped Your Noise", ICLR 2024).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def refine_noise(
    noise: Float[Tensor, "channels height width"], factor: int, generator: torch.Generator
) -> Float[Tensor, "channels fine_height fine_width"]:
    """Draw finer noise whose block sums are the noise given.

    With n = factor^2 children, child k of x is x / sqrt(n) + xi_k - mean(xi): standard normal and independent of all
    others, and the children's sum over sqrt(n) is x.

    Args:
        noise: [C, H, W] standard normal.
        factor: children along each side; 1 returns the noise itself.
        generator: of the children, on the noise's device.

    Returns:
        [C, factor H, factor W].
    """
    channels, height, width = noise.shape
    shape = (channels, height, factor, width, factor)
    drawn = torch.randn(shape, generator=generator, device=noise.device, dtype=noise.dtype)
    drawn = drawn - drawn.mean(dim=(2, 4), keepdim=True) + noise[:, :, None, :, None] / factor
    return drawn.reshape(channels, height * factor, width * factor)


def gather_noise(
    fine: Float[Tensor, "channels elements"],
    elements: Int[Tensor, " pairs"],
    pixels: Int[Tensor, " pairs"],
    num_pixels: int,
) -> Float[Tensor, "channels pixels"]:
    """Sum the noise under each pixel's footprint, over the square root of its elements' number.

    Args:
        fine: [C, N] standard normal noise.
        elements: which element of each pair, 0..N - 1.
        pixels: under which pixel it lies, 0..num_pixels - 1.
        num_pixels: of all views; each must have an element.

    Returns:
        [C, num_pixels] noise of unit variance; pixels that share no element are independent.
    """
    counts = torch.bincount(pixels, minlength=num_pixels)
    sums = fine.new_zeros(len(fine), num_pixels).index_add_(1, pixels, fine[:, elements])
    return sums / counts.to(fine.dtype).sqrt()
