"""The header of a .ply file: elements, their properties, comments (Turk, The PLY Polygon File Format, 1994)."""

from dataclasses import dataclass

from .errors import FormatError

LONGEST_HEADER_BYTES = 65_536

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}


@dataclass(frozen=True)
class PlyElement:
    """One kind of rows.

    Args:
        name: such as "vertex".
        count: number of rows as announced.
        properties: numpy type codes by name, without byte order; None for a list.
    """

    name: str
    count: int
    properties: dict[str, str | None]

    @property
    def row_bytes(self) -> int | None:
        """Bytes of a binary row; None where lists make rows differ."""
        codes = list(self.properties.values())
        return None if None in codes else sum(int(code[1]) for code in codes if code)


@dataclass(frozen=True)
class PlyHeader:
    """What a file says of itself.

    Args:
        byte_order: numpy's "<" or ">", or "" for text.
        elements: in the order of the file.
        comments: in the order of the file, without the keyword.
        size_bytes: where the rows begin.
    """

    byte_order: str
    elements: tuple[PlyElement, ...]
    comments: tuple[str, ...]
    size_bytes: int

    def element(self, name: str) -> PlyElement | None:
        """Return the element of a name, if there is one."""
        return next((element for element in self.elements if element.name == name), None)


def parse_header(start: bytes) -> PlyHeader:
    """Read the header from a file's first bytes.

    Args:
        start: the file's first `LONGEST_HEADER_BYTES`, or all of a shorter file.

    Raises:
        FormatError: no .ply file, or a damaged header.
    """
    if not start:
        raise FormatError("The file is empty (0 bytes).")
    if not start.startswith(b"ply") or start[3:4] not in (b"\n", b"\r"):
        raise FormatError("Not a .ply file: it does not begin with the line 'ply'.")
    # Lines end in \n, \r\n or (old Macintosh) \r; rows begin right after the line end of end_header.
    line_end = b"\r\n" if start[3:5] == b"\r\n" else start[3:4]
    end = start.find(line_end + b"end_header" + line_end)
    if end < 0:
        raise FormatError(f"Damaged header: no end_header in the first {len(start)} bytes.")
    lines = [line.decode("utf-8", "replace").strip() for line in start[:end].split(line_end)[1:]]
    byte_order, elements, comments = None, [], []
    for line in filter(None, lines):
        keyword, _, rest = line.partition(" ")
        words = rest.split()
        if keyword == "format":
            if not words or words[0] not in _BYTE_ORDERS:
                raise FormatError(f"Damaged header: expected a format of {', '.join(_BYTE_ORDERS)}, got '{line}'.")
            byte_order = _BYTE_ORDERS[words[0]]
        elif keyword in ("comment", "obj_info"):
            comments.append(rest.strip())
        elif keyword == "element":
            elements.append(PlyElement(*_element(line, words), {}))
        elif keyword == "property" and elements:
            _add_property(line, words, elements[-1])
        else:
            raise FormatError(f"Damaged header: cannot read the line '{line[:80]}'.")
    if byte_order is None:
        raise FormatError("Damaged header: no line 'format'.")
    return PlyHeader(byte_order, tuple(elements), tuple(comments), end + len(line_end) * 2 + len(b"end_header"))


def _element(line: str, words: list[str]) -> tuple[str, int]:
    if len(words) != 2:
        raise FormatError(f"Damaged header: expected a name and a count, got '{line[:80]}'.")
    name, count = words
    if not (count.isascii() and count.isdigit() and len(count) < 19):
        raise FormatError(f"Damaged header: {name} count {count[:40]}, expected a whole number from 0.")
    return name, int(count)


def _add_property(line: str, words: list[str], element: PlyElement) -> None:
    is_list = words[:1] == ["list"]
    types = words[1:-1] if is_list else words[:-1]
    if len(types) != (2 if is_list else 1) or any(kind not in _TYPES for kind in types):
        raise FormatError(f"Damaged header: cannot read the property '{line[:80]}'.")
    name = words[-1]
    if name in element.properties:
        raise FormatError(f"Damaged header: the property {name[:40]} appears twice.")
    element.properties[name] = None if is_list else _TYPES[types[0]]
