"""Films read back by the program that browsers' makers test theirs against."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def film_frames(path: Path, side_px: int) -> np.ndarray:
    """The frames of a film, [N, side, side, 3] uint8."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path)]
    decoded = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    return np.frombuffer(decoded.stdout, np.uint8).reshape(-1, side_px, side_px, 3)
