"""A glTF 2.0 file, as .glb or as .gltf with its buffers: its JSON, and the numbers that accessors stand for.

Only what splats need: no sparse accessors, no matrices, no pictures.
"""

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np

from .errors import FormatError
from .json_values import parsed_object

GLB_MAGIC = b"glTF"
_HEADER = struct.Struct("<4sII")
_CHUNK = struct.Struct("<I4s")
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


@dataclass(frozen=True)
class GltfFile:
    """What a file holds.

    Args:
        document: its JSON.
        buffers: the bytes that it points into, in the order of the document.
    """

    document: Mapping[str, Any]
    buffers: tuple[bytes, ...]

    def items(self, key: str) -> list[Mapping[str, Any]]:
        """Return a list of objects at the document's top, such as the nodes; empty if there is none.

        Args:
            key: such as "nodes".

        Raises:
            FormatError: something else is there.
        """
        found = self.document.get(key, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise FormatError(f"Damaged glTF: expected a list of objects as '{key}'.")
        return found

    def item(self, key: str, index: object, owner: str) -> Mapping[str, Any]:
        """Return one of such a list.

        Args:
            key: such as "accessors".
            index: as the file says it.
            owner: names who asks in complaints.

        Raises:
            FormatError: there is none of that number.
        """
        items = self.items(key)
        if not _is_count(index) or int(str(index)) >= len(items):
            raise FormatError(f"Damaged glTF: {owner} asks for number {index!r} of {len(items)} {key}.")
        return items[int(str(index))]

    def numbers(self, index: object, kinds: Mapping[str, tuple[int, ...]], owner: str) -> np.ndarray:
        """Return the values of an accessor, [count] or [count, width], normalised whole numbers as fractions.

        Args:
            index: of the accessor, as the file says it.
            kinds: what is admitted: types, such as "VEC3", with their component types.
            owner: names what is read in complaints.

        Raises:
            FormatError: there is no such accessor, it is of another kind, or reaches beyond its buffer.
        """
        accessor = self.item("accessors", index, owner)
        kind, component, count = accessor.get("type"), accessor.get("componentType"), accessor.get("count")
        if not isinstance(kind, str) or component not in kinds.get(kind, ()):
            raise FormatError(f"Damaged glTF: {owner} cannot be of type {kind} with components of type {component}.")
        if "sparse" in accessor or "bufferView" not in accessor:
            raise FormatError(f"Cannot read {owner}: its accessor is sparse or empty, expected plain values.")
        view = self.item("bufferViews", accessor["bufferView"], owner)
        dtype, width = np.dtype(_COMPONENTS[component]), _WIDTHS[kind]
        row_bytes = dtype.itemsize * width
        stride = view.get("byteStride", row_bytes)
        offset, view_offset = accessor.get("byteOffset", 0), view.get("byteOffset", 0)
        length, buffer_index = view.get("byteLength"), view.get("buffer")
        if not all(_is_count(number) for number in (count, offset, view_offset, length, stride)) or stride < row_bytes:
            raise FormatError(f"Damaged glTF: {owner} has a count, an offset or a stride that cannot be.")
        if not _is_count(buffer_index) or int(str(buffer_index)) >= len(self.buffers):
            raise FormatError(f"Damaged glTF: {owner} asks for buffer {buffer_index!r} of {len(self.buffers)}.")
        buffer = self.buffers[int(str(buffer_index))]
        needed = offset + (stride * (count - 1) + row_bytes if count else 0)
        if needed > length or view_offset + length > len(buffer):
            raise FormatError(
                f"Damaged glTF: {owner} reaches beyond its buffer: {count} rows of {stride} bytes, {len(buffer)} there."
            )
        values = np.ndarray((int(str(count)), width), dtype, buffer, view_offset + offset, (stride, dtype.itemsize))
        if dtype.kind != "f" and accessor.get("normalized"):
            values = np.maximum(values / float(np.iinfo(dtype).max), -1.0)
        return values[:, 0] if kind == "SCALAR" else values


def read_gltf_file(path: Path) -> GltfFile:
    """Read a .glb, or a .gltf with the files beside it.

    Args:
        path: told by its content, whatever its name.

    Raises:
        FormatError: damaged, not glTF 2.0, or buffers that are missing or outside the folder.
        OSError: the file cannot be opened.
    """
    content = path.read_bytes()
    if not content:
        raise FormatError("The file is empty (0 bytes).")
    if content[:4] == GLB_MAGIC:
        return decode_glb(content)
    if not content.lstrip()[:1] == b"{":
        raise FormatError("Not a .glb file (magic number), nor the JSON of a .gltf.")
    document = parsed_object(content, "The .gltf")
    return _opened(document, None, path.parent)


def decode_glb(content: bytes) -> GltfFile:
    """Read the content of a .glb.

    Args:
        content: all of the file.

    Raises:
        FormatError: damaged, not glTF 2.0, or buffers outside the file.
    """
    if len(content) < _HEADER.size + _CHUNK.size:
        raise FormatError("The .glb is incomplete: it ends within its header.")
    magic, version, length = _HEADER.unpack_from(content)
    if magic != GLB_MAGIC:
        raise FormatError(f"Not a .glb file: expected the magic number glTF, got {magic!r}.")
    if version != 2:
        raise FormatError(f"glTF {version}.0 is not read, expected 2.0; export it as glTF 2.0.")
    if length > len(content):
        raise FormatError(f"The .glb is incomplete: expected {length} bytes, got {len(content)}.")
    chunks: dict[bytes, bytes] = {}
    place = _HEADER.size
    while place + _CHUNK.size <= length:
        size, kind = _CHUNK.unpack_from(content, place)
        place += _CHUNK.size
        if size > length - place:
            raise FormatError(f"The .glb is incomplete: a chunk of {size} bytes, {length - place} there.")
        chunks.setdefault(kind, content[place : place + size])
        place += size
    if b"JSON" not in chunks:
        raise FormatError("Damaged .glb: it has no chunk of JSON.")
    return _opened(parsed_object(chunks[b"JSON"], "The .glb"), chunks.get(b"BIN\0"), None)


def encode_glb(document: Mapping[str, Any], binary: bytes) -> bytes:
    """The content of a .glb.

    Args:
        document: the JSON; its buffer 0 is `binary`.
        binary: of a length that four divides.
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = _HEADER.size + 2 * _CHUNK.size + len(text) + len(binary)
    parts = (_HEADER.pack(GLB_MAGIC, 2, length), _CHUNK.pack(len(text), b"JSON"), text)
    return b"".join((*parts, _CHUNK.pack(len(binary), b"BIN\0"), binary))


def _opened(document: Mapping[str, Any], binary: bytes | None, folder: Path | None) -> GltfFile:
    asset = document.get("asset")
    version = asset.get("version") if isinstance(asset, dict) else None
    if not isinstance(version, str) or not version.startswith("2"):
        raise FormatError(f"glTF {version} is not read, expected 2.0; export it as glTF 2.0.")
    bare = GltfFile(document, ())
    buffers = []
    for number, buffer in enumerate(bare.items("buffers")):
        if "uri" not in buffer:
            content = binary if number == 0 else None
        else:
            content = _referenced(buffer["uri"], folder)
        length = buffer.get("byteLength")
        if content is None or not _is_count(length) or len(content) < int(str(length)):
            there = "none" if content is None else f"{len(content)}"
            raise FormatError(f"Damaged glTF: buffer {number} should have {length} bytes, there are {there}.")
        buffers.append(content)
    return GltfFile(document, tuple(buffers))


def _referenced(uri: object, folder: Path | None) -> bytes:
    """The content of a data URI, or of a file in the folder of the .gltf."""
    if not isinstance(uri, str):
        raise FormatError("Damaged glTF: a buffer's uri is no text.")
    if uri.startswith("data:"):
        head, _, body = uri.partition(",")
        if not head.endswith(";base64"):
            raise FormatError("Damaged glTF: expected a buffer's data in base64.")
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error:
            raise FormatError("Damaged glTF: a buffer's base64 data cannot be read.") from None
    name = PurePosixPath(unquote(uri))
    shown = str(name)[:80]
    if folder is None or ":" in str(name) or "\\" in str(name) or "\0" in str(name):
        raise FormatError(f"Refused: a buffer asks for {shown}, expected data in the file or beside it.")
    if name.is_absolute() or ".." in name.parts:
        raise FormatError(f"Refused: a buffer asks for {shown}, which is outside the folder of the file.")
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise FormatError(f"Refused: a buffer asks for {shown}, which is outside the folder of the file.")
    if not file.is_file():
        raise FormatError(f"The file {shown} is missing, expected it beside the .gltf.")
    return file.read_bytes()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48
