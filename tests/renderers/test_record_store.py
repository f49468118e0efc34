"""Records put where many machines put them: a shared folder, and an address that fsspec keeps in memory."""

import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from distill_core.errors import UserError
from renderers.record_store import RecordStore


@pytest.fixture
def record(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch" / "chair.glb"
    for name in ("transforms.json", "images/000.png", "depth/000.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"{name} of the chair".encode())
    return folder


@pytest.fixture(params=["folder", "file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "records").mkdir()
    match request.param:
        case "folder":
            return str(tmp_path / "records")
        case "file":
            return (tmp_path / "records").as_uri()
        case _:
            return f"memory://{uuid.uuid4().hex}/records"


def test_a_record_is_there_when_all_of_it_is(address: str, record: Path) -> None:
    store = RecordStore(address)
    assert not store.has("chair.glb")
    store.put(record, "chair.glb")
    assert store.has("chair.glb")
    assert RecordStore(address).has("chair.glb")
    for name in ("transforms.json", "images/000.png", "depth/000.png"):
        assert store.read_file("chair.glb", name) == (record / name).read_bytes()
    store.put(record, "chair.glb")  # a node that was thought to be lost
    assert store.read_file("chair.glb", "transforms.json") == b"transforms.json of the chair"
    with pytest.raises(UserError, match=r"expected images/001\.png in the record chair\.glb"):
        store.read_file("chair.glb", "images/001.png")


def test_what_was_not_finished_far_away_is_no_record_and_is_finished_later(record: Path) -> None:
    """The order of the files is what makes a record whole where nothing can be renamed."""
    address = f"memory://{uuid.uuid4().hex}/records"
    system, root = fsspec.core.url_to_fs(address)
    written = []
    put_file = system.put_file

    def until_the_line_breaks(source: str, target: str) -> None:
        if len(written) == 2:
            raise ConnectionResetError("line broken")
        written.append(target)
        put_file(source, target)

    store = RecordStore(address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._system, "put_file", until_the_line_breaks)
        with pytest.raises(UserError, match="line broken"):
            store.put(record, "chair.glb")
    assert len(written) == 2
    assert not store.has("chair.glb")
    store.put(record, "chair.glb")
    assert store.has("chair.glb")
    assert system.exists(f"{root}/chair.glb/images/000.png")


def test_two_that_put_the_same_record_at_once_leave_one_and_nothing_besides(record: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    store = RecordStore(str(tmp_path / "records"))
    gate, errors = threading.Barrier(4), []

    def put() -> None:
        gate.wait()
        try:
            store.put(record, "chair.glb")
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [entry.name for entry in (tmp_path / "records").iterdir()] == ["chair.glb"]
    assert store.has("chair.glb")


def test_a_folder_that_cannot_be_written_is_named(record: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: expected to write chair\.glb there"):
        RecordStore(str(tmp_path / "file")).put(record, "chair.glb")
    with pytest.raises(UserError, match="Expected a folder or an address that fsspec knows, got odd://x"):
        RecordStore("odd://x")
