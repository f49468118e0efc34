"""A short film of splats turning in front of the camera."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from distill_core.cameras import orbit_camera
from distill_core.progress import Progress
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

FRAMES_PER_SECOND = 24

_ELEVATION_DEGREES = 15.0


def turntable_frames(
    splats: Splats,
    *,
    num_frames: int,
    side_px: int,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Yield one picture a step of a full turn, uint8 [side, side, 3], over white.

    Args:
        splats: in the world's axes (z up).
        num_frames: steps of the turn, which begins at azimuth 0.
        side_px: side of the frames in pixels.
        progress: told of each frame.
    """
    white = torch.ones(3, device=splats.means.device)
    for frame in range(num_frames):
        camera = orbit_camera(
            360 * frame / num_frames,
            _ELEVATION_DEGREES,
            width=side_px,
            height=side_px,
        )
        with torch.no_grad():
            colour = rasterize(splats, [camera], white, backend="auto").colour[0]
        yield (colour.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
        progress.advance()


def write_film(path: Path, frames: Iterator[np.ndarray], *, side_px: int) -> None:
    """Write frames, uint8 [side, side, 3], as an H.264 film that every browser shows.

    Raises:
        OSError: the file cannot be written.
    """
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        (side_px, side_px),
        fps=FRAMES_PER_SECOND,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        output_params=["-crf", "18", "-movflags", "+faststart", "-threads", "1"],
        ffmpeg_log_level="error",
    )
    writer.send(None)
    try:
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
    if not path.exists() or path.stat().st_size == 0:
        raise OSError(f"the film {path} was not written")
