"""Objaverse: version 1.0 by its package or from a downloaded folder, XL by a manifest of what was downloaded.

A download of 1.0 is the folder `hf-objaverse-v1` that the package makes:

    object-paths.json.gz        uid -> glbs/000-023/UID.glb
    glbs/000-023/UID.glb        those that were downloaded
    metadata/000-023.json.gz    uid -> annotation: name, license, user, categories, tags, viewerUrl
    lvis-annotations.json.gz    category -> uids, for a part of the objects

XL has no such folder: its files lie where whoever downloaded them put them. Its manifest is the table that the package
gives (fileIdentifier, source, license, fileType, sha256) with a column `path`, relative to the manifest.
"""

import csv
import hashlib
import importlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from distill_core.errors import UserError
from distill_core.records.compressed_json import read_compressed_json
from renderers.sources.objects import SourceObject

logger = logging.getLogger(__name__)

OBJECT_PATHS = "object-paths.json.gz"
_LVIS = "lvis-annotations.json.gz"
_UID = re.compile(r"[0-9a-f]{32}(?:[0-9a-f]{32})?")  # of 1.0; of XL, where it is the SHA-256
_XL_COLUMNS = ("path", "fileIdentifier", "source", "license", "sha256")
# How the annotations write them; a filter may name either form.
_LICENCES = {
    "by": "CC-BY-4.0",
    "by-sa": "CC-BY-SA-4.0",
    "by-nd": "CC-BY-ND-4.0",
    "by-nc": "CC-BY-NC-4.0",
    "by-nc-sa": "CC-BY-NC-SA-4.0",
    "by-nc-nd": "CC-BY-NC-ND-4.0",
    "cc0": "CC0-1.0",
}


@dataclass(frozen=True)
class ObjaverseFilter:
    """Which objects are wanted; an empty choice admits all.

    Attributes:
        categories: names of Sketchfab's categories or of LVIS, in any case.
        licences: as the annotations write them (`by`, `cc0`) or in full (`CC-BY-4.0`), in any case; an object without
            a licence is admitted only where none are named.
        uids: the objects themselves, as in the lists that papers publish.
        limit: at most so many, the first by uid.
    """

    categories: Sequence[str] = ()
    licences: Sequence[str] = ()
    uids: Sequence[str] = ()
    limit: int | None = None


def read_uid_list(path: Path) -> list[str]:
    """Read a list of uids: a JSON list, or text with one a line.

    Raises:
        UserError: no such file, or something else than uids in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        uids = json.loads(text) if text.lstrip().startswith("[") else text.split()
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected a list of uids, as JSON or one a line, got {error}.") from error
    wrong = [uid for uid in uids if not isinstance(uid, str) or not _UID.fullmatch(uid)]
    if wrong or not uids:
        got = repr(wrong[0])[:60] if wrong else "an empty list"
        raise UserError(f"{path}: expected uids of 32 or 64 hexadecimal digits, got {got}; name another list.")
    return uids


def is_download(folder: Path) -> bool:
    """Whether this is `hf-objaverse-v1` of Objaverse 1.0, or the folder that holds it."""
    return (_home(folder) / OBJECT_PATHS).is_file()


def downloaded_objects(folder: Path, wanted: ObjaverseFilter) -> list[SourceObject]:
    """The objects of a downloaded Objaverse 1.0 whose files are there, by uid.

    Args:
        folder: `hf-objaverse-v1`, or the folder that holds it.
        wanted: which of them.

    Raises:
        UserError: no download there, damaged tables, or nothing that is wanted.
    """
    home = _home(folder)
    if not is_download(folder):
        raise UserError(
            f"{folder}: expected a download of Objaverse 1.0 ({OBJECT_PATHS} and glbs/ in hf-objaverse-v1), got none; "
            "name the folder that its package made."
        )
    paths = _compressed_object(home / OBJECT_PATHS)
    files = {}
    for uid, relative in paths.items():
        if (not wanted.uids or uid in wanted.uids) and isinstance(relative, str):
            file = _inside(home, relative, home / OBJECT_PATHS)
            if file.is_file():
                files[uid] = file
    missing = len(set(wanted.uids) - files.keys())
    if missing:
        logger.warning("%s: %d of the %d uids asked for are not downloaded.", home, missing, len(set(wanted.uids)))
    annotations: dict[str, Any] = {}
    for name in sorted({file.parent.name for file in files.values()}):
        table = home / "metadata" / f"{name}.json.gz"
        if table.is_file():
            annotations |= {uid: row for uid, row in _compressed_object(table).items() if uid in files}
    lvis = _compressed_object(home / _LVIS) if (home / _LVIS).is_file() else {}
    return _chosen(files, annotations, lvis, wanted, str(folder))


def fetched_objects(wanted: ObjaverseFilter, *, processes: int = 1) -> list[SourceObject]:
    """Objects of Objaverse 1.0 by its own package, which downloads what is not there yet.

    Args:
        wanted: which; uids, categories or a limit must narrow it, since there are 800,000.
        processes: that download at the same time.

    Raises:
        UserError: the package or the network is missing, or nothing was asked for.
    """
    if not (wanted.uids or wanted.categories or wanted.limit):
        raise UserError(
            "Expected uids, categories or a limit, got none, which asks for all 800,000 objects; name some."
        )
    try:
        objaverse = importlib.import_module("objaverse")
    except ImportError as error:
        raise UserError(
            "Expected the package objaverse, which downloads its objects, got none; run pip install objaverse, or give "
            "a folder that was downloaded elsewhere."
        ) from error
    try:
        lvis = objaverse.load_lvis_annotations() if wanted.categories else {}
        uids = list(wanted.uids) or sorted(objaverse.load_uids())
        if not (wanted.categories or wanted.licences):  # else the annotations of all 800,000 would be fetched too
            uids = uids[: wanted.limit]
        annotations = objaverse.load_annotations(uids)
        chosen = _admitted(uids, annotations, lvis, wanted)
        files = objaverse.load_objects(uids=chosen, download_processes=processes)
    except OSError as error:  # its own words for a lost or missing network are URLError and the like
        raise UserError(
            f"Expected to reach Objaverse's files, got {error}; check the network, or give a folder that was "
            "downloaded elsewhere."
        ) from error
    found = {uid: Path(path) for uid, path in files.items() if Path(path).is_file()}
    return _chosen(found, annotations, lvis, wanted, "Objaverse")


def listed_objects(manifest: Path, wanted: ObjaverseFilter) -> list[SourceObject]:
    """The objects of Objaverse-XL that a manifest lists, in its order; what is gone or was modified is left out, named.

    Args:
        manifest: a table of comma-separated values with the columns path, fileIdentifier, source, license and sha256.
        wanted: licences, uids (the sha256) and limit; XL has no categories.

    Raises:
        UserError: a damaged table, categories asked for, or nothing that is wanted.
    """
    if wanted.categories:
        raise UserError(f"{manifest}: Objaverse-XL states no categories, got a filter by them; give a list of uids.")
    objects: dict[str, SourceObject] = {}  # the same bytes under two addresses are one object
    gone, modified = [], []
    for row in _manifest_rows(manifest):
        uid, licence = row["sha256"].lower(), row["license"] or None
        is_wanted = (not wanted.uids or uid in wanted.uids) and is_licence_admitted(licence, wanted.licences)
        if uid in objects or not is_wanted:
            continue
        path = _inside(manifest.parent, row["path"], manifest)
        if not path.is_file():
            gone.append(row["path"])
        elif _sha256(path) != uid:
            modified.append(row["path"])
        else:
            name = f"{uid[:16]}{path.suffix.lower()}"
            origin = f"{row['source']}: {row['fileIdentifier']}"
            objects[uid] = SourceObject(uid, path, name, licence, None, origin)
        if wanted.limit is not None and len(objects) == wanted.limit:
            break
    for what, names in (("are not there", gone), ("differ from their sha256: they were modified", modified)):
        if names:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            logger.warning("%s: %d files %s (%s): left out.", manifest, len(names), what, shown)
    return _not_empty(list(objects.values()), str(manifest))


def is_licence_admitted(licence: str | None, named: Sequence[str]) -> bool:
    """Whether a licence is one of those named, in either form (`by`, `CC-BY-4.0`) and any case; none named admits all.

    Args:
        licence: as the source states it, None if it does not.
        named: what is wanted.
    """
    if not named:
        return True
    full = {_LICENCES.get(name.casefold(), name).casefold() for name in named}
    return licence is not None and _LICENCES.get(licence.casefold(), licence).casefold() in full


def _home(folder: Path) -> Path:
    return folder / "hf-objaverse-v1" if (folder / "hf-objaverse-v1").is_dir() else folder


def _chosen(
    files: Mapping[str, Path],
    annotations: Mapping[str, Any],
    lvis: Mapping[str, Any],
    wanted: ObjaverseFilter,
    where: str,
) -> list[SourceObject]:
    objects = []
    for uid in _admitted(sorted(files), annotations, lvis, wanted):
        row = annotations.get(uid)
        row = row if isinstance(row, dict) else {}
        user = row.get("user")
        author = (user.get("displayName") or user.get("username")) if isinstance(user, dict) else None
        origin = row.get("viewerUrl") or row.get("uri")
        objects.append(
            SourceObject(uid, files[uid], f"{uid}.glb", _licence(row), _text(author), _text(origin) or "Objaverse 1.0")
        )
    return _not_empty(objects, where)


def _admitted(
    uids: Iterable[str], annotations: Mapping[str, Any], lvis: Mapping[str, Any], wanted: ObjaverseFilter
) -> list[str]:
    """Those of the uids that the filter lets through, in their order, each once."""
    categories = {name.casefold() for name in wanted.categories}
    by_lvis = {
        uid
        for category, members in lvis.items()
        if category.casefold() in categories and isinstance(members, list)
        for uid in members
    }
    admitted: list[str] = []
    for uid in dict.fromkeys(uids):
        row = annotations.get(uid)
        row = row if isinstance(row, dict) else {}
        in_category = not categories or uid in by_lvis or bool(categories & set(_categories(row)))
        if (
            in_category
            and (not wanted.uids or uid in wanted.uids)
            and is_licence_admitted(_licence(row), wanted.licences)
        ):
            admitted.append(uid)
    return admitted[: wanted.limit]


def _categories(row: Mapping[str, Any]) -> Iterator[str]:
    listed = row.get("categories")
    for category in listed if isinstance(listed, list) else []:
        if isinstance(category, dict) and isinstance(category.get("name"), str):
            yield category["name"].casefold()


def _licence(row: Mapping[str, Any]) -> str | None:
    stated = _text(row.get("license"))
    return _LICENCES.get(stated.casefold(), stated) if stated else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _not_empty(objects: list[SourceObject], where: str) -> list[SourceObject]:
    if not objects:
        raise UserError(f"{where}: expected objects that pass the filter and are there, found none; widen the filter.")
    return objects


def _inside(folder: Path, relative: str, source: Path) -> Path:
    if PurePosixPath(relative).is_absolute() or not (folder / relative).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{source}: {relative!r} leads out of the folder; put the file into the folder itself.")
    return folder / relative


def _compressed_object(path: Path) -> dict[str, Any]:
    loaded = read_compressed_json(path)
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: expected a table by uid, got {type(loaded).__name__}; download it again.")
    return loaded


def _manifest_rows(manifest: Path) -> Iterator[dict[str, str]]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in _XL_COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{manifest}: expected the columns {', '.join(_XL_COLUMNS)}, got no {missing[0]}.")
            for row in reader:
                yield {column: row[column] or "" for column in _XL_COLUMNS}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{manifest}: expected a table of comma-separated values in UTF-8: {error}.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
