"""Sets of records to train on: what is known of each without reading its pictures, and the split it belongs to.

A record belongs to `val` or `train` by the SHA-256 of its object, so that the same object is held out whatever folder
or shard it comes in, and however often it was rendered.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from distill_core.errors import UserError
from distill_core.records.multi_view_record import MultiViewRecord, read_record
from distill_core.records.transforms_files import load_json_object, metadata_of

VAL_SHARE = 0.05
_OPEN_RECORDS = 1024


@dataclass(frozen=True)
class RecordSummary:
    """What is known of a record without opening it.

    Attributes:
        name: of its folder.
        object_id: what the split is decided by: SHA-256 of the model, else its uid, else the name.
        split: "train" or "val".
        num_views: number of its pictures.
        views_of_a_moment: the same in a still record; of one that moves, how many show any moment at least.
        is_normalised: False where it says that its object is not in the unit ball.
        has_depth: whether every view has depth.
        has_normals: whether every view has normals.
    """

    name: str
    object_id: str
    split: str
    num_views: int
    is_normalised: bool
    has_depth: bool
    has_normals: bool
    views_of_a_moment: int


@runtime_checkable  # the shape checks of the tests ask
class RecordSet(Protocol):
    """Records by place.

    Attributes:
        address: where it is, for messages.
        fingerprint: SHA-256 of what the set holds: a training goes on only with the same.
    """

    address: str
    fingerprint: str

    @property
    def summaries(self) -> Sequence[RecordSummary]:
        """What is known of each record."""
        ...

    def read(self, place: int) -> MultiViewRecord:
        """Open the record at a place of `summaries`; safe in any thread."""
        ...


def split_of(object_id: str, val_share: float) -> str:
    """The split of an object: "val" for a share of all objects, chosen by the SHA-256 of their names.

    Args:
        object_id: names the object.
        val_share: 0 to 1.
    """
    number = int.from_bytes(hashlib.sha256(object_id.encode()).digest()[:8], "big")
    return "val" if number < val_share * 2**64 else "train"


def summary_of(name: str, top: Mapping[str, Any], path: Path, val_share: float) -> RecordSummary:
    """What the content of a `transforms.json` says of its record.

    Args:
        name: of the record.
        top: the content.
        path: where it came from, for messages.
        val_share: share of the objects that are held out; a split that the record itself states goes before.

    Raises:
        UserError: no record.
    """
    frames, metadata = top.get("frames"), metadata_of(top, path)
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames) or not frames:
        raise UserError(f'{path}: expected "frames" to be a list of views, got none; export it again.')
    source, normalisation = metadata.get("source"), metadata.get("normalisation")
    named = source if isinstance(source, dict) else {}
    object_id = str(named.get("sha256") or named.get("uid") or name)
    stated = metadata.get("split")
    return RecordSummary(
        name,
        object_id,
        stated if stated in ("train", "val") else split_of(object_id, val_share),
        len(frames),
        not (isinstance(normalisation, dict) and normalisation.get("kind") == "none"),
        all("depth_file_path" in frame for frame in frames),
        all("normal_file_path" in frame for frame in frames),
        _views_of_a_moment(frames),
    )


def _views_of_a_moment(frames: list[dict[str, Any]]) -> int:
    times = Counter(float(time) for frame in frames if isinstance(time := frame.get("time"), int | float))
    return min(times.values()) if times.total() == len(frames) else len(frames)


class RecordFolders:
    """The records in a folder, each in a folder of its own.

    Args:
        folder: that holds them, by name; or one record.
        val_share: share of the objects that are held out.

    Raises:
        UserError: no record in it, or a damaged `transforms.json`.
    """

    def __init__(self, folder: Path, val_share: float = VAL_SHARE) -> None:
        own = folder / "transforms.json"
        files = [own] if own.is_file() else sorted(folder.glob("*/transforms.json"))
        if not files:
            raise UserError(
                f"{folder}: expected records in it (folders with a transforms.json), found none; name another folder."
            )
        self.address = str(folder)
        self.folders = [file.parent for file in files]
        self.summaries = [
            summary_of(file.parent.resolve().name, load_json_object(file), file, val_share) for file in files
        ]
        lines = [f"{file.stat().st_size} {summary}" for file, summary in zip(files, self.summaries, strict=True)]
        self.fingerprint = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
        self._opened = lru_cache(maxsize=_OPEN_RECORDS)(read_record)

    def read(self, place: int) -> MultiViewRecord:
        """Open a record; its pictures are read when they are asked for.

        Raises:
            UserError: whatever a person can mend in it.
        """
        return self._opened(self.folders[place])
