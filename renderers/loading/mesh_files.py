"""Checks of .obj, .ply, .stl and .dae files before a loader sees them: loaders accept some broken ones in silence."""

import re
from dataclasses import dataclass

from distill_core.errors import UserError
from renderers.blender.up_axis import UpAxis

_PLY_SIZES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8, "float64": 8,
}  # fmt: skip
_PLY_MAX_HEADER_BYTES = 65_536
_STL_HEADER_BYTES, _STL_FACE_BYTES = 84, 50


def checked_obj(data: bytes, name: str) -> bytes:
    """An .obj file with its face indices checked, counted from 1, and its polygons cut into fans of triangles.

    Args:
        data: the file.
        name: for messages.

    Raises:
        UserError: no faces, or a face that uses what is not there.
    """
    text = data.decode("utf-8", errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
    counts = [0, 0, 0]
    place_of_kind = {"v": 0, "vt": 1, "vn": 2}
    faces: list[tuple[int, list[list[int]]]] = []
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        kind = words[0] if words else ""
        if kind in place_of_kind:
            counts[place_of_kind[kind]] += 1
            lines.append(line)
        elif kind == "f":
            corners = [_obj_corner(word, counts, number, name) for word in words[1:] if not word.startswith("#")]
            faces.append((number, corners))
            lines.extend(_fan(corners))
        elif kind not in ("#", "l", "p"):
            lines.append(line)
    if not faces:
        raise no_faces(name)
    for number, corners in faces:
        for corner in corners:
            for index, count in zip(corner, counts, strict=False):
                if index > count:
                    raise UserError(
                        f"{name}: Damaged mesh: face index {index} out of range 1 to {count} (line {number}); "
                        "export it again."
                    )
    return "\n".join(lines).encode()


def _obj_corner(word: str, counts: list[int], number: int, name: str) -> list[int]:
    """Indices of a corner `v/vt/vn` counted from 1; 0 stands for one left out."""
    corner = []
    for place, digits in enumerate(word.split("/")[:3]):
        if digits == "" and place > 0:
            corner.append(0)
            continue
        try:
            index = int(digits)
        except ValueError:
            raise UserError(
                f"{name}: Damaged mesh: expected a face index, got {digits[:40]!r} (line {number})."
            ) from None
        if index < 0:
            # Counted back from the latest line of its kind.
            index += counts[place] + 1
        if index < 1:
            raise UserError(
                f"{name}: Damaged mesh: face index out of range (line {number}): got {digits}, .obj counts from 1; "
                "export it again."
            )
        corner.append(index)
    return corner


def _fan(corners: list[list[int]]) -> list[str]:
    words = ["/".join(str(index) if index else "" for index in corner) for corner in corners]
    return [f"f {words[0]} {words[place]} {words[place + 1]}" for place in range(1, len(words) - 1)]


def no_faces(name: str) -> UserError:
    """The error for a mesh that shows nothing."""
    return UserError(f"{name}: The mesh has no faces; expected at least one triangle, export it with its faces.")


@dataclass(frozen=True)
class _PlyElement:
    name: str
    count: int
    property_words: list[list[str]]


def check_ply(data: bytes, name: str) -> int:
    """Check the header of a .ply file against its size, before anything is allocated.

    Args:
        data: the file.
        name: for messages.

    Returns:
        How many faces the header announces.

    Raises:
        UserError: a damaged header, fewer bytes than announced, or no mesh in it.
    """
    elements, format_name, header_bytes = _ply_header(data, name)
    by_name = {element.name: element for element in elements}
    faces = by_name.get("face")
    properties = {words[-1] for words in by_name["vertex"].property_words} if "vertex" in by_name else set()
    if faces is None or faces.count == 0:
        if {"f_dc_0", "opacity"} <= properties:
            raise UserError(f"{name}: expected a mesh, got Gaussian splats, which have no faces; give a mesh.")
        if by_name.get("vertex"):
            raise UserError(f"{name}: expected a mesh, got a point cloud: it has no faces; give a mesh.")
        raise no_faces(name)
    needed = sum(element.count * _ply_row_bytes(element, format_name, name) for element in elements)
    if needed > len(data) - header_bytes:
        raise UserError(
            f"{name}: The .ply is incomplete: its header announces at least {needed:,} bytes, got "
            f"{len(data) - header_bytes:,}; copy or export it again."
        )
    return faces.count


def _ply_header(data: bytes, name: str) -> tuple[list[_PlyElement], str, int]:
    if not data.startswith(b"ply"):
        raise UserError(f"{name}: Not a .ply file: expected 'ply' at its start, got {data[:8]!r}.")
    match = re.search(rb"\nend_header[ \t]*\r?\n", data[:_PLY_MAX_HEADER_BYTES])
    if match is None:
        raise UserError(f"{name}: Damaged header: no end_header in its first {_PLY_MAX_HEADER_BYTES:,} bytes.")
    elements: list[_PlyElement] = []
    format_name = ""
    for line in data[: match.start()].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            format_name = words[1]
        elif words[:1] == ["element"]:
            if len(words) != 3 or not re.fullmatch(r"-?\d{1,18}", words[2]) or int(words[2]) < 0:
                raise UserError(f"{name}: Damaged header: expected an element with its count, got {line[:60]!r}.")
            elements.append(_PlyElement(words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            if not elements or len(words) < 3:
                raise UserError(f"{name}: Damaged header: expected a property of an element, got {line[:60]!r}.")
            elements[-1].property_words.append(words[1:])
    if format_name not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise UserError(f"{name}: Damaged header: expected the format ascii or binary, got {format_name!r}.")
    return elements, format_name, match.end()


def _ply_row_bytes(element: _PlyElement, format_name: str, name: str) -> int:
    """The fewest bytes that one row takes: an empty list is its count alone."""
    if format_name == "ascii":
        return 2 * len(element.property_words)
    total = 0
    for words in element.property_words:
        kind = words[1] if words[0] == "list" else words[0]
        if kind not in _PLY_SIZES:
            raise UserError(f"{name}: Damaged header: {kind!r} is no type of a .ply property.")
        total += _PLY_SIZES[kind]
    return total


def checked_stl(data: bytes, name: str) -> bytes:
    """An .stl file, ASCII or binary, the latter cut to the length that its header announces.

    Args:
        data: the file.
        name: for messages.

    Raises:
        UserError: fewer triangles than announced, or none.
    """
    if data[:512].lstrip().startswith(b"solid") and b"facet" in data[:4096]:
        return data
    if len(data) < _STL_HEADER_BYTES:
        raise UserError(
            f"{name}: The .stl is incomplete: expected at least 84 bytes, got {len(data)}; export it again."
        )
    count = int.from_bytes(data[80:84], "little")
    expected = _STL_HEADER_BYTES + _STL_FACE_BYTES * count
    if count == 0:
        raise no_faces(name)
    if len(data) < expected:
        raise UserError(
            f"{name}: The .stl is incomplete: its header announces {count:,} triangles ({expected:,} bytes), got "
            f"{len(data):,} bytes; copy or export it again."
        )
    return data[:expected]


def check_dae(data: bytes, name: str) -> UpAxis:
    """Check a COLLADA file and say which axis it has upwards.

    Args:
        data: the file.
        name: for messages.

    Returns:
        The axis; COLLADA's own default is y.

    Raises:
        UserError: no COLLADA, or XML that defines entities, which can grow without end.
    """
    if b"<COLLADA" not in data[:65_536]:
        raise UserError(f"{name}: Not a .dae file: expected COLLADA at its start.")
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise UserError(f"{name}: expected COLLADA without a document type, got one; export it again.")
    match = re.search(rb"<up_axis>\s*([XYZ])_UP\s*</up_axis>", data)
    axes: dict[bytes, UpAxis] = {b"X": "x", b"Y": "y", b"Z": "z"}
    return axes[match.group(1)] if match else "y"
