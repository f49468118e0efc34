"""Splats in .splat files, as the viewer antimatter15/splat takes them: 32 bytes each and nothing else.

Position and standard deviations as three floats each, red green blue opacity as four bytes, the quaternion w x y z as
four bytes with 128 for 0. There is no header, so nothing says the axes; the file is written y down, as viewers show it.
Colours have one value for all directions.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from .arrays import Axes, SplatArrays
from .errors import FormatError
from .files import write_whole
from .harmonics import SH_BAND_0
from .screening import SplatReading, screened
from .stored_values import log_scales_of, opacities_of_logits, opacity_bytes, opacity_logits

_ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("colours", "u1", 4), ("quaternions", "u1", 4)])


def read_splat(path: Path, *, axes_if_unsaid: Axes = "y-down") -> SplatReading:
    """Read a file of splats.

    Args:
        path: a .splat file.
        axes_if_unsaid: where up is; the file does not say so.

    Returns:
        The splats, and what was dropped.

    Raises:
        FormatError: not such a file, damaged, or without splats.
        OSError: the file cannot be opened.
    """
    return decode_splat(path.read_bytes(), axes_if_unsaid=axes_if_unsaid)


def write_splat(path: Path, splats: SplatArrays) -> None:
    """Write splats, turned to y down, whole or not at all.

    Args:
        path: the file; what was there is replaced.
        splats: any number, in any axes.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, encode_splat(splats))


def decode_splat(content: bytes, *, axes_if_unsaid: Axes = "y-down") -> SplatReading:
    """Read the content of a file of splats; see `read_splat`.

    Args:
        content: all of the file.
        axes_if_unsaid: where up is.

    Raises:
        FormatError: not such a file, damaged, or without splats.
    """
    if not content:
        raise FormatError("The file is empty (0 bytes).")
    if len(content) % _ROW.itemsize:
        raise FormatError(
            f"The .splat is incomplete or no .splat file: expected a multiple of 32 bytes, got {len(content)}."
        )
    rows = np.frombuffer(content, _ROW)
    splats = SplatArrays(
        means=rows["means"].astype(np.float32),
        quaternions_wxyz=((rows["quaternions"] - 128.0) / 128).astype(np.float32),
        log_scales=log_scales_of(rows["scales"]),
        opacity_logits=opacity_logits(rows["colours"][:, 3]),
        harmonics=((rows["colours"][:, None, :3] / 255 - 0.5) / SH_BAND_0).astype(np.float32),
        axes=axes_if_unsaid,
    )
    reading = screened(splats)
    if not len(reading.splats):
        raise FormatError(f"The file holds no splats that can be drawn. {' '.join(reading.notes)}")
    return reading


def encode_splat(splats: SplatArrays) -> bytes:
    """The content of a file of splats, turned to y down; what covers most comes first, so that viewers show it early.

    Args:
        splats: any number, in any axes.
    """
    splats = splats.in_axes("y-down")
    opacities = opacities_of_logits(splats.opacity_logits)
    size = splats.log_scales.astype(np.float64).sum(axis=1) + np.log(np.maximum(opacities, 1e-30))
    splats = splats.select(np.argsort(-size, kind="stable"))
    lengths = np.linalg.norm(splats.quaternions_wxyz.astype(np.float64), axis=1, keepdims=True)
    rows = np.zeros(len(splats), _ROW)
    rows["means"] = splats.means
    rows["scales"] = np.exp(splats.log_scales)
    rows["colours"][:, :3] = np.clip(_colour_steps(splats), 0, 255)
    rows["colours"][:, 3] = opacity_bytes(splats.opacity_logits)
    rows["quaternions"] = np.clip(np.rint(splats.quaternions_wxyz / lengths * 128 + 128), 0, 255)
    return rows.tobytes()


def lost_in_splat(splats: SplatArrays) -> list[str]:
    """What a .splat file cannot hold of the splats and what becomes of it, in words; empty if it holds everything.

    Args:
        splats: any number, in any axes.
    """
    lost = []
    if splats.sh_degree:
        lost.append(f"spherical harmonics above degree 0 (here {splats.sh_degree}): left out")
    steps = _colour_steps(splats)
    num_cut = int(((steps < 0) | (steps > 255)).any(axis=1).sum())
    if num_cut:
        lost.append(f"colours outside 0 to 1 ({num_cut:,} of {len(splats):,} splats have some): cut off there")
    return lost


def _colour_steps(splats: SplatArrays) -> npt.NDArray[np.floating]:
    """[N, 3] base colours in whole steps of 1/255, before they are cut off at 0 and 255."""
    return np.rint(255 * (0.5 + SH_BAND_0 * splats.harmonics[:, 0]))
