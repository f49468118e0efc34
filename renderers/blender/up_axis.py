"""Which axis points up in a file that does not say it: the one that the model stands along. Standard library alone."""

from collections.abc import Sequence

_TOUCHES = 0.02  # of the longest side; scans touch their floor with noise


def standing_axis(lowest: Sequence[float], highest: Sequence[float]) -> str | None:
    """The only axis along which a model stands on zero, as people place what they model and scan; None if unclear.

    Args:
        lowest: smallest coordinates x, y, z in the file.
        highest: largest coordinates.
    """
    longest = max(high - low for low, high in zip(lowest, highest, strict=True))
    standing = [axis for axis, low in zip("xyz", lowest, strict=True) if abs(low) <= _TOUCHES * longest]
    return standing[0] if len(standing) == 1 and longest > 0 else None
