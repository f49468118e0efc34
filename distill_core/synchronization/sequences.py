"""Long sequences from a model of short ones: windows along time that hand over to one another.

A sequence is a picture of one row: C channels (the joints' coordinates, say), height 1, frames along the width.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.synchronization.panorama import panorama_windows
from distill_core.synchronization.pixel_copies import PixelCopies


def sequence_windows(
    channels: int, num_frames: int, window_frames: int, overlap_frames: int, *, closed: bool = False
) -> PixelCopies:
    """Return the windows of a sequence, their votes fading where they hand over.

    Args:
        channels: C.
        num_frames: of the whole sequence.
        window_frames: of a window.
        overlap_frames: how many frames two windows share, 0 to window - 1; the last window may share more.
        closed: whether the sequence repeats itself.

    Raises:
        ValueError: windows that cannot cover the sequence.
    """
    if not 0 <= overlap_frames < window_frames:
        raise ValueError(f"expected an overlap of 0 to {window_frames - 1} frames, got {overlap_frames}")
    return panorama_windows(
        (channels, 1, num_frames),
        (1, window_frames),
        (1, window_frames - overlap_frames),
        closed=closed,
        weights=handover(window_frames, overlap_frames)[None],
    )


def handover(window_frames: int, overlap_frames: int) -> Float[Tensor, " frames"]:
    """Return weights that rise over the overlap, stay at 1, and fall; two windows' weights sum to 1 where they meet.

    Args:
        window_frames: of a window.
        overlap_frames: of each handover; above half a window the ramps meet in the middle, and sums are normalised
            by the average over windows.
    """
    frames = torch.arange(window_frames, dtype=torch.float32)
    rise = (frames + 1) / (overlap_frames + 1)
    return torch.minimum(rise, rise.flip(0)).clamp(max=1)
