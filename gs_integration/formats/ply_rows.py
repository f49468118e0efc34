"""The rows of an element of a .ply file, by property; nothing is allocated that the file's size does not cover."""

import numpy as np

from .errors import FormatError
from .ply_header import PlyElement, PlyHeader


def element_columns(content: bytes, header: PlyHeader, element: PlyElement, what: str) -> dict[str, np.ndarray]:
    """Find the rows of an element.

    Args:
        content: all of the file.
        header: of that file.
        element: one of the header's.
        what: the rows in words, such as "splats".

    Returns:
        Its values by property, in the file's own types.

    Raises:
        FormatError: a list among the properties or before the rows, damaged or missing rows.
    """
    if any(code is None for code in element.properties.values()):
        raise FormatError(f"Not a file of splats: the element '{element.name}' has a property that is a list.")
    before = header.elements[: header.elements.index(element)]
    if not header.byte_order:
        return _text_columns(content[header.size_bytes :], before, element, what)
    start = header.size_bytes
    for other in before:
        if other.row_bytes is None:
            raise FormatError(f"Cannot find the {what}: the element '{other.name}' before them holds lists.")
        start += other.count * other.row_bytes
    row_bytes = element.row_bytes or 0
    there = max(0, len(content) - start) // row_bytes if row_bytes else 0
    if there < element.count:
        raise FormatError(f"The file is incomplete: {element.count} {what} announced, {there} there.")
    layout = np.dtype([(name, header.byte_order + str(code)) for name, code in element.properties.items()])
    rows = np.frombuffer(content, layout, element.count, start)
    return {name: rows[name] for name in element.properties}


def _text_columns(body: bytes, before: tuple[PlyElement, ...], element: PlyElement, what: str) -> dict[str, np.ndarray]:
    lines = body.splitlines()
    lines = lines[sum(other.count for other in before) :][: element.count]
    if len(lines) < element.count:
        raise FormatError(f"The file is incomplete: {element.count} {what} announced, {len(lines)} there.")
    rows = [line.split() for line in lines]
    if any(len(row) != len(element.properties) for row in rows):
        raise FormatError(f"Damaged rows: expected {len(element.properties)} numbers in every line.")
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError:
        raise FormatError("Damaged rows: expected numbers alone.") from None
    return dict(zip(element.properties, values.T, strict=True))
