"""The validation objects: sixteen posed views of each, at the resolution at which generators are measured.

A validation set is a tar (or a folder that holds one, or a folder of folders) with, for each object, a
folder `NAME/` of `transforms.json` and its pictures. View 0 is the picture that a generator sees, the
others are asked of it.
"""

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import premultiply, unpremultiply
from distill_core.records.multi_view_record import read_record


@dataclass(frozen=True)
class ValidationObject:
    """The true views of one object.

    Attributes:
        name: folder name in the set.
        cameras: one a view, view 0 first.
        pictures: [V, 4, R, R] float32, straight RGBA, 0..1.
    """

    name: str
    cameras: list[Camera]
    pictures: np.ndarray


@contextmanager
def open_validation_set(path: Path, *, limit: int | None = None) -> Iterator[list[Path]]:
    """Yield the record folders of a validation set, sorted by name; a tar is unpacked while they are in use.

    Args:
        path: the tar, a folder that holds exactly one tar, or a folder of record folders.
        limit: keep this many, those whose names have the smallest SHA-256 (all if None).

    Raises:
        UserError: nothing that looks like a validation set is there.
    """
    with _record_folders(path) as folders:
        chosen = folders if limit is None else first_by_hash(folders, limit)
        yield sorted(chosen, key=lambda folder: folder.name)


def read_validation_object(folder: Path, *, resolution: int = 128) -> ValidationObject:
    """Read one object, its pictures reduced to `resolution` by the mean of their premultiplied blocks.

    Raises:
        UserError: the record is broken, or its pictures' side is no multiple of `resolution`.
    """
    record = read_record(folder)
    pictures = np.stack([block_mean(picture, resolution) for picture in record.pictures])
    cameras = [camera.resized(resolution, resolution) for camera in record.cameras]
    return ValidationObject(folder.name, cameras, pictures)


def first_by_hash(folders: list[Path], count: int) -> list[Path]:
    """Return the `count` folders whose names have the smallest SHA-256: a choice that nobody made."""
    return sorted(folders, key=lambda folder: hashlib.sha256(folder.name.encode()).hexdigest())[:count]


def validation_set_sha256(path: Path) -> str:
    """Return the SHA-256 of a validation set: of its tar, or of the names and contents of its records' files.

    Args:
        path: as `open_validation_set` takes it.

    Raises:
        UserError: nothing that looks like a validation set is there.
    """
    if (tar := _tar_of(path)) is not None:
        with tar.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for folder in _folders_with_records(path):
        for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _tar_of(path: Path) -> Path | None:
    """The tar that a path names or holds; None where there are folders of records."""
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    if len(tars) > 1:
        raise UserError(f"Expected one validation tar in {path}, got {len(tars)}; name the file with --data.")
    return tars[0] if tars else None


@contextmanager
def _record_folders(path: Path) -> Iterator[list[Path]]:
    """Yield the record folders of a validation set, unpacked while they are in use."""
    if (packed := _tar_of(path)) is None:
        yield _folders_with_records(path)
        return
    with tempfile.TemporaryDirectory(prefix="validation_views_") as unpacked:
        try:
            with tarfile.open(packed) as tar:
                tar.extractall(unpacked, filter="data")
        except (tarfile.TarError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"Expected a readable tar of views, got {packed} ({reason}); unpack or copy it again."
            ) from error
        yield _folders_with_records(Path(unpacked))


def _folders_with_records(folder: Path) -> list[Path]:
    found = sorted(file.parent for file in folder.glob("*/transforms.json")) if folder.is_dir() else []
    if not found:
        raise UserError(
            f"Expected validation views (a tar, or folders with a transforms.json) at {folder}, found none; "
            "give the folder of val_views.tar with --data."
        )
    return found


def block_mean(rgba: np.ndarray, resolution: int) -> np.ndarray:
    """Reduce a square straight-RGBA picture [4, H, H] to [4, R, R] by the mean of its premultiplied blocks.

    Raises:
        UserError: H is no multiple of R.
    """
    _, height, width = rgba.shape
    if height != width or height % resolution:
        raise UserError(
            f"Expected square views with a side that is a multiple of {resolution} pixels, got {width} x {height}; "
            "render them again at such a size."
        )
    factor = height // resolution
    blocks = premultiply(rgba).reshape(4, resolution, factor, resolution, factor)
    return unpremultiply(blocks.mean(axis=(2, 4), dtype=np.float64).astype(np.float32))
