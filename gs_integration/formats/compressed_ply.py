"""Splats in PlayCanvas's compressed .ply files, sixteen bytes each (SuperSplat, SplatTransform).

The element `chunk` has the lowest and highest position, logarithm of the scale and (in newer files) colour of each 256
splats; `vertex` has four whole numbers a splat, which count within those bounds; `sh`, if there is one, has a byte for
each coefficient above band 0, all of red, then green, then blue.
"""

import re

import numpy as np
import numpy.typing as npt

from .arrays import Axes, SplatArrays
from .errors import FormatError
from .harmonics import COEFFICIENTS_BY_DEGREE, SH_BAND_0
from .ply_header import PlyElement, PlyHeader
from .ply_rows import element_columns
from .stored_values import opacity_logits

_CHUNK_SPLATS = 256
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_BOUNDS = {"position": ("x", "y", "z"), "scale": ("scale_x", "scale_y", "scale_z"), "colour": ("r", "g", "b")}
_HARMONICS_RANGE = 8.0  # a byte counts from -4 to 4


def is_compressed(header: PlyHeader) -> bool:
    """Whether a file is in this layout.

    Args:
        header: of a .ply file.
    """
    vertex = header.element("vertex")
    return header.element("chunk") is not None or (vertex is not None and "packed_position" in vertex.properties)


def compressed_splats(content: bytes, header: PlyHeader, *, axes: Axes) -> SplatArrays:
    """The splats of a compressed file.

    Args:
        content: all of the file.
        header: of that file.
        axes: where up is.

    Raises:
        FormatError: damaged, incomplete, or without splats.
    """
    chunk, vertex, sh = (header.element(name) for name in ("chunk", "vertex", "sh"))
    if chunk is None or vertex is None:
        raise FormatError("Damaged compressed splat file: expected the elements 'chunk' and 'vertex'.")
    if any(vertex.properties.get(name) != "u4" for name in _PACKED):
        raise FormatError(f"Damaged compressed splat file: expected {', '.join(_PACKED)} of 32 bits in 'vertex'.")
    if vertex.count == 0:
        raise FormatError("The file holds no splats.")
    num_chunks = -(-vertex.count // _CHUNK_SPLATS)
    if chunk.count != num_chunks:
        raise FormatError(
            f"Damaged compressed splat file: expected {num_chunks} chunks for {vertex.count} splats, got {chunk.count}."
        )
    bounds = _bounds(element_columns(content, header, chunk, "chunks"), chunk)
    packed = element_columns(content, header, vertex, "splats")
    position, rotation, scale, colour = (packed[name].astype(np.uint32) for name in _PACKED)
    place = np.arange(vertex.count) // _CHUNK_SPLATS
    colours = np.stack([colour >> 24, colour >> 16 & 255, colour >> 8 & 255], axis=1) / 255
    if "colour" in bounds:
        colours = _between(bounds["colour"], place, colours)
    base = ((colours - 0.5) / SH_BAND_0).astype(np.float32)[:, None]
    return SplatArrays(
        means=_between(bounds["position"], place, _unpacked(position)).astype(np.float32),
        quaternions_wxyz=_quaternions(rotation),
        log_scales=_between(bounds["scale"], place, _unpacked(scale)).astype(np.float32),
        opacity_logits=opacity_logits((colour & 255).astype(np.uint8)),
        harmonics=base if sh is None else np.concatenate([base, _harmonics(content, header, sh, vertex.count)], axis=1),
        axes=axes,
    )


def _bounds(columns: dict[str, np.ndarray], chunk: PlyElement) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Lowest and highest values [chunks, 3] of what the chunks bound."""
    bounds = {}
    for what, names in _BOUNDS.items():
        if what == "colour" and "min_r" not in chunk.properties:
            continue
        missing = [f"{end}_{name}" for end in ("min", "max") for name in names if f"{end}_{name}" not in columns]
        if missing:
            raise FormatError(f"Damaged compressed splat file: {', '.join(missing)} missing in 'chunk'.")
        lowest, highest = (
            np.stack([columns[f"{end}_{name}"].astype(np.float64) for name in names], axis=1) for end in ("min", "max")
        )
        bounds[what] = (lowest, highest)
    return bounds


def _between(bounds: tuple[np.ndarray, np.ndarray], place: np.ndarray, share: np.ndarray) -> npt.NDArray[np.float64]:
    """Values at a share of the way from the lowest to the highest of each splat's chunk."""
    lowest, highest = bounds
    # Bounds that are not finite make rows that are dropped.
    with np.errstate(over="ignore", invalid="ignore"):
        return lowest[place] + (highest - lowest)[place] * share


def _unpacked(packed: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """[N, 3] shares of 11, 10 and 11 bits."""
    return np.stack([(packed >> 21) / 2047, (packed >> 11 & 1023) / 1023, (packed & 2047) / 2047], axis=1)


def _quaternions(packed: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """[N, 4] of the place of the largest of w x y z, and the other three in 10 bits each."""
    largest = packed >> 30
    others = np.stack([packed >> 20 & 1023, packed >> 10 & 1023, packed & 1023], axis=1)
    others = (others / 1023 - 0.5) * np.sqrt(2)
    quaternions = np.zeros((len(packed), 4))
    for place in range(4):
        rows = largest == place
        quaternions[np.ix_(rows, [other for other in range(4) if other != place])] = others[rows]
        quaternions[rows, place] = np.sqrt(np.maximum(0, 1 - (others[rows] ** 2).sum(axis=1)))
    return quaternions.astype(np.float32)


def _harmonics(content: bytes, header: PlyHeader, sh: PlyElement, num_splats: int) -> npt.NDArray[np.float32]:
    """[N, K - 1, 3] coefficients above band 0."""
    names = [name for name in sh.properties if re.fullmatch(r"f_rest_\d+", name)]
    expected = [3 * (coefficients - 1) for coefficients in COEFFICIENTS_BY_DEGREE[1:]]
    if len(names) not in expected or set(names) != {f"f_rest_{i}" for i in range(len(names))}:
        raise FormatError(
            f"The number of f_rest properties in 'sh', {len(names)}, fits no degree of spherical harmonics "
            "(expected f_rest_0 onwards, 9, 24 or 45 of them)."
        )
    if sh.count != num_splats or any(sh.properties[name] != "u1" for name in names):
        raise FormatError(
            f"Damaged compressed splat file: expected {num_splats} rows of bytes in 'sh', got {sh.count}."
        )
    columns = element_columns(content, header, sh, "rows of harmonics")
    stored = np.stack([columns[f"f_rest_{i}"] for i in range(len(names))], axis=1)
    # A byte stands for the middle of its step; the first and the last for the ends themselves.
    share = np.where(stored == 0, 0, np.where(stored == 255, 1, (stored + 0.5) / 256))
    values = ((share - 0.5) * _HARMONICS_RANGE).astype(np.float32)
    return values.reshape(num_splats, 3, -1).transpose(0, 2, 1)
