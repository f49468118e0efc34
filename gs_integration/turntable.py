"""A short film of splats turning in front of the camera."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from distill_core.cameras import orbit_camera
from distill_core.errors import UserError
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


def write_film(path: Path, frames: Iterable[np.ndarray], *, side_px: int) -> None:
    """Write frames, uint8 [side, side, 3], as an H.264 film that every browser shows.

    Args:
        path: an .mp4 file; its folder exists.
        frames: drawn one after another while the film is written.
        side_px: side of the frames, even.

    Raises:
        UserError: the film cannot be written.
    """
    with tempfile.TemporaryFile() as complaints:
        ffmpeg = subprocess.Popen(_ffmpeg_command(path, side_px), stdin=subprocess.PIPE, stderr=complaints)
        assert ffmpeg.stdin is not None
        try:
            with ffmpeg.stdin as pipe:
                for frame in frames:
                    pipe.write(np.ascontiguousarray(frame).tobytes())
        except BrokenPipeError:
            pass  # it has stopped by itself, and has said why
        except BaseException:
            ffmpeg.kill()
            raise
        finally:
            status = ffmpeg.wait()
        if status != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"it ended with status {status}, as when the disk is full"
            raise UserError(
                f"Expected ffmpeg to write the film {path}, got: {reason}; free space or choose another folder."
            )


def _ffmpeg_command(path: Path, side_px: int) -> list[str]:
    # The package brings the program with it; imported here, for it looks for the program when it is imported.
    import imageio_ffmpeg

    source = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{side_px}x{side_px}",
        "-r",
        str(FRAMES_PER_SECOND),
        "-i",
        "-",
    ]
    # One thread: the bytes of the film then depend on the frames alone.
    codec = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-threads", "1", "-movflags", "+faststart"]
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *source, *codec, str(path)]
