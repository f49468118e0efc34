"""The bytes of a picture file for an image of Blender's, wherever that keeps its pixels."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

READABLE = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"})
"""Endings of files that the worker reads."""


def image_file(image: bpy.types.Image) -> tuple[str, Path | bytes | Callable[[], bytes]]:
    """Return the ending and the content of an image: its file where that says all, else a PNG of its pixels.

    Args:
        image: has pixels, or a file.

    Returns:
        The ending, and a path, the bytes, or what makes the bytes and may run in a thread.
    """
    path = Path(bpy.path.abspath(image.filepath_raw, library=image.library))
    ending = path.suffix.lower()
    if image.source == "FILE" and not image.is_dirty and ending in READABLE:
        if image.packed_file is not None:
            return ending, bytes(image.packed_file.data)
        return ending, path
    width, height = image.size
    values = np.zeros(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    pixels = values.reshape(height, width, image.channels)[::-1]
    linear = image.is_float
    return ".png", lambda: encode_png(_straight_bytes(pixels, linear=linear))


def encode_png(pixels: np.ndarray) -> bytes:
    """Return a PNG (ISO/IEC 15948), every row unfiltered.

    Args:
        pixels: bytes [H, W, 4], straight RGBA, row 0 on top.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 4)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _straight_bytes(pixels: np.ndarray, *, linear: bool) -> np.ndarray:
    """[H, W, 4] bytes, sRGB and straight, of pixels as Blender holds them.

    Images of floats are linear and premultiplied, those of bytes neither.
    """
    channels = pixels.shape[2]
    colour = pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    alpha = np.clip(pixels[..., 3:4], 0, 1) if channels == 4 else np.ones_like(colour[..., :1])
    if linear:
        colour = np.divide(colour, alpha, out=np.zeros_like(colour), where=alpha > 0)
        colour = np.clip(np.nan_to_num(colour, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
        # IEC 61966-2-1.
        colour = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    straight = np.concatenate([np.clip(colour, 0, 1), alpha], axis=2)
    return (straight * 255 + 0.5).astype(np.uint8)
