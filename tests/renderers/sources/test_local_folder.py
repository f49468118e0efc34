from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_core.errors import UserError
from renderers.sources.local_folder import local_objects, record_names

path_parts = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=90)


@given(st.lists(st.lists(path_parts, min_size=1, max_size=4).map("/".join), unique=True, max_size=8))
def test_names_of_records_are_names_of_different_visible_folders(paths: list[str]) -> None:
    names = record_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    for name in names:
        assert "/" not in name
        assert not name.startswith(".")
        assert len(name.encode()) < 220


def test_a_name_does_not_depend_on_other_models() -> None:
    assert record_names(["a/b.glb", "c.obj"]) == ["a__b.glb", "c.obj"]
    assert record_names(["a/b.glb", "a/b.obj", "c.obj"])[0] == "a__b.glb"


def test_models_are_found_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.glb", "a/c.OBJ", "a/c.mtl", ".hidden/d.glb", "notes.txt", "a/ß 茶.ply"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [thing.uid for thing in local_objects(tmp_path)] == ["a/c.OBJ", "a/ß 茶.ply", "b.glb"]


def test_a_model_file_stands_for_itself_as_it_would_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a taxi.GLB").touch()
    (tmp_path / "notes.txt").touch()
    assert local_objects(tmp_path / "a taxi.GLB") == local_objects(tmp_path)
    with pytest.raises(UserError, match=r"notes.txt is neither"):
        local_objects(tmp_path / "notes.txt")


def test_an_index_says_which_models_and_whose(tmp_path: Path) -> None:
    for name in ("a.glb", "b.glb"):
        (tmp_path / name).touch()
    (tmp_path / "index.csv").write_text("file,source,licence,author\n./b.glb,A museum,CC-BY-4.0,Ann\nread.me,,,\n")
    (thing,) = local_objects(tmp_path)
    assert (thing.uid, thing.licence, thing.author, thing.origin) == ("b.glb", "CC-BY-4.0", "Ann", "A museum")


def test_the_assets_are_the_forty_of_their_index(shared_assets: Path) -> None:
    things = local_objects(shared_assets / "mixed_formats")
    assert len(things) == 40
    assert all(thing.path.is_file() and thing.licence for thing in things)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none"):
        local_objects(tmp_path)
    with pytest.raises(UserError, match="is neither"):
        local_objects(tmp_path / "nowhere")
    (tmp_path / "index.csv").write_text("file\n../../etc/passwd.glb\n")
    with pytest.raises(UserError, match="leads out"):
        local_objects(tmp_path)
    (tmp_path / "index.csv").write_text("name\nx\n")
    with pytest.raises(UserError, match="column named file"):
        local_objects(tmp_path)
