"""Names of objects as names of files."""

import re
from collections.abc import Sequence

from ..protocol import name_problem

_LONGEST = 60


def model_names(names: Sequence[str]) -> list[str]:
    """Return names of files that every system admits, one an object, no two alike.

    Args:
        names: of objects, any text.

    Returns:
        Without an ending. What differs in upper and lower case alone counts as alike.
    """
    plain = [_plain(name) for name in names]
    folded = [name.casefold() for name in plain]
    taken = {name for name in folded if folded.count(name) == 1}
    return [name if name.casefold() in taken else _numbered(name, taken) for name in plain]


def _plain(name: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:_LONGEST].strip("_") or "object"
    return kept if name_problem(kept) is None else f"{kept}_object"


def _numbered(name: str, taken: set[str]) -> str:
    """A name with the first number that makes it new; it is taken from then on."""
    number = 1
    while (numbered := f"{name}-{number}").casefold() in taken:
        number += 1
    taken.add(numbered.casefold())
    return numbered
