"""Objaverse's folders as its package lays them out; nothing here reaches the network."""

import ast
import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill_core.errors import UserError
from renderers.sources.objaverse import (
    ObjaverseFilter,
    downloaded_objects,
    fetched_objects,
    listed_objects,
    read_uid_list,
)
from tests.scripts.processes import environment

CHAIR, CAR, CAT, LOST = ("1" * 32, "2" * 32, "3" * 32, "4" * 32)


def annotation(licence: str | None, category: str, user: str) -> dict:
    return {
        "license": licence,
        "categories": [{"name": category}],
        "user": {"username": user.lower(), "displayName": user},
        "viewerUrl": f"https://example.org/{user}",
    }


@pytest.fixture
def download(tmp_path: Path) -> Path:
    home = tmp_path / "hf-objaverse-v1"
    places = {CHAIR: "000-000", CAR: "000-000", CAT: "000-001", LOST: "000-001"}
    tables = {
        "000-000": {CHAIR: annotation("by", "Furniture & Home", "Ann"), CAR: annotation("by-nc", "Cars", "Bob")},
        "000-001": {CAT: annotation("cc0", "Animals", "Cy"), LOST: annotation("by", "Animals", "Di")},
    }
    (home / "metadata").mkdir(parents=True)
    for uid, place in places.items():
        (home / "glbs" / place).mkdir(parents=True, exist_ok=True)
        if uid != LOST:
            (home / "glbs" / place / f"{uid}.glb").write_bytes(b"glTF" + uid.encode())
    for place, table in tables.items():
        (home / "metadata" / f"{place}.json.gz").write_bytes(gzip.compress(json.dumps(table).encode()))
    paths = {uid: f"glbs/{place}/{uid}.glb" for uid, place in places.items()}
    (home / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps(paths).encode()))
    lvis = {"armchair": [CHAIR], "cat": [CAT, LOST]}
    (home / "lvis-annotations.json.gz").write_bytes(gzip.compress(json.dumps(lvis).encode()))
    return tmp_path


def test_a_download_yields_what_is_there_with_licence_and_author(download: Path) -> None:
    found = downloaded_objects(download, ObjaverseFilter())
    assert [thing.uid for thing in found] == [CHAIR, CAR, CAT]
    chair = found[0]
    assert chair.path == download / "hf-objaverse-v1" / "glbs" / "000-000" / f"{CHAIR}.glb"
    assert (chair.licence, chair.author, chair.origin) == ("CC-BY-4.0", "Ann", "https://example.org/Ann")
    assert [thing.licence for thing in found] == ["CC-BY-4.0", "CC-BY-NC-4.0", "CC0-1.0"]
    assert len({thing.name for thing in found}) == 3
    assert downloaded_objects(download / "hf-objaverse-v1", ObjaverseFilter()) == found


@pytest.mark.parametrize(
    ("wanted", "uids"),
    [
        (ObjaverseFilter(categories=["cars"]), [CAR]),
        (ObjaverseFilter(categories=["Armchair", "animals"]), [CHAIR, CAT]),
        (ObjaverseFilter(licences=["by", "CC0-1.0"]), [CHAIR, CAT]),
        (ObjaverseFilter(licences=["cc-by-nc-4.0"]), [CAR]),
        (ObjaverseFilter(uids=[CAT, CAR]), [CAR, CAT]),
        (ObjaverseFilter(limit=2), [CHAIR, CAR]),
        (ObjaverseFilter(licences=["by-nc", "cc0"], limit=1), [CAR]),
    ],
)
def test_filters_choose_by_category_licence_and_uid(download: Path, wanted: ObjaverseFilter, uids: list[str]) -> None:
    assert [thing.uid for thing in downloaded_objects(download, wanted)] == uids


def test_what_was_asked_for_and_is_not_there_is_counted(download: Path, caplog) -> None:
    assert [thing.uid for thing in downloaded_objects(download, ObjaverseFilter(uids=[CAT, LOST]))] == [CAT]
    assert "1 of the 2 uids asked for are not downloaded" in caplog.text
    with pytest.raises(UserError, match="widen the filter"):
        downloaded_objects(download, ObjaverseFilter(categories=["boats"]))
    with pytest.raises(UserError, match="expected a download of Objaverse"):
        downloaded_objects(download / "hf-objaverse-v1" / "glbs", ObjaverseFilter())


def test_an_object_without_annotation_has_no_licence_and_passes_no_filter_by_it(download: Path) -> None:
    (download / "hf-objaverse-v1" / "metadata" / "000-001.json.gz").unlink()
    assert [thing.licence for thing in downloaded_objects(download, ObjaverseFilter())][-1] is None
    assert [thing.uid for thing in downloaded_objects(download, ObjaverseFilter(licences=["cc0", "by"]))] == [CHAIR]


@pytest.mark.parametrize(
    "content", [b"", b"text", gzip.compress(b"[]"), gzip.compress(b"{"), gzip.compress(b"{}")[:-4]]
)
def test_damaged_tables_are_refused(download: Path, content: bytes) -> None:
    (download / "hf-objaverse-v1" / "object-paths.json.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"object-paths\.json\.gz: expected"):
        downloaded_objects(download, ObjaverseFilter())


def test_paths_do_not_leave_the_download(download: Path) -> None:
    content = gzip.compress(json.dumps({CHAIR: "../../etc/passwd"}).encode())
    (download / "hf-objaverse-v1" / "object-paths.json.gz").write_bytes(content)
    with pytest.raises(UserError, match="leads out"):
        downloaded_objects(download, ObjaverseFilter())


def test_uid_lists_are_json_or_lines(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([CHAIR, CAT]))
    (tmp_path / "list.txt").write_text(f"{CHAIR}\n{CAT}\n")
    assert read_uid_list(tmp_path / "list.json") == read_uid_list(tmp_path / "list.txt") == [CHAIR, CAT]
    for wrong in ("[1, 2]", "[]", "", "not-a-uid", "[" * 100_000):
        (tmp_path / "wrong").write_text(wrong)
        with pytest.raises(UserError, match="expected"):
            read_uid_list(tmp_path / "wrong")


def test_a_manifest_of_xl_leaves_out_what_is_gone_or_was_modified(tmp_path: Path, caplog) -> None:
    contents = {"a/one.glb": b"one", "b/two.OBJ": b"two", "three.stl": b"three", "copy.glb": b"one"}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    lines = ["fileIdentifier,source,license,fileType,sha256,path"]
    lines += [f"https://example.org/{name},github,MIT,x,{digest},{name}" for name, digest in digests.items()]
    lines += [f"https://example.org/gone,smithsonian,CC0,glb,{'0' * 64},gone.glb"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if name != "three.stl" else b"changed")
    found = listed_objects(tmp_path / "manifest.csv", ObjaverseFilter())
    assert [thing.path.name for thing in found] == ["one.glb", "two.OBJ"]  # the copy is the same object
    assert found[0].uid == digests["a/one.glb"]
    assert (found[0].licence, found[0].origin) == ("MIT", "github: https://example.org/a/one.glb")
    assert "1 files are not there (gone.glb)" in caplog.text
    assert "1 files differ from their sha256: they were modified (three.stl)" in caplog.text
    only = listed_objects(tmp_path / "manifest.csv", ObjaverseFilter(uids=[digests["b/two.OBJ"]]))
    assert [thing.path.name for thing in only] == ["two.OBJ"]
    with pytest.raises(UserError, match="states no categories"):
        listed_objects(tmp_path / "manifest.csv", ObjaverseFilter(categories=["cars"]))
    (tmp_path / "bad.csv").write_text("name,url\n")
    with pytest.raises(UserError, match="got no path"):
        listed_objects(tmp_path / "bad.csv", ObjaverseFilter())


def test_the_package_itself_finds_what_it_downloaded(download: Path) -> None:
    """What it has already is not fetched again, so that this needs no network; a wrong folder would."""
    if importlib.util.find_spec("objaverse") is None:
        pytest.skip("needs the package objaverse")
    (download / ".objaverse").mkdir()
    (download / "hf-objaverse-v1").rename(download / ".objaverse" / "hf-objaverse-v1")
    code = (
        "from renderers.sources.objaverse import *\n"
        f"found = fetched_objects(ObjaverseFilter(uids={[CHAIR, CAT]!r}))\n"
        "print([(thing.uid, thing.licence, thing.author, thing.path.is_file()) for thing in found])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(HOME=str(download)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = [(CHAIR, "CC-BY-4.0", "Ann", True), (CAT, "CC0-1.0", "Cy", True)]
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == expected


def test_asking_for_everything_or_without_the_package_is_a_sentence() -> None:
    with pytest.raises(UserError, match="asks for all 800,000"):
        fetched_objects(ObjaverseFilter())
    if importlib.util.find_spec("objaverse") is not None:
        pytest.skip("the package objaverse is installed here")
    with pytest.raises(UserError, match="pip install objaverse"):
        fetched_objects(ObjaverseFilter(limit=1))
