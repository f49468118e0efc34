"""Splats in .ply files, in the layout of the 3D Gaussian Splatting paper's code (INRIA).

One element `vertex` with x y z, nx ny nz (zeros, often left out), f_dc_0..2, f_rest_0.. (all of red, then green, then
blue), opacity (logit), scale_0..2 (natural logarithms), rot_0..3 (w x y z). Properties are found by name. Comments say
which axes the file is in ("Axes: y-down"; nerfstudio writes "Vertical Axis: z") and what renderer it was made for
("SplatRenderMode: mip"; Postshot writes "antialiased 1").
"""

import re
from pathlib import Path

import numpy as np

from .arrays import AXES, Axes, SplatArrays
from .compressed_ply import compressed_splats, is_compressed
from .errors import FormatError
from .files import write_whole
from .harmonics import COEFFICIENTS_BY_DEGREE
from .ply_header import LONGEST_HEADER_BYTES, PlyElement, PlyHeader, parse_header
from .ply_rows import element_columns
from .screening import SplatReading, screened

_REQUIRED = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{i}" for i in range(3)))
_REQUIRED += tuple(f"rot_{i}" for i in range(4))


def read_ply(path: Path, *, axes_if_unsaid: Axes = "y-down") -> SplatReading:
    """Read a file of splats.

    Args:
        path: a .ply file in INRIA's layout (text, little- or big-endian) or in PlayCanvas's compressed one.
        axes_if_unsaid: where up is, unless the file's header says so.

    Returns:
        The splats in the file's axes, and what was dropped.

    Raises:
        FormatError: not such a file, damaged, or without splats.
        OSError: the file cannot be opened.
    """
    return decode_ply(path.read_bytes(), axes_if_unsaid=axes_if_unsaid)


def write_ply(path: Path, splats: SplatArrays) -> None:
    """Write splats, in their axes, whole or not at all.

    Args:
        path: the file; what was there is replaced.
        splats: any number.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, encode_ply(splats))


def decode_ply(content: bytes, *, axes_if_unsaid: Axes = "y-down") -> SplatReading:
    """Read the content of a file of splats; see `read_ply`.

    Args:
        content: all of the file.
        axes_if_unsaid: where up is, unless the header says so.

    Raises:
        FormatError: not such a file, damaged, or without splats.
    """
    header = parse_header(content[:LONGEST_HEADER_BYTES])
    if is_compressed(header):
        splats = compressed_splats(content, header, axes=_said_axes(header.comments) or axes_if_unsaid)
    else:
        splats = _plain_splats(content, header, axes_if_unsaid)
    reading = screened(splats)
    if not len(reading.splats):
        raise FormatError(f"The file holds no splats that can be drawn. {' '.join(reading.notes)}")
    return reading


def encode_ply(splats: SplatArrays) -> bytes:
    """The content of a file of splats, little-endian, in their axes.

    Args:
        splats: any number.
    """
    count, coefficients = splats.harmonics.shape[:2]
    rest = splats.harmonics[:, 1:].transpose(0, 2, 1).reshape(count, -1)
    blocks = {
        ("x", "y", "z"): splats.means,
        ("nx", "ny", "nz"): np.zeros((count, 3), np.float32),
        ("f_dc_0", "f_dc_1", "f_dc_2"): splats.harmonics[:, 0],
        tuple(f"f_rest_{i}" for i in range(3 * (coefficients - 1))): rest,
        ("opacity",): splats.opacity_logits[:, None],
        ("scale_0", "scale_1", "scale_2"): splats.log_scales,
        ("rot_0", "rot_1", "rot_2", "rot_3"): splats.quaternions_wxyz,
    }
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment Made with OneStep3D",
        f"comment Axes: {splats.axes}",
        f"comment SplatRenderMode: {'mip' if splats.antialiased else 'default'}",
        f"element vertex {count}",
        *(f"property float {name}" for names in blocks for name in names),
        "end_header",
    ]
    rows = np.concatenate(list(blocks.values()), axis=1).astype("<f4")
    return "\n".join([*header, ""]).encode("ascii") + rows.tobytes()


def _plain_splats(content: bytes, header: PlyHeader, axes_if_unsaid: Axes) -> SplatArrays:
    vertex = _vertex_of_splats(header)
    degree = _sh_degree(vertex)
    columns = element_columns(content, header, vertex, "splats")
    return SplatArrays(
        means=_stacked(columns, ["x", "y", "z"]),
        quaternions_wxyz=_stacked(columns, [f"rot_{i}" for i in range(4)]),
        log_scales=_stacked(columns, [f"scale_{i}" for i in range(3)]),
        opacity_logits=_stacked(columns, ["opacity"])[:, 0],
        harmonics=_harmonics(columns, degree),
        axes=_said_axes(header.comments) or axes_if_unsaid,
        antialiased=_said_antialiased(header.comments),
    )


def _vertex_of_splats(header: PlyHeader) -> PlyElement:
    """The element that holds splats; says what the file is instead, if it holds none."""
    vertex = header.element("vertex")
    if vertex is None:
        raise FormatError("Not a file of splats: the header has no element 'vertex'.")
    missing = [name for name in _REQUIRED if name not in vertex.properties]
    if {"opacity", "scale_0", "rot_0"} <= set(missing):
        if (face := header.element("face")) is not None and face.count:
            raise FormatError("This is a mesh, not splats: it has faces and no opacity, scale or rotation.")
        raise FormatError("This is a point cloud, not splats: it has no opacity, scale or rotation.")
    if missing:
        raise FormatError(
            f"Not a complete splat file: {'property' if len(missing) == 1 else 'properties'} "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        )
    if vertex.count == 0:
        raise FormatError("The file holds no splats.")
    return vertex


def _sh_degree(vertex: PlyElement) -> int:
    names = {name for name in vertex.properties if re.fullmatch(r"f_rest_\d+", name)}
    expected = [3 * (coefficients - 1) for coefficients in COEFFICIENTS_BY_DEGREE]
    if len(names) not in expected or names != {f"f_rest_{i}" for i in range(len(names))}:
        raise FormatError(
            f"The number of f_rest properties, {len(names)}, fits no degree of spherical harmonics "
            "(expected f_rest_0 onwards, 0, 9, 24 or 45 of them)."
        )
    return expected.index(len(names))


def _stacked(columns: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    # A double that float32 cannot hold becomes infinite, and its row is dropped.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([columns[name].astype(np.float32) for name in names], axis=1)


def _harmonics(columns: dict[str, np.ndarray], degree: int) -> np.ndarray:
    """[N, K, 3] of f_dc and the channel-major f_rest."""
    coefficients = COEFFICIENTS_BY_DEGREE[degree]
    base = _stacked(columns, ["f_dc_0", "f_dc_1", "f_dc_2"])[:, None]
    if degree == 0:
        return base
    rest = _stacked(columns, [f"f_rest_{i}" for i in range(3 * (coefficients - 1))])
    return np.concatenate([base, rest.reshape(-1, 3, coefficients - 1).transpose(0, 2, 1)], axis=1)


def _said_axes(comments: tuple[str, ...]) -> Axes | None:
    for comment in comments:
        keyword, _, value = comment.lower().partition(":")
        for axes in AXES:
            if keyword.strip() == "axes" and value.strip() == axes:
                return axes
        if keyword.strip() == "vertical axis" and value.strip() == "z":
            return "z-up"
    return None


def _said_antialiased(comments: tuple[str, ...]) -> bool:
    said = {comment.lower().replace(":", " ").strip() for comment in comments}
    return any(re.fullmatch(r"splatrendermode\s+mip|antialiased\s+1", comment) for comment in said)
