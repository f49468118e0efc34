"""Shards read from a folder or any address that fsspec knows, a record a request."""

import hashlib
import json
import logging
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np

from distill_core.errors import UserError
from distill_core.pictures.images import decode_picture
from distill_core.records.addresses import file_system
from distill_core.records.depth_files import decode_depth
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord
from distill_core.records.record_files import decode_normals
from distill_core.records.record_sets import RecordFolders, RecordSet, RecordSummary
from distill_core.records.shard_files import INDEX_FILE, INDEX_VERSION, Sample, Shard, tar_members
from distill_core.records.transforms_files import metadata_of, parse_json_object, views_of

logger = logging.getLogger(__name__)

_MAX_INDEX_BYTES = 1 << 30
_MAX_SAMPLE_BYTES = 1 << 31


class ShardSet:
    """The records of a set of shards.

    A shard that is missing or shorter than the index says is named in a warning and left out.

    Args:
        address: a folder, or an address such as s3://bucket/shards.

    Raises:
        UserError: no index there, a damaged one, or no shard that is whole.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._file_system, self._root = file_system(address)
        content = self._read_index()
        shards, self.left_out = self._whole_shards(_parsed_index(content, f"{address}/{INDEX_FILE}"))
        self._places = [(shard, sample) for shard in shards for sample in shard.samples]
        self.summaries = [sample.record for _, sample in self._places]
        if not self.summaries:
            raise UserError(f"{address}: expected shards that are whole, got none; copy the set again.")
        # Without a shard, positions mean other records: a training must not go on as if nothing had happened.
        self.fingerprint = hashlib.sha256(content + json.dumps(self.left_out).encode()).hexdigest()

    def read(self, place: int) -> MultiViewRecord:
        """Fetch a record; its pictures are decoded when they are asked for.

        Raises:
            UserError: the sample cannot be read or is not what the index says.
        """
        shard, sample = self._places[place]
        where = f"{self.address}/{shard.file}"
        try:
            content = self._file_system.cat_file(
                f"{self._root}/{shard.file}", start=sample.offset, end=sample.offset + sample.bytes
            )
        except OSError as error:
            raise UserError(f"{where}: expected to read {sample.record.name}, got: {error}; copy it again.") from error
        if hashlib.sha256(content).hexdigest() != sample.sha256:
            raise UserError(
                f"{where}: expected {sample.record.name} at byte {sample.offset} as the index describes it, got other "
                "bytes; copy the shard again."
            )
        return record_of_sample(content, sample.key, where)

    def places_in(self, file: str) -> list[int]:
        """The places of the records of one shard, by its file's name; none of a shard that was left out."""
        return [place for place, (shard, _) in enumerate(self._places) if shard.file == file]

    def _read_index(self) -> bytes:
        path = f"{self._root}/{INDEX_FILE}"
        try:
            size = self._file_system.info(path)["size"]
            if size is not None and size > _MAX_INDEX_BYTES:
                raise UserError(
                    f"{self.address}: expected an index of at most {_MAX_INDEX_BYTES:,} bytes, got {size:,}."
                )
            return self._file_system.cat_file(path)
        except OSError as error:
            raise UserError(
                f"{self.address}: expected {INDEX_FILE} of a set of shards, got: {error}; make one with make_shards.py."
            ) from error

    def _whole_shards(self, shards: list[Shard]) -> tuple[list[Shard], list[str]]:
        whole, left_out = [], []
        for shard in shards:
            try:
                size = self._file_system.info(f"{self._root}/{shard.file}")["size"]
            except OSError:
                size = None
            if size == shard.bytes:
                whole.append(shard)
                continue
            got = "no file" if size is None else f"{size:,}"
            logger.warning(
                "%s/%s: expected %s bytes, got %s: its %d records are left out; copy it again.",
                self.address,
                shard.file,
                f"{shard.bytes:,}",
                got,
                len(shard.samples),
            )
            left_out.append(shard.file)
        return whole, left_out


def record_of_sample(content: bytes, key: str, where: str) -> MultiViewRecord:
    """The record that the bytes of a sample hold.

    Args:
        content: of the sample.
        key: its name up to the first dot.
        where: the shard, for messages.

    Raises:
        UserError: a sample that does not hold what its transforms.json names.
    """
    source = Path(where) / f"{key}.json"
    try:
        members = tar_members(content)
        text = members[source.name]
    except (tarfile.TarError, KeyError) as error:
        raise UserError(f"{where}: expected a sample {key}, got a damaged one ({error}); copy it again.") from error
    top = parse_json_object(text, source)
    stated = views_of(top, source)

    def member(name: str | None) -> bytes:
        if name is None or name not in members:
            raise UserError(f"{source}: expected {name} in its sample, got none; pack the records again.")
        return members[name]

    def rgba(name: str | None) -> np.ndarray:
        path = Path(where) / str(name)
        return decode_picture(member(name), path, smallest_side_px=1, allow_empty=True).rgba

    def depth(name: str | None) -> np.ndarray:
        return decode_depth(member(name), Path(where) / str(name))

    def normals(name: str | None) -> np.ndarray:
        return decode_normals(rgba(name))

    cameras = []
    for view in stated:
        if view.stated_size is None:
            raise UserError(f"{source}, {view.label}: expected w and h of the picture, got none; pack it again.")
        cameras.append(view.camera_at(*view.stated_size))
    has_depth, has_normals = stated[0].depth_path is not None, stated[0].normals_path is not None
    return MultiViewRecord(
        cameras=cameras,
        pictures=LazyViews([partial(rgba, view.picture_path) for view in stated]),
        depth=LazyViews([partial(depth, view.depth_path) for view in stated]) if has_depth else None,
        normals=LazyViews([partial(normals, view.normals_path) for view in stated]) if has_normals else None,
        metadata=metadata_of(top, source),
        names=[view.picture_path for view in stated],
        times=[view.time for view in stated if view.time is not None],
    )


def open_record_set(address: str) -> RecordSet:
    """The records at an address: shards where there is an index of them, else folders.

    Args:
        address: a folder, or for shards anything that fsspec knows.

    Raises:
        UserError: neither is there.
    """
    if "://" in address or (Path(address) / INDEX_FILE).is_file():
        return ShardSet(address)
    if not Path(address).is_dir():
        raise UserError(f"Expected a folder of records or shards, but {address} is none; check the path.")
    return RecordFolders(Path(address))


def _parsed_index(content: bytes, where: str) -> list[Shard]:
    index = parse_json_object(content, Path(where))
    if index.get("version") != INDEX_VERSION:
        _refuse(where, f"version {index.get('version')!r}; it is of another version of this program")
    try:
        return [_parsed_shard(row) for row in index["shards"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        _refuse(where, f"{error!r}")


def _parsed_shard(row: Mapping[str, Any]) -> Shard:
    file, size = str(row["file"]), int(row["bytes"])
    if PurePosixPath(file).name != file or "\\" in file:
        raise ValueError(f"{file!r} is no name of a file beside the index")
    samples = [
        Sample(
            str(sample["key"]),
            int(sample["offset"]),
            int(sample["bytes"]),
            str(sample["sha256"]),
            _parsed_summary(sample["record"]),
        )
        for sample in row["samples"]
    ]
    for sample in samples:
        if not (0 <= sample.offset <= sample.offset + sample.bytes <= size and sample.bytes <= _MAX_SAMPLE_BYTES):
            raise ValueError(f"{sample.key} does not lie in {file}")
    return Shard(file, size, str(row["sha256"]), samples)


def _parsed_summary(row: Mapping[str, Any]) -> RecordSummary:
    if row["split"] not in ("train", "val"):
        raise ValueError(f"{row['name']!r} is of the split {row['split']!r}")
    return RecordSummary(
        str(row["name"]),
        str(row["object_id"]),
        row["split"],
        int(row["num_views"]),
        is_normalised=row["is_normalised"] is True,
        has_depth=row["has_depth"] is True,
        has_normals=row["has_normals"] is True,
        views_of_a_moment=int(row.get("views_of_a_moment", row["num_views"])),  # older sets hold still records alone
    )


def _refuse(where: str, got: str) -> NoReturn:
    raise UserError(f"{where}: expected an index of shards, got {got}; make the shards again.")
