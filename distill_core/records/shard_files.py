"""Shards: records packed into uncompressed tars that webdataset reads, with an index of counts, offsets and hashes.

    shards.json                     what is in them: see `Shards`
    train-000000.tar, val-...tar    samples one after another; the files of a sample share the name up to its first dot

    KEY.json                        the record's transforms.json; its paths are the names below
    KEY.000.webp or .png            picture of view 0, straight alpha
    KEY.000.depth.png               16 bit, 0.001 units a step
    KEY.000.normals.png             world space

Albedo and objects' numbers stay in the records: nothing that trains on shards reads them.

A sample is one range of bytes, so that it is read from far away in one request and checked by its SHA-256.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from distill_core.errors import UserError
from distill_core.pictures.images import encode_png, encode_webp
from distill_core.records.depth_files import depth_steps, encode_grey16
from distill_core.records.multi_view_record import MultiViewRecord
from distill_core.records.record_sets import RecordSummary, summary_of
from distill_core.records.transforms_files import transforms_text

INDEX_FILE = "shards.json"
INDEX_VERSION = 1
_BLOCK = 512


@dataclass(frozen=True)
class Sample:
    """Where a record lies in a shard.

    Attributes:
        key: the name of its files up to the first dot.
        offset: of its first byte in the tar.
        bytes: its length.
        sha256: of these bytes.
        record: what is known of it without reading them.
    """

    key: str
    offset: int
    bytes: int
    sha256: str
    record: RecordSummary


@dataclass(frozen=True)
class Shard:
    """One tar.

    Attributes:
        file: its name beside the index.
        bytes: its length.
        sha256: of the file.
        samples: in the order of their offsets.
    """

    file: str
    bytes: int
    sha256: str
    samples: list[Sample]


@dataclass(frozen=True)
class PictureEncoding:
    """How shards hold what records hold.

    Attributes:
        picture_format: of the colours.
        webp_quality: 0 to 99, or 100 for exact values.
        with_depth: whether depth is kept.
        with_normals: whether normals are kept.
    """

    picture_format: Literal["webp", "png"] = "webp"
    webp_quality: int = 90
    with_depth: bool = True
    with_normals: bool = True


@dataclass
class _OpenShard:
    file: str
    stream: BinaryIO
    digest: Any = field(default_factory=hashlib.sha256)
    num_bytes: int = 0
    samples: list[Sample] = field(default_factory=list)

    def write(self, content: bytes) -> None:
        self.stream.write(content)
        self.digest.update(content)
        self.num_bytes += len(content)


class ShardWriter:
    """Writes shards into a folder, one open for each split; as a context, it closes them whatever happens.

    Args:
        folder: empty; the set is complete when `finish` has written the index.
        encoding: of the pictures.
        shard_bytes: a shard is closed when it has become as long.
        val_share: share of the objects that are held out.
    """

    def __init__(self, folder: Path, encoding: PictureEncoding, *, shard_bytes: int, val_share: float) -> None:
        self._folder = folder
        self._encoding = encoding
        self._shard_bytes = shard_bytes
        self._val_share = val_share
        self._open: dict[str, _OpenShard] = {}
        self._closed: list[Shard] = []

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for shard in self._open.values():
            shard.stream.close()

    def add(self, name: str, record: MultiViewRecord) -> None:
        """Pack a record.

        Args:
            name: of the record; unique in the set.
            record: its pictures are read here.

        Raises:
            UserError: a damaged picture; nothing of the record is written then.
        """
        key = _key(name)
        text, members = self._members(key, record)
        summary = summary_of(name, json.loads(text), Path(name), self._val_share)
        content = b"".join(_tar_member(file, data) for file, data in [(f"{key}.json", text), *members])
        shard = self._open.get(summary.split) or self._begin(summary.split)
        offset = shard.num_bytes
        shard.write(content)
        shard.samples.append(Sample(key, offset, len(content), hashlib.sha256(content).hexdigest(), summary))
        if shard.num_bytes >= self._shard_bytes:
            self._close(summary.split)

    def finish(self) -> dict[str, Any]:
        """Close the shards, write the index and return it.

        Raises:
            UserError: no record was added.
        """
        for split in list(self._open):
            self._close(split)
        if not self._closed:
            raise UserError("Expected at least one record that can be packed, got none; see what was left out.")
        index = {
            "version": INDEX_VERSION,
            "encoding": asdict(self._encoding),
            "val_share": self._val_share,
            "counts": {split: self._counts(split) for split in ("train", "val")},
            "shards": [asdict(shard) for shard in sorted(self._closed, key=lambda shard: shard.file)],
        }
        with (self._folder / INDEX_FILE).open("w", encoding="utf-8") as stream:
            json.dump(index, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        return index

    def _counts(self, split: str) -> dict[str, int]:
        shards = [shard for shard in self._closed if shard.file.startswith(split)]
        samples = [sample for shard in shards for sample in shard.samples]
        return {
            "shards": len(shards),
            "records": len(samples),
            "views": sum(sample.record.num_views for sample in samples),
            "bytes": sum(shard.bytes for shard in shards),
        }

    def _begin(self, split: str) -> _OpenShard:
        number = sum(shard.file.startswith(split) for shard in self._closed)
        file = f"{split}-{number:06d}.tar"
        self._open[split] = _OpenShard(file, (self._folder / file).open("wb"))
        return self._open[split]

    def _close(self, split: str) -> None:
        shard = self._open.pop(split)
        shard.write(bytes(2 * _BLOCK))  # two empty blocks end a tar
        shard.stream.flush()
        os.fsync(shard.stream.fileno())
        shard.stream.close()
        self._closed.append(Shard(shard.file, shard.num_bytes, shard.digest.hexdigest(), shard.samples))

    def _members(self, key: str, record: MultiViewRecord) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The text of the record's transforms.json and the files that it names."""
        encoding = self._encoding
        stems = [f"{key}.{index:03d}" for index in range(len(record))]
        members = []
        for index, stem in enumerate(stems):
            view = record.read_view(index)
            webp = encoding.picture_format == "webp"
            picture = encode_webp(view.rgba, encoding.webp_quality) if webp else encode_png(view.rgba)
            members.append((f"{stem}.{encoding.picture_format}", picture))
            if view.depth is not None and encoding.with_depth:
                members.append((f"{stem}.depth.png", encode_grey16(depth_steps(view.depth))))
            if view.normals is not None and encoding.with_normals:
                members.append((f"{stem}.normals.png", encode_png(view.normals * 0.5 + 0.5)))
        has_depth = record.depth is not None and encoding.with_depth
        has_normals = record.normals is not None and encoding.with_normals
        paths = {"depth_file_path": [f"{stem}.depth.png" for stem in stems]} if has_depth else {}
        if has_normals:
            paths["normal_file_path"] = [f"{stem}.normals.png" for stem in stems]
        text = transforms_text(
            record.cameras,
            [f"{stem}.{encoding.picture_format}" for stem in stems],
            view_paths=paths,
            times=record.times,
            metadata=record.metadata,
        )
        return text.encode(), members


def tar_members(content: bytes) -> dict[str, bytes]:
    """The files in a range of a tar, by name.

    Args:
        content: whole members, with or without the end of the tar.

    Raises:
        tarfile.TarError: no tar, or cut off in a member.
    """
    members = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None:
                raise tarfile.ReadError(f"{member.name} is no file")
            members[member.name] = stream.read()
    return members


def _key(name: str) -> str:
    """A name without dots, which end a key, nor anything that a file name must not hold; its hash tells it apart."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _tar_member(name: str, content: bytes) -> bytes:
    """A file as a tar holds it: header, content, zeros up to a whole block; without a date, so that bytes repeat."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % _BLOCK)
