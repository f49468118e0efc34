"""The source that a person means, told by what is there."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from distill_core.errors import UserError
from renderers.sources.by_layout import find_objects
from renderers.sources.settings import SourceSettings

UIDS = [digit * 32 for digit in "123"]
ALL = SourceSettings()


def a_folder(folder: Path) -> Path:
    folder.mkdir()
    for name in ("a.glb", "b.obj", "c.stl"):
        (folder / name).write_bytes(b"model")
    (folder / "index.csv").write_text("file,licence,author\na.glb,CC0-1.0,Ann\nb.obj,CC-BY-4.0,Bob\nc.stl,,\n")
    return folder


def a_download(folder: Path) -> Path:
    """As Objaverse's package leaves it: two of three objects are there."""
    home = folder / "hf-objaverse-v1"
    (home / "metadata").mkdir(parents=True)
    (home / "glbs" / "000-000").mkdir(parents=True)
    paths = {uid: f"glbs/000-000/{uid}.glb" for uid in UIDS}
    rows = {
        uid: {"license": licence, "categories": [{"name": name}], "user": {"displayName": "Ann"}}
        for uid, licence, name in zip(UIDS, ["by", "cc0", "by"], ["Cars", "Animals", "Cars"], strict=True)
    }
    (home / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps(paths).encode()))
    (home / "metadata" / "000-000.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    for uid in UIDS[:2]:
        (home / paths[uid]).write_bytes(b"glTF")
    return folder


def a_manifest(folder: Path) -> Path:
    folder.mkdir()
    lines = ["fileIdentifier,source,license,fileType,sha256,path"]
    for name in ("x.glb", "y.obj"):
        (folder / name).write_text(name)
        digest = hashlib.sha256(name.encode()).hexdigest()
        lines.append(f"https://example.org/{name},github,MIT,{name[-3:]},{digest},{name}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def test_a_source_is_told_by_what_is_there(tmp_path: Path) -> None:
    folder, download, manifest = a_folder(tmp_path / "a"), a_download(tmp_path / "d"), a_manifest(tmp_path / "m")
    assert [thing.uid for thing in find_objects(str(folder), ALL)] == ["a.glb", "b.obj", "c.stl"]
    found = find_objects(str(download), ALL)
    assert [(thing.uid, thing.licence, thing.author) for thing in found] == [
        (UIDS[0], "CC-BY-4.0", "Ann"),
        (UIDS[1], "CC0-1.0", "Ann"),
    ]
    assert find_objects(str(download / "hf-objaverse-v1"), ALL) == [
        type(thing)(**{**vars(thing), "path": thing.path}) for thing in found
    ]
    assert [thing.licence for thing in find_objects(str(manifest), ALL)] == ["MIT", "MIT"]


def test_choices_reach_every_source_that_knows_of_them(tmp_path: Path) -> None:
    folder, download, manifest = a_folder(tmp_path / "a"), a_download(tmp_path / "d"), a_manifest(tmp_path / "m")
    assert [thing.uid for thing in find_objects(str(folder), SourceSettings(licences=("cc0", "by")))] == [
        "a.glb",
        "b.obj",
    ]
    assert len(find_objects(str(folder), SourceSettings(limit=2))) == 2
    assert [thing.uid for thing in find_objects(str(download), SourceSettings(categories=("cars",)))] == UIDS[:1]
    (tmp_path / "uids.txt").write_text(UIDS[1])
    assert [thing.uid for thing in find_objects(str(download), SourceSettings(uids=tmp_path / "uids.txt"))] == [UIDS[1]]
    digest = hashlib.sha256(b"y.obj").hexdigest()
    (tmp_path / "digests.txt").write_text(digest)
    assert [thing.uid for thing in find_objects(str(manifest), SourceSettings(uids=tmp_path / "digests.txt"))] == [
        digest
    ]
    with pytest.raises(UserError, match=r"expected models under by-nd by its index\.csv"):
        find_objects(str(folder), SourceSettings(licences=("by-nd",)))
    with pytest.raises(UserError, match="--categories: expected a source that states them"):
        find_objects(str(folder), SourceSettings(categories=("cars",)))
    with pytest.raises(UserError, match="--uids: expected a source that states them"):
        find_objects(str(folder), SourceSettings(uids=tmp_path / "uids.txt"))


def test_everything_of_objaverse_is_not_asked_for_by_accident() -> None:
    with pytest.raises(UserError, match="asks for all 800,000"):
        find_objects("objaverse", ALL)
