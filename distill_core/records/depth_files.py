"""16-bit grey pictures: depth in steps of 0.001 units, and numbers of objects; `depth.npz` of a whole capture."""

import io
import math
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float, Float32, UInt16
from PIL import Image

from distill_core.errors import UserError
from distill_core.pictures.images import DECODING_ERRORS

# nerfstudio's default: a 16-bit step of a depth file is a thousandth of a world unit.
DEPTH_UNIT = 0.001
MAX_PIXELS = 64_000_000


def read_depth_archive(path: Path) -> Float32[np.ndarray, "views depth_height depth_width"]:
    """Read a `depth.npz`: key `depth`, z-depth of all views in world units.

    Raises:
        UserError: a damaged or oversized file.
    """
    return _cached_depth_archive(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _cached_depth_archive(path: Path, _modified_ns: int) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("depth.npy").file_size > 1 << 31:
                raise UserError(f"{path}: expected at most 2 GiB of depth; split the capture.")
        with np.load(path, allow_pickle=False) as arrays:
            depth = arrays["depth"]
    except (*DECODING_ERRORS, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: expected a NumPy archive with an array 'depth', got {error}.") from error
    if depth.ndim != 3 or depth.dtype.kind != "f" or not np.isfinite(depth).all() or depth.min(initial=0) < 0:
        raise UserError(f"{path}: expected finite depths [views, height, width], got {depth.dtype} {depth.shape}.")
    return depth.astype(np.float32)


def decode_depth(content: bytes, path: Path) -> Float32[np.ndarray, "depth_height depth_width"]:
    """The z-depth in world units that the bytes of a 16-bit grey PNG hold, 0 where empty.

    Args:
        content: of the file.
        path: where it came from, for messages.

    Raises:
        UserError: another kind of picture, or a damaged one.
    """
    return _decoded(content, path, "depth").astype(np.float32) * np.float32(DEPTH_UNIT)


def read_depth_picture(path: Path) -> Float32[np.ndarray, "depth_height depth_width"]:
    """The z-depth in world units that a 16-bit grey PNG holds, 0 where empty.

    Raises:
        UserError: another kind of picture, or a damaged one.
    """
    return decode_depth(_content(path, "depth"), path)


def read_numbers(path: Path) -> UInt16[np.ndarray, "height width"]:
    """The numbers of objects that a 16-bit grey PNG holds, 0 where empty.

    Raises:
        UserError: another kind of picture, or a damaged one.
    """
    return _decoded(_content(path, "objects' numbers"), path, "objects' numbers")


def depth_steps(depth: Float[np.ndarray, "height width"]) -> UInt16[np.ndarray, "height width"]:
    """Depth as files hold it: steps of 0.001 world units.

    Args:
        depth: z-depth in world units, 0 where empty.

    Raises:
        UserError: it does not fit into 16 bits.
    """
    steps = np.rint(depth / DEPTH_UNIT)
    if not np.isfinite(steps).all() or steps.min() < 0 or steps.max() > 65535:
        raise UserError(
            f"Depth in a record is 0 to 65.535 world units, got {depth.min():g} to {depth.max():g}; scale the scene."
        )
    return steps.astype(np.uint16)


def encode_grey16(values: UInt16[np.ndarray, "height width"]) -> bytes:
    """A 16-bit grey PNG.

    Args:
        values: of the pixels.
    """
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(path, what, str(error))


def _decoded(content: bytes, path: Path, what: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if math.prod(image.size) > MAX_PIXELS or not image.mode.startswith("I;16"):
                    _refuse(path, what, f"{image.size[0]} x {image.size[1]} of mode {image.mode}")
                return np.asarray(image).astype(np.uint16)
    except DECODING_ERRORS as error:
        _refuse(path, what, str(error))


def _refuse(path: Path, what: str, got: str) -> NoReturn:
    raise UserError(f"{path}: expected {what} as a 16-bit grey PNG, got {got}; write it again.")
