"""Which format a file of splats is in: told by the ending of its name, read and written through one door."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .arrays import Axes, SplatArrays
from .errors import FormatError
from .gltf import read_gltf, write_gltf
from .ply import read_ply, write_ply
from .screening import SplatReading
from .splat import lost_in_splat, read_splat, write_splat
from .spz import DEFAULT_VERSION, lost_in_spz, read_spz, write_spz

SplatFormat = Literal["ply", "spz", "splat", "glb"]
"""Formats that are written, by the ending of the name."""

FORMATS: tuple[SplatFormat, ...] = get_args(SplatFormat)

FORMATS_READ = (*FORMATS, "gltf")

LARGEST_FILE_BYTES = 8 << 30
"""Thirty million splats of degree 3."""

# What others write, and who converts it.
_OTHERS = {
    "sog": "PlayCanvas's SOG",
    "ksplat": "mkkellogg's ksplat",
    "lcc": "XGrids' LCC",
    "usdz": "OpenUSD",
    "usd": "OpenUSD",
    "usda": "OpenUSD",
    "usdc": "OpenUSD",
}


@dataclass(frozen=True)
class Writing:
    """How splats are put into a file.

    Args:
        axes: where up is in a .ply; the other formats have axes of their own: .spz and .glb y up, .splat y down.
        spz_version: 3 or 4.
    """

    axes: Axes = "y-down"
    spz_version: int = DEFAULT_VERSION


def read_splat_file(path: Path, *, axes_if_unsaid: Axes | None = None) -> SplatReading:
    """Read a file of splats.

    Args:
        path: a .ply (plain or compressed), .spz, .splat, .glb or .gltf file.
        axes_if_unsaid: where up is, unless the file says so; None takes what is usual for the format.

    Returns:
        The splats in the file's axes, and what was dropped.

    Raises:
        FormatError: another format, not such a file, damaged, too large, or without splats.
        OSError: the file cannot be opened.
    """
    ending = ending_of(path, FORMATS_READ)
    _check_size(path)
    match ending:
        case "ply":
            return read_ply(path, axes_if_unsaid=axes_if_unsaid or "y-down")
        case "spz":
            return read_spz(path, axes_if_unsaid=axes_if_unsaid or "y-up")
        case "splat":
            return read_splat(path, axes_if_unsaid=axes_if_unsaid or "y-down")
        case _:
            return read_gltf(path)


def write_splat_file(path: Path, splats: SplatArrays, writing: Writing | None = None) -> tuple[str, ...]:
    """Write splats in the format of the file's ending, turned to its axes, whole or not at all.

    Args:
        path: a .ply, .spz, .splat or .glb file; what was there is replaced.
        splats: at least one, in any axes.
        writing: what the person may choose.

    Returns:
        Sentences of what the format cannot hold, with the number of splats; empty if it holds everything.

    Raises:
        FormatError: another format, or values that the format cannot hold at all.
        OSError: the file cannot be written.
    """
    writing = writing or Writing()
    match ending_of(path, FORMATS):
        case "ply":
            write_ply(path, splats.in_axes(writing.axes))
            lost = []
        case "spz":
            write_spz(path, splats, version=writing.spz_version)
            lost = lost_in_spz(splats)
        case "splat":
            write_splat(path, splats)
            lost = lost_in_splat(splats) + _lost_antialiasing(splats)
        case _:
            write_gltf(path, splats)
            lost = _lost_antialiasing(splats)
    return tuple(f"The format .{path.suffix[1:].lower()} cannot hold {what}." for what in lost)


def _lost_antialiasing(splats: SplatArrays) -> list[str]:
    return ["that the splats were made for antialiased rendering: left out"] if splats.antialiased else []


def ending_of(path: Path, known: tuple[str, ...] = FORMATS_READ) -> str:
    """The format that a file's name says.

    Args:
        path: the file.
        known: endings that are admitted, without the dot.

    Raises:
        FormatError: it is none of them.
    """
    ending = path.suffix[1:].lower()
    if ending in known:
        return ending
    expected = f"expected {', '.join('.' + each for each in known[:-1])} or .{known[-1]}"
    if ending in _OTHERS:
        raise FormatError(
            f"The layout of {path.name} is {_OTHERS[ending]}, {expected}: convert it, for example with SplatTransform."
        )
    raise FormatError(f"Not a file of splats by its name: {expected}, got {path.name}; choose one of these endings.")


def _check_size(path: Path) -> None:
    """Refuse what would fill the memory, before any of it is read."""
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size > LARGEST_FILE_BYTES:
        raise FormatError(
            f"The file has {found.st_size >> 30} GiB, expected at most {LARGEST_FILE_BYTES >> 30}: split it into parts."
        )
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise FormatError("Expected a file, got a device or a pipe: copy it into a file first.")
