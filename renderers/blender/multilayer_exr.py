"""The one kind of EXR file that the worker writes: uncompressed scan lines, one part, all passes as channels.

Layout: OpenEXR's "File Layout" document. Other kinds (tiles, several parts, compression) are refused by name.
"""

import struct
from pathlib import Path

import numpy as np

_MAGIC, _NOT_PLAIN_BITS = 20000630, 0x1A00  # tiles, deep data, several parts
_DTYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_MAX_CHANNELS, _MAX_PIXELS = 256, 64_000_000
_MAX_HEADER_BYTES = 1 << 16


class DamagedExr(ValueError):
    """A file that is cut off or of another kind."""


def read_channels(path: Path) -> dict[str, np.ndarray]:
    """Read an EXR file that Blender wrote.

    Args:
        path: the file.

    Returns:
        Name to values [height, width] float32; names are as Blender makes them, "ViewLayer.Depth.Z".

    Raises:
        DamagedExr: missing, cut off, or another kind of EXR than described above.
    """
    try:
        return _channels(path.read_bytes())
    except (OSError, struct.error, IndexError, KeyError, ValueError) as error:
        raise DamagedExr(f"{path.name} is no whole uncompressed EXR: {error}") from error


def read_texts(path: Path) -> dict[str, str]:
    """The attributes that hold text: Blender states there how long Cycles took, among other things.

    Args:
        path: of an EXR file.

    Raises:
        DamagedExr: missing, or cut off.
    """
    try:
        with path.open("rb") as file:
            attributes, _ = _attributes(file.read(_MAX_HEADER_BYTES))
        return {name: value.decode("utf-8", "replace") for name, value in attributes.items()}
    except (OSError, struct.error, IndexError, ValueError) as error:
        raise DamagedExr(f"{path.name} has no whole header of an EXR: {error}") from error


def _channels(content: bytes) -> dict[str, np.ndarray]:
    magic, version = struct.unpack_from("<iI", content)
    if magic != _MAGIC or version & _NOT_PLAIN_BITS:
        raise ValueError(f"magic {magic}, version bits {version:#x}")
    attributes, offset = _attributes(content)
    if attributes["compression"] != b"\0":
        raise ValueError(f"compression {attributes['compression']!r}")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    names, dtypes = _channel_list(attributes["channels"])
    if not (0 < width and 0 < height and width * height <= _MAX_PIXELS and 0 < len(names) <= _MAX_CHANNELS):
        raise ValueError(f"{width} x {height} pixels of {len(names)} channels")
    line = np.dtype(
        [("y", "<i4"), ("num_bytes", "<i4")] + [(name, t, (width,)) for name, t in zip(names, dtypes, strict=True)]
    )
    if len(content) < offset + 8 * height + line.itemsize * height:
        raise ValueError("it is cut off")
    lines = np.frombuffer(content, line, height, offset + 8 * height)
    rows = lines["y"] - top
    if (lines["num_bytes"] != line.itemsize - 8).any() or (np.sort(rows) != np.arange(height)).any():
        raise ValueError("its lines do not fill the picture")
    channels = {}
    for name in names:
        values = np.zeros((height, width), np.float32)
        values[rows] = lines[name]
        channels[name] = values
    return channels


def _attributes(content: bytes) -> tuple[dict[str, bytes], int]:
    """The header's attributes, and where it ends."""
    attributes, offset = {}, 8
    while content[offset] != 0:
        name_end = content.index(b"\0", offset)
        type_end = content.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<I", content, type_end + 1)
        start = type_end + 5
        attributes[content[offset:name_end].decode("latin-1")] = content[start : start + size]
        offset = start + size
    return attributes, offset + 1


def _channel_list(value: bytes) -> tuple[list[str], list[np.dtype]]:
    names, dtypes, offset = [], [], 0
    while value[offset] != 0:
        end = value.index(b"\0", offset)
        kind, _, along_x, along_y = struct.unpack_from("<4i", value, end + 1)
        if (along_x, along_y) != (1, 1):
            raise ValueError("a channel is subsampled")
        names.append(value[offset:end].decode("utf-8"))
        dtypes.append(_DTYPES[kind])
        offset = end + 17
    return names, dtypes
