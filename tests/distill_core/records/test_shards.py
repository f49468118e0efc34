import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from webdataset.compat import WebDataset

from distill_core.errors import UserError
from distill_core.records.multi_view_record import read_record, write_record
from distill_core.records.record_sets import RecordFolders, split_of
from distill_core.records.shard_files import PictureEncoding, ShardWriter
from distill_core.records.shard_sets import ShardSet, open_record_set
from tests.distill_core.records.record_folders import ball_record, write_balls


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_balls(folder, 6, num_views=2, side_px=16)
    return folder


def pack(records: Path, folder: Path, encoding: PictureEncoding, **options) -> dict:
    folder.mkdir(parents=True)
    found = RecordFolders(records)
    with ShardWriter(folder, encoding, **{"shard_bytes": 1, "val_share": 0.4} | options) as writer:
        for place, summary in enumerate(found.summaries):
            writer.add(summary.name, found.read(place))
        return writer.finish()


@pytest.fixture(scope="module")
def shards(records: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(records, folder, PictureEncoding("png"))
    return folder


# It leaves the closing of its streams to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards_and_decodes_the_pictures(records: Path, shards: Path) -> None:
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    decoded: Any = WebDataset(urls, shardshuffle=False).decode("rgb")  # its annotations lack __iter__
    samples = list(decoded)
    assert len(samples) == 6
    index = json.loads((shards / "shards.json").read_text())
    names = {sample["key"]: sample["record"]["name"] for shard in index["shards"] for sample in shard["samples"]}
    for sample in samples:
        assert set(sample) >= {"json", "000.png", "001.png", "000.depth.png", "001.normals.png"}
        record = read_record(records / names[sample["__key__"]])
        # Its decoder leaves alpha away.
        expected = record.pictures[1][:3].transpose(1, 2, 0)
        np.testing.assert_allclose(sample["001.png"], expected, atol=1e-6)
        text = (records / names[sample["__key__"]] / "transforms.json").read_text()
        matrices = [frame["transform_matrix"] for frame in json.loads(text)["frames"]]
        np.testing.assert_allclose([frame["transform_matrix"] for frame in sample["json"]["frames"]], matrices)


def test_a_shard_gives_back_the_record_that_went_in(records: Path, shards: Path) -> None:
    packed, folders = ShardSet(str(shards)), RecordFolders(records, 0.4)
    by_name = {summary.name: place for place, summary in enumerate(folders.summaries)}
    assert {summary.name for summary in packed.summaries} == set(by_name)
    for place, summary in enumerate(packed.summaries):
        assert summary == folders.summaries[by_name[summary.name]]
        one, other = packed.read(place), folders.read(by_name[summary.name])
        np.testing.assert_array_equal(np.asarray(one.pictures), np.asarray(other.pictures))
        np.testing.assert_array_equal(np.asarray(one.depth), np.asarray(other.depth))
        # Normals are made unit when they are read, and rounded once more: half a step of eight bits in -1..1.
        np.testing.assert_allclose(np.asarray(one.normals), np.asarray(other.normals), atol=0.004)
        for camera, expected in zip(one.cameras, other.cameras, strict=True):
            np.testing.assert_allclose(camera.camera_to_world, expected.camera_to_world, atol=1e-12)
            assert camera.fx == expected.fx
        assert one.metadata == other.metadata


def test_the_index_tells_the_truth(shards: Path) -> None:
    index = json.loads((shards / "shards.json").read_text())
    for shard in index["shards"]:
        content = (shards / shard["file"]).read_bytes()
        assert len(content) == shard["bytes"]
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]
        for sample in shard["samples"]:
            assert sample["record"]["split"] == shard["file"].split("-")[0]
            part = content[sample["offset"] : sample["offset"] + sample["bytes"]]
            assert hashlib.sha256(part).hexdigest() == sample["sha256"]
        with tarfile.open(shards / shard["file"]) as tar:
            assert {name.split(".")[0] for name in tar.getnames()} == {sample["key"] for sample in shard["samples"]}
    counts = index["counts"]
    assert counts["train"]["records"] + counts["val"]["records"] == 6
    assert counts["train"]["views"] == 2 * counts["train"]["records"]
    assert 0 < counts["val"]["records"] < 6


def test_the_same_records_make_the_same_bytes_and_fill_a_shard_to_its_size(records: Path, tmp_path: Path) -> None:
    one = pack(records, tmp_path / "one", PictureEncoding("webp"), shard_bytes=1 << 30, val_share=0)
    assert [shard["file"] for shard in one["shards"]] == ["train-000000.tar"]
    assert one == pack(records, tmp_path / "two", PictureEncoding("webp"), shard_bytes=1 << 30, val_share=0)


def test_webp_keeps_alpha_exactly_and_colour_nearly(records: Path, tmp_path: Path) -> None:
    pack(records, tmp_path / "lossy", PictureEncoding("webp", 90, with_depth=False, with_normals=False))
    pack(records, tmp_path / "exact", PictureEncoding("webp", 100))
    lossy, exact = ShardSet(str(tmp_path / "lossy")), ShardSet(str(tmp_path / "exact"))
    for place, summary in enumerate(exact.summaries):
        expected = read_record(records / summary.name).pictures[0]
        np.testing.assert_array_equal(exact.read(place).pictures[0], expected)
        got = lossy.read(place)
        assert got.depth is None
        assert got.normals is None
        np.testing.assert_array_equal(got.pictures[0][3], expected[3])
        inside = expected[3] == 1
        assert np.abs(got.pictures[0][:3, inside] - expected[:3, inside]).mean() < 0.05


def test_shards_are_read_by_range_from_any_address(shards: Path) -> None:
    memory = fsspec.filesystem("memory")
    for file in shards.iterdir():
        memory.pipe(f"/bucket/set/{file.name}", file.read_bytes())
    far, near = open_record_set("memory://bucket/set"), ShardSet(str(shards))
    assert far.fingerprint == near.fingerprint
    np.testing.assert_array_equal(far.read(3).pictures[1], near.read(3).pictures[1])


def test_a_truncated_shard_is_named_and_left_out(shards: Path, tmp_path: Path, caplog) -> None:
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = ShardSet(str(tmp_path))
    cut, lost = tmp_path / "train-000001.tar", tmp_path / "val-000000.tar"
    cut.write_bytes(cut.read_bytes()[:-700])
    lost.unlink()
    damaged = ShardSet(str(tmp_path))
    assert damaged.left_out == [cut.name, lost.name]
    assert f"{cut}: expected" in caplog.text
    assert f"{lost}: expected" in caplog.text
    assert len(damaged.summaries) == len(whole.summaries) - 2  # one record a shard here
    assert damaged.fingerprint != whole.fingerprint
    for place in range(len(damaged.summaries)):
        damaged.read(place)


def test_changed_bytes_are_found_and_named(shards: Path, tmp_path: Path) -> None:
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    opened = ShardSet(str(tmp_path))
    victim = tmp_path / "train-000000.tar"
    content = bytearray(victim.read_bytes())
    content[2000] ^= 1
    victim.write_bytes(content)
    with pytest.raises(UserError, match=r"train-000000\.tar: expected ball\.\d\d at byte 0"):
        opened.read(0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 7}, "version 7"),
        ({"shards": None}, "expected an index of shards"),
        ({"shards": [{"file": "../x.tar", "bytes": 1, "sha256": "", "samples": []}]}, "no name of a file"),
        ({"shards": []}, "got none"),
    ],
)
def test_an_index_that_cannot_be_is_refused(shards: Path, tmp_path: Path, change: dict, complaint: str) -> None:
    index = json.loads((shards / "shards.json").read_text()) | change
    (tmp_path / "shards.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=complaint):
        ShardSet(str(tmp_path))


def test_what_holds_no_records_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected records in it"):
        open_record_set(str(tmp_path))
    with pytest.raises(UserError, match="is none; check the path"):
        open_record_set(str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"expected shards\.json of a set"):
        open_record_set("memory://nothing/here")
    with pytest.raises(UserError, match="an address that fsspec knows"):
        open_record_set("nosuchprotocol://x")


def test_the_split_follows_the_object_not_its_folder(tmp_path: Path) -> None:
    held_out = next(f"object {number}" for number in range(100) if split_of(f"object {number}", 0.05) == "val")
    shares = [split_of(str(number), 0.05) == "val" for number in range(4000)]
    assert abs(np.mean(shares) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)  # four deviations of a binomial
    for name in ("a", "b"):
        metadata = {"source": {"uid": held_out}}
        write_record(ball_record(num_views=2, side_px=8, metadata=metadata), tmp_path / name)
    stated = {"source": {"uid": held_out}, "split": "train"}
    write_record(ball_record(num_views=2, side_px=8, metadata=stated), tmp_path / "c")
    assert [summary.split for summary in RecordFolders(tmp_path).summaries] == ["val", "val", "train"]
