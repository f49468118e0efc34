"""A wide picture from square windows of it, and a long sequence from short ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distill_core.synchronization.pixel_copies import PixelCopies


def window_starts(length: int, window: int, stride: int, *, closed: bool = False) -> list[int]:
    """Return where windows begin that cover a line, the last one flush with its end.

    Args:
        length: of the line, in pixels.
        window: length of a window, at most `length`.
        stride: from one window to the next, at most `window`; the last step may be shorter.
        closed: whether the end is joined to the beginning. Windows then run across it, and none needs to be flush.

    Raises:
        ValueError: windows that cannot cover the line, or leave gaps.
    """
    if not 1 <= window <= length:
        raise ValueError(f"expected a window of 1 to {length} pixels, got {window}")
    if not 1 <= stride <= window:
        raise ValueError(f"expected a stride of 1 to {window} pixels, so that windows leave no gap, got {stride}")
    if closed:
        return list(range(0, length, stride))
    starts = list(range(0, length - window, stride))
    return [*starts, length - window]


def panorama_windows(
    canonical_shape: tuple[int, int, int],
    window: tuple[int, int],
    stride: tuple[int, int],
    *,
    closed: bool = False,
    weights: Float[Tensor, "height width"] | None = None,
) -> PixelCopies:
    """Return the windows of a panorama (MultiDiffusion, Bar-Tal et al., ICML 2023).

    Args:
        canonical_shape: C, H, W of the panorama.
        window: height and width of a window, pixels.
        stride: downwards and to the right, pixels.
        closed: whether the right border is joined to the left one; columns then count modulo W.
        weights: [h, w] of a window's votes, above 0; equal if not given.

    Raises:
        ValueError: as in `window_starts`.
    """
    channels, height, width = canonical_shape
    tops = window_starts(height, window[0], stride[0])
    lefts = window_starts(width, window[1], stride[1], closed=closed)
    index = torch.cat([_window(top, left, window, width) for top in tops for left in lefts])
    return PixelCopies(
        canonical_shape, (channels, *window), index, weights=None if weights is None else weights.flatten()
    )


def _window(top: int, left: int, window: tuple[int, int], width: int) -> Int[Tensor, "1 pixels"]:
    rows = torch.arange(top, top + window[0])
    columns = torch.arange(left, left + window[1]) % width
    return (rows[:, None] * width + columns[None]).reshape(1, -1)
