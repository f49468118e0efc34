"""Which axis points up in a file that does not say it: one rule for every renderer. Standard library alone."""

from collections.abc import Sequence
from typing import Literal

UpAxis = Literal["x", "y", "z"]

CUSTOMARY_UP: dict[str, UpAxis] = {"obj": "y", "ply": "z", "stl": "z"}
"""Endings of the formats that do not say it, with the axis that most programs write upwards."""

AUTO_TAKES = "the only one along which the model stands on zero, else y for .obj and z for .ply and .stl"
"""The rule in words, for options."""

_TOUCHES = 0.02  # of the longest side; scans touch their floor with noise


def upward_axis(file_type: str, lowest: Sequence[float], highest: Sequence[float]) -> UpAxis:
    """The axis that a model stands along, or else the format's custom.

    Args:
        file_type: an ending of `CUSTOMARY_UP`.
        lowest: smallest coordinates x, y, z in the file of what its faces use.
        highest: largest coordinates.
    """
    return standing_axis(lowest, highest) or CUSTOMARY_UP[file_type]


def standing_axis(lowest: Sequence[float], highest: Sequence[float]) -> UpAxis | None:
    """The only axis along which a model stands on zero, as people place what they model and scan; None if unclear.

    Args:
        lowest: smallest coordinates x, y, z in the file.
        highest: largest coordinates.
    """
    longest = max(high - low for low, high in zip(lowest, highest, strict=True))
    axes: tuple[UpAxis, ...] = ("x", "y", "z")
    standing: list[UpAxis] = [axis for axis, low in zip(axes, lowest, strict=True) if abs(low) <= _TOUCHES * longest]
    return standing[0] if len(standing) == 1 and longest > 0 else None
