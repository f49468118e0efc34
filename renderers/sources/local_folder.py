"""A folder of model files as a source of objects; an `index.csv` in it may say who made them and under what licence."""

import csv
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from distill_core.errors import UserError
from renderers.sources.objects import SourceObject

_LOG = logging.getLogger(__name__)

FILE_TYPES = ("glb", "gltf", "obj", "ply", "stl", "fbx", "dae", "usd", "usda", "usdc", "usdz", "blend")
INDEX_FILE = "index.csv"
_LONGEST_NAME_BYTES = 180  # of 255, since temporary names are longer


def local_objects(folder: Path) -> list[SourceObject]:
    """The model files below a folder, by name; with an `index.csv` (column `file`), those that it names.

    Args:
        folder: is searched to any depth; hidden files and folders are left out. A model file stands for itself.

    Raises:
        UserError: there is no such folder, no model in it, or an index without the column `file`.
    """
    if folder.is_file() and folder.suffix.lower()[1:] in FILE_TYPES:
        return [SourceObject(uid=folder.name, path=folder, name=record_names([folder.name])[0])]
    if not folder.is_dir():
        raise UserError(
            f"Expected a folder of models, or a model (.{', .'.join(FILE_TYPES)}), but {folder} is neither; check the "
            "path."
        )
    index = folder / INDEX_FILE
    rows = _index_rows(index) if index.is_file() else None
    relative_paths = sorted(_model_files(folder)) if rows is None else list(rows)
    if not relative_paths:
        raise UserError(f"Expected models (.{', .'.join(FILE_TYPES)}) in {folder}, found none; name another folder.")
    names = record_names(relative_paths)
    return [
        SourceObject(
            uid=relative,
            path=folder / relative,
            name=name,
            licence=row.get("licence") or row.get("license") or None,
            author=row.get("author") or None,
            origin=row.get("source") or None,
        )
        for relative, name in zip(relative_paths, names, strict=True)
        for row in [(rows or {}).get(relative, {})]
    ]


def record_names(relative_paths: list[str]) -> list[str]:
    """Names of folders for files, one each: the path with its ending, `__` for `/`; long ones are cut.

    The ending stays, so that a model that is added later never changes the name of another. Names that are not
    determined by this alone (cut ones, and paths that have `__` in them or differ in case alone) carry a hash.
    """
    # Hidden names are those of unfinished records.
    plain = [("_" if path.startswith(".") else "") + path.replace("/", "__") for path in relative_paths]
    folded = [name.casefold() for name in plain]
    return [
        f"{_cut(name)}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
        if folded.count(name.casefold()) > 1 or _cut(name) != name
        else name
        for name, path in zip(plain, relative_paths, strict=True)
    ]


def _cut(name: str) -> str:
    return name.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore")


def _model_files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix.lower()[1:] in FILE_TYPES and path.is_file():
            yield relative.as_posix()


def _index_rows(index: Path) -> dict[str, dict[str, str]]:
    try:
        with index.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if "file" not in (reader.fieldnames or []):
                raise UserError(f"{index}: expected a column named file, got {reader.fieldnames}; add it.")
            rows = {PurePosixPath(row["file"]).as_posix(): row for row in reader if row["file"]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{index}: expected a table of comma-separated values in UTF-8: {error}.") from error
    kept = {}
    for name, row in rows.items():
        path = index.parent / name
        if not path.resolve().is_relative_to(index.parent.resolve()):
            raise UserError(f"{index}: {name!r} leads out of the folder; name files in it.")
        if path.suffix.lower()[1:] in FILE_TYPES:
            kept[name] = row
        else:
            _LOG.warning("%s names %s, which is no model: left out.", index, name)
    return kept
