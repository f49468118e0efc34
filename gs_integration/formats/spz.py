"""Splats in .spz files (nianticlabs/spz), a fourteenth of the size of a .ply.

Versions 2 and 3 are one gzip stream, a header of 16 bytes and the fields one after another; version 4 is a plain header
of 32 bytes, extensions, a table, and a zstd stream a field. Version 3 is written unless version 4 is asked for: some
readers know no other. The axes are y up by specification, unless an extension names others.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import spz_fields
from .arrays import Axes, SplatArrays
from .compression import GzipReader, gzip_packed, zstd_packed, zstd_unpacked
from .errors import FormatError
from .files import write_whole
from .harmonics import COEFFICIENTS_BY_DEGREE
from .screening import SplatReading, screened
from .stored_values import opacity_bytes, opacity_logits

VERSIONS_READ = (2, 3, 4)
VERSIONS_WRITTEN = (3, 4)
DEFAULT_VERSION = 3

_MAGIC = b"NGSP"
_SHORT_HEADER = struct.Struct("<4sIIBBBB")  # magic, version, count, degree, fractional bits, flags, reserved
_LONG_HEADER = struct.Struct("<4sIIBBBBI12x")  # the same with the number of streams and the place of their table
_STREAM = struct.Struct("<QQ")  # packed size, unpacked size
_RECORD = struct.Struct("<II")  # type of an extension, bytes that follow
_ANTIALIASED, _EXTENDED = 1, 2
_HIGHEST_DEGREE = 4
_ZSTD_LEVEL = 12
_MOST_SPLATS = 50_000_000
# Deflate packs at most 1032 bytes into one, and a splat has at least 9 bytes of position: the bound of the reference
# library.
_MOST_UNPACKED_PER_BYTE, _POSITION_BYTES = 1024, 9
_LONGEST_EXTENSIONS = 1 << 20
_COORDINATE_SYSTEM = 0xADBE0003
_RECORD_BYTES = {0xADBE0001: 2, 0xADBE0002: 12, _COORDINATE_SYSTEM: 4}
"""Bytes after the type in versions 2 and 3, which do not say them; all three are Adobe's."""
_AXES_BY_SYSTEM: dict[int, Axes | None] = {0: None, 4: "y-up", 6: "y-down"}
"""Unspecified; right, up, back; right, down, forward."""


@dataclass(frozen=True)
class _Header:
    version: int
    count: int
    degree: int
    bits: int
    flags: int

    @property
    def widths(self) -> dict[str, int]:
        """Bytes a splat in each field."""
        return spz_fields.field_widths(self.degree, smallest_three=self.version >= 3)


def read_spz(path: Path, *, axes_if_unsaid: Axes = "y-up") -> SplatReading:
    """Read a file of splats.

    Args:
        path: an .spz file of version 2, 3 or 4.
        axes_if_unsaid: where up is, unless the file says so: y up by specification; some programs write y down.

    Returns:
        The splats in the file's axes, and what was dropped.

    Raises:
        FormatError: not such a file, damaged, without splats, or this Python lacks zstd for version 4.
        OSError: the file cannot be opened.
    """
    return decode_spz(path.read_bytes(), axes_if_unsaid=axes_if_unsaid)


def write_spz(path: Path, splats: SplatArrays, *, version: int = DEFAULT_VERSION) -> None:
    """Write splats, turned to y up, whole or not at all.

    Args:
        path: the file; what was there is replaced.
        splats: any number, in any axes.
        version: 3 or 4.

    Raises:
        FormatError: positions too far out for 24 bits, or this Python lacks zstd for version 4.
        OSError: the file cannot be written.
    """
    write_whole(path, encode_spz(splats, version=version))


def decode_spz(content: bytes, *, axes_if_unsaid: Axes = "y-up") -> SplatReading:
    """Read the content of a file of splats; see `read_spz`.

    Args:
        content: all of the file.
        axes_if_unsaid: where up is, unless the file says so.

    Raises:
        FormatError: not such a file, damaged, or without splats.
    """
    if not content:
        raise FormatError("The file is empty (0 bytes).")
    if content[:2] == b"\x1f\x8b":
        header, fields, system = _unpacked(GzipReader(content, "The .spz"), len(content))
    elif content[:4] == _MAGIC and len(content) >= 8 and content[4] == 4:
        header, fields, system = _streams(content)
    elif content[:4] == _MAGIC:
        header, fields, system = _unpacked(_PlainReader(content), len(content))
    else:
        raise FormatError("Not an .spz file: it begins neither with gzip's mark nor with NGSP.")
    notes = []
    if header.degree >= len(COEFFICIENTS_BY_DEGREE):
        notes.append("Left out the fourth band of spherical harmonics, which is not drawn.")
    reading = screened(_splats(header, fields, _stored_axes(system) or axes_if_unsaid))
    if not len(reading.splats):
        raise FormatError(f"The file holds no splats that can be drawn. {' '.join(reading.notes)}")
    return SplatReading(reading.splats, (*notes, *reading.notes))


def encode_spz(splats: SplatArrays, *, version: int = DEFAULT_VERSION) -> bytes:
    """The content of a file of splats, turned to y up.

    Args:
        splats: any number, in any axes.
        version: 3 or 4.

    Raises:
        FormatError: positions too far out for 24 bits, or this Python lacks zstd for version 4.
        ValueError: another version.
    """
    if version not in VERSIONS_WRITTEN:
        raise ValueError(f"expected version 3 or 4, got {version}")
    splats = splats.in_axes("y-up")
    bits = spz_fields.fractional_bits(splats.means)
    if bits is None:
        farthest = np.abs(splats.means).max()
        raise FormatError(
            f"Expected positions within {spz_fields.LONGEST_POSITION} units for .spz, got {farthest:.6g}; scale the "
            "splats down or choose another format."
        )
    fields = (
        spz_fields.encode_positions(splats.means, bits),
        opacity_bytes(splats.opacity_logits),
        spz_fields.encode_colours(splats.harmonics[:, 0]),
        spz_fields.encode_scales(splats.log_scales),
        spz_fields.encode_rotations(splats.quaternions_wxyz),
        spz_fields.encode_harmonics(splats.harmonics),
    )
    flags = _ANTIALIASED if splats.antialiased else 0
    start = (_MAGIC, version, len(splats), splats.sh_degree, bits, flags)
    raw = [field.tobytes() for field in fields]
    if version == 3:
        return gzip_packed(_SHORT_HEADER.pack(*start, 0) + b"".join(raw))
    raw = [field for field in raw if field]
    packed = [zstd_packed(field, _ZSTD_LEVEL) for field in raw]
    header = _LONG_HEADER.pack(*start, len(packed), _LONG_HEADER.size)
    table = b"".join(_STREAM.pack(len(after), len(before)) for after, before in zip(packed, raw, strict=True))
    return header + table + b"".join(packed)


def lost_in_spz(splats: SplatArrays) -> list[str]:
    """What an .spz file cannot hold of the splats and what becomes of it, in words; empty if it holds everything.

    Args:
        splats: any number, in any axes.
    """
    splats = splats.in_axes("y-up")  # turning mixes the harmonics of a band
    cut = {
        "colours beyond -0.44 to 1.44": spz_fields.colours_cut(splats.harmonics[:, 0]),
        "sizes beyond 0.000045 to 379 units": spz_fields.scales_cut(splats.log_scales),
        "spherical harmonics beyond -1 to 1": spz_fields.harmonics_cut(splats.harmonics),
    }
    return [
        f"{what} ({rows.sum():,} of {len(splats):,} splats have some): cut off there"
        for what, rows in cut.items()
        if rows.any()
    ]


class _PlainReader:
    """Version 2 or 3 without its gzip, which some programs leave out."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def read(self, num_bytes: int) -> bytes:
        part = self._content[self._place : self._place + num_bytes]
        self._place += len(part)
        return part


def _unpacked(stream: GzipReader | _PlainReader, file_bytes: int) -> tuple[_Header, dict[str, bytes], int]:
    """Header, fields and coordinate system of version 2 or 3."""
    start = stream.read(_SHORT_HEADER.size)
    if len(start) < _SHORT_HEADER.size:
        raise FormatError("The .spz is incomplete: it ends within its header.")
    magic, version, count, degree, bits, flags, _ = _SHORT_HEADER.unpack(start)
    header = _checked(magic, _Header(version, count, degree, bits, flags), file_bytes)
    fields = {}
    for name, width in header.widths.items():
        fields[name] = stream.read(width * count)
        if len(fields[name]) < width * count:
            raise FormatError(
                f"The .spz is incomplete: {count} splats announced, {len(fields[name]) // width} there in its {name}."
            )
    rest = stream.read(_LONGEST_EXTENSIONS + 1)
    if (rest and not flags & _EXTENDED) or len(rest) > _LONGEST_EXTENSIONS:
        raise FormatError(f"The .spz is damaged: more data than its header announces ({count} splats).")
    return header, fields, _system_of_records(rest)


def _streams(content: bytes) -> tuple[_Header, dict[str, bytes], int]:
    """Header, fields and coordinate system of version 4."""
    if len(content) < _LONG_HEADER.size:
        raise FormatError("The .spz is incomplete: it ends within its header.")
    magic, version, count, degree, bits, flags, num_streams, table = _LONG_HEADER.unpack_from(content)
    header = _checked(magic, _Header(version, count, degree, bits, flags), len(content))
    expected = {name: width * count for name, width in header.widths.items() if width * count}
    if num_streams != len(expected) or not _LONG_HEADER.size <= table <= len(content):
        raise FormatError(
            f"The .spz is damaged: expected {len(expected)} streams for degree {degree} and their table within the "
            f"file, got {num_streams} and a table at byte {table}."
        )
    system = _system_of_sized_records(content[_LONG_HEADER.size : table]) if flags & _EXTENDED else 0
    place = table + num_streams * _STREAM.size
    if place > len(content):
        raise FormatError("The .spz is incomplete: it ends within its table.")
    fields = dict.fromkeys(header.widths, b"")
    for number, (name, size) in enumerate(expected.items()):
        packed, unpacked = _STREAM.unpack_from(content, table + number * _STREAM.size)
        if unpacked != size:
            raise FormatError(f"The .spz is damaged: {name} take {size} bytes, its table says {unpacked}.")
        if packed > len(content) - place:
            raise FormatError(
                f"The .spz is incomplete: its {name} end {packed - len(content) + place} bytes too early."
            )
        fields[name] = zstd_unpacked(content[place : place + packed], size, "The .spz")
        place += packed
    if place != len(content):
        raise FormatError(f"The .spz is damaged: {len(content) - place} bytes follow its last stream.")
    return header, fields, system


def _checked(magic: bytes, header: _Header, file_bytes: int) -> _Header:
    """The header, if what it announces can be there: nothing is allocated before."""
    if magic != _MAGIC:
        raise FormatError(f"Not an .spz file: expected the magic number NGSP, got {magic!r}.")
    if header.version not in VERSIONS_READ:
        raise FormatError(f"The .spz is of version {header.version}, expected 2, 3 or 4.")
    if header.degree > _HIGHEST_DEGREE:
        raise FormatError(f"The .spz has spherical harmonics of degree {header.degree}, expected 0 to 4.")
    if header.bits > 23:
        raise FormatError(f"The .spz is damaged: {header.bits} fractional bits, expected at most 23.")
    most = min(_MOST_SPLATS, file_bytes * _MOST_UNPACKED_PER_BYTE // _POSITION_BYTES)
    if header.count > most:
        raise FormatError(
            f"The .spz is damaged: {header.count} splats announced, a file of {file_bytes} bytes holds at most {most}."
        )
    if header.count == 0:
        raise FormatError("The file holds no splats.")
    return header


def _splats(header: _Header, fields: dict[str, bytes], axes: Axes) -> SplatArrays:
    rows = {
        name: np.frombuffer(fields[name], np.uint8).reshape(header.count, width)
        for name, width in header.widths.items()
    }
    base = spz_fields.decode_colours(rows["colours"])[:, None]
    drawn = COEFFICIENTS_BY_DEGREE[min(header.degree, len(COEFFICIENTS_BY_DEGREE) - 1)]
    harmonics = np.concatenate([base, spz_fields.decode_harmonics(rows["harmonics"])[:, : drawn - 1]], axis=1)
    return SplatArrays(
        means=spz_fields.decode_positions(rows["positions"], header.bits),
        quaternions_wxyz=spz_fields.decode_rotations(rows["rotations"]),
        log_scales=spz_fields.decode_scales(rows["scales"]),
        opacity_logits=opacity_logits(rows["opacities"][:, 0]),
        harmonics=harmonics,
        axes=axes,
        antialiased=bool(header.flags & _ANTIALIASED),
    )


def _stored_axes(system: int) -> Axes | None:
    if system not in _AXES_BY_SYSTEM:
        raise FormatError(
            f"The .spz is stored in coordinate system {system}, expected right-up-back (4) or right-down-forward (6); "
            "convert it with the program that wrote it."
        )
    return _AXES_BY_SYSTEM[system]


def _system_of_records(records: bytes) -> int:
    """The coordinate system that extensions name; those of unknown length end the search."""
    place = 0
    while place + 4 <= len(records):
        (kind,) = struct.unpack_from("<I", records, place)
        size = _RECORD_BYTES.get(kind)
        if size is None or place + 4 + size > len(records):
            return 0
        if kind == _COORDINATE_SYSTEM:
            return int(struct.unpack_from("<I", records, place + 4)[0])
        place += 4 + size
    return 0


def _system_of_sized_records(records: bytes) -> int:
    place = 0
    while place < len(records):
        if place + _RECORD.size > len(records):
            raise FormatError("The .spz is damaged: an extension ends within its head.")
        kind, size = _RECORD.unpack_from(records, place)
        place += _RECORD.size
        if size > len(records) - place:
            raise FormatError("The .spz is damaged: an extension is longer than the room for it.")
        if kind == _COORDINATE_SYSTEM and size == 4:
            return int(struct.unpack_from("<I", records, place)[0])
        place += size
    return 0
