"""One thing to be rendered, whatever source it comes from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceObject:
    """One thing to be rendered, whatever source it comes from.

    Attributes:
        uid: names it within its source, for good.
        path: the model file.
        name: of its record's folder; unique within a job.
        licence: as the source states it, None if it does not.
        author: the same.
        origin: where the source has it from, None if it does not say.
    """

    uid: str
    path: Path
    name: str
    licence: str | None = None
    author: str | None = None
    origin: str | None = None
