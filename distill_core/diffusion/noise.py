"""Noise that belongs to a sample, not to the batch in which it happens to be drawn."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NoiseSource = Callable[[tuple[int, ...]], Tensor]
"""Shape of one sample -> standard normal noise [B, *shape]; fresh at every call."""


def seeded_noise(
    seeds: Sequence[int], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> NoiseSource:
    """Noise of samples with a seed each.

    It is drawn on the CPU, so that a seed gives the same picture on every device and in a batch of any size.

    Args:
        seeds: One for each of the B samples, 0..2**63.
        device: Where the noise goes.
        dtype: Of the noise.

    Returns:
        A source; two sources of the same seeds give the same noise.
    """
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device, dtype)

    return draw
