from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.distillation.record_views import RecordViews, RecordViewsSettings
from distill_core.errors import UserError
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord, read_record, write_record
from distill_core.records.record_sets import RecordFolders, split_of
from distill_core.records.shard_files import PictureEncoding, ShardWriter
from distill_core.records.shard_sets import ShardSet
from tests.distill_core.records.record_folders import RADIUS, ball_record, write_balls

SMALL = RecordViewsSettings(resolution_px=16)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_balls(folder, 9, num_views=8, side_px=16)
    return folder


@pytest.fixture(scope="module")
def shards(records: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    found = RecordFolders(records)
    with ShardWriter(folder, PictureEncoding("png"), shard_bytes=30_000, val_share=0.3) as writer:
        for place, summary in enumerate(found.summaries):
            writer.add(summary.name, found.read(place))
        writer.finish()
    return folder


def same(one, other) -> None:
    for name, value in vars(one).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(other, name)), name
    for camera, expected in zip(one.cameras, other.cameras, strict=True):
        np.testing.assert_array_equal(camera.camera_to_world, expected.camera_to_world)


def test_draws_of_a_moving_record_show_one_moment(tmp_path: Path) -> None:
    """Four moments of a ball in four colours, eight cameras each, from folders and through shards."""
    moments = [ball_record(seed, num_views=8, side_px=16) for seed in range(4)]
    moving = MultiViewRecord(
        cameras=[camera for moment in moments for camera in moment.cameras],
        pictures=np.concatenate([np.asarray(moment.pictures) for moment in moments]),
        depth=np.concatenate([np.asarray(moment.depth) for moment in moments]),
        normals=np.concatenate([np.asarray(moment.normals) for moment in moments]),
        metadata=moments[0].metadata | {"split": "train"},
        times=[number / 3 for number in range(4) for _ in range(8)],
    )
    write_record(moving, tmp_path / "records" / "ball")
    (tmp_path / "shards").mkdir()
    with ShardWriter(tmp_path / "shards", PictureEncoding("png"), shard_bytes=1, val_share=0.0) as writer:
        writer.add("ball", read_record(tmp_path / "records" / "ball"))
        writer.finish()
    for found in (RecordFolders(tmp_path / "records"), ShardSet(str(tmp_path / "shards"))):
        assert found.summaries[0].views_of_a_moment == 8
        drawn = RecordViews(found, SMALL, seed=1)
        seen = set()
        for index in range(12):
            pictures = drawn.draw(index).pictures.numpy()
            colours = np.stack([view[:3, view[3] > 0.99].mean(axis=1) for view in pictures])
            assert np.ptp(colours, axis=0).max() < 0.01  # framing resamples
            seen.add(tuple(np.round(colours[0] * 16)))
        assert len(seen) >= 3  # recoloured at random, and of four moments
        with pytest.raises(UserError, match="fewer than the 9 views"):
            RecordViews(found, RecordViewsSettings(resolution_px=16, targets=8), seed=1)


@pytest.mark.parametrize("kind", ["folders", "shards"])
def test_four_workers_meet_every_training_record_once_an_epoch_and_no_other(
    kind: str, records: Path, shards: Path
) -> None:
    found = ShardSet(str(shards)) if kind == "shards" else RecordFolders(records, 0.3)
    allowed = {summary.name for summary in found.summaries if split_of(summary.name, 0.3) == "train"}
    assert 0 < len(allowed) < 9
    workers = [RecordViews(found, SMALL, seed=1, worker=number, num_workers=4) for number in range(4)]
    epoch = len(workers[0])
    assert epoch == len(allowed)
    # As the positions come: worker k of n has k, k + n, ... of them.
    names = [workers[position % 4].name_at(position // 4) for position in range(3 * epoch)]
    for number in range(3):
        assert Counter(names[number * epoch : (number + 1) * epoch]) == Counter(allowed)
    assert names[:epoch] != names[epoch : 2 * epoch]
    alone = RecordViews(found, SMALL, seed=1)
    assert names == [alone.name_at(position) for position in range(3 * epoch)]


def test_resuming_gives_the_sequence_of_an_uninterrupted_run(shards: Path) -> None:
    def source() -> RecordViews:
        return RecordViews(ShardSet(str(shards)), SMALL, seed=5, worker=1, num_workers=2)

    uninterrupted = source()
    sequence = [uninterrupted.draw(index) for index in range(10)]
    resumed = source()
    for index in range(6, 10):  # begun in the middle, in another order, in a new process's state
        same(sequence[index], resumed.draw(index))
    same(resumed.draw(2), sequence[2])
    same(uninterrupted.draw_solid(3), source().draw_solid(3))
    assert not torch.equal(sequence[0].pictures, sequence[1].pictures)


def test_draws_show_the_object_where_their_cameras_say(records: Path) -> None:
    views = RecordViews(RecordFolders(records, 0), SMALL, seed=2)
    assert views.has_surfaces
    for index in range(4):
        drawn = views.draw(index)
        assert drawn.pictures.shape == (3, 4, 16, 16)
        assert drawn.depth is not None
        assert drawn.normals is not None
        for camera, depth, normals in zip(drawn.cameras, drawn.depth, drawn.normals, strict=True):
            rows, columns = np.nonzero(depth.numpy())
            points = camera.unproject(np.stack([columns + 0.5, rows + 0.5], 1), depth.numpy()[rows, columns])
            # Depth steps of 0.001; normals of 8 bits.
            np.testing.assert_allclose(np.linalg.norm(points, axis=1), RADIUS, atol=2e-3)
            np.testing.assert_allclose(points / RADIUS, normals.numpy()[:, rows, columns].T, atol=0.02)


@pytest.mark.parametrize("with_depth", [True, False])
def test_solids_are_the_ball(tmp_path: Path, with_depth: bool) -> None:
    write_record(ball_record(num_views=24, side_px=48, with_depth=with_depth), tmp_path / "ball")
    settings = RecordViewsSettings(resolution_px=48)
    drawn = RecordViews(RecordFolders(tmp_path, 0), settings, seed=0, for_solids=True).draw_solid(1)
    bins = drawn.occupied.shape[1]
    for camera, occupied in zip(drawn.cameras, drawn.occupied.numpy(), strict=True):
        half = camera.resized(24, 24)
        distance = np.linalg.norm(camera.position)
        index, rows, columns = np.mgrid[:bins, :24, :24].reshape(3, -1)
        depth = distance - 1 + 2 * (index + 0.5) / bins
        centres = half.unproject(np.stack([columns + 0.5, rows + 0.5], 1), depth)
        radii = np.linalg.norm(centres, axis=1).reshape(occupied.shape)
        # Carving leaves a little more than the object: a pixel of the carving views, 0.025, and the margin.
        assert occupied[radii < RADIUS - 0.1].mean() > 0.99
        # Two rings do not look from above: silhouettes leave a cap there.
        assert occupied[radii > RADIUS + 0.09].mean() < (0.01 if with_depth else 0.03)
    rays = drawn.rays
    along = (rays.origins * rays.directions).sum(-1)
    missed_by = (rays.origins.square().sum(-1) - along.square()).clamp(min=0).sqrt()
    clear = (missed_by - RADIUS).abs() > 0.06  # the radius of a pixel of 48, brought to 96
    assert torch.equal(rays.hits[clear] == 1, missed_by[clear] < RADIUS)
    assert 0.3 < rays.hits.mean() < 0.95


def test_what_a_picture_does_not_show_carves_nothing(tmp_path: Path) -> None:
    """A ball cut in half by the edge of one picture is still a ball."""
    record = ball_record(num_views=24, side_px=48, with_depth=False)
    pictures = [picture if number else picture[:, :24] for number, picture in enumerate(record.pictures)]
    cameras = [camera if number else camera.cropped(0, 0, 48, 24) for number, camera in enumerate(record.cameras)]
    cut = MultiViewRecord(cameras, LazyViews([lambda picture=picture: picture for picture in pictures]))
    write_record(cut, tmp_path / "cut")
    write_record(record, tmp_path / "whole")
    settings = RecordViewsSettings(resolution_px=32, sources_per_solid=1)
    volumes = {}
    views = RecordViews(RecordFolders(tmp_path, 0), settings, seed=0, for_solids=True)
    for index in range(4):
        drawn = views.draw_solid(index)
        if drawn.pictures[0, 3].mean() > 0.5:
            volumes.setdefault(drawn.name, []).append(drawn.occupied.float().mean().item())
    assert set(volumes) == {"cut", "whole"}
    assert np.mean(volumes["cut"]) > 0.9 * np.mean(volumes["whole"])


def test_records_that_cannot_be_used_are_said_or_refused(tmp_path: Path, caplog) -> None:
    write_record(ball_record(num_views=3, side_px=8), tmp_path / "few")
    unplaced = {"normalisation": {"kind": "none"}}
    write_record(ball_record(num_views=9, side_px=8, metadata=unplaced), tmp_path / "unplaced")
    with pytest.raises(UserError, match=r"1 hold an object that is not in the unit ball.*1 have fewer than the 8"):
        RecordViews(RecordFolders(tmp_path, 0), SMALL, seed=0, for_solids=True)
    assert len(RecordViews(RecordFolders(tmp_path, 0), SMALL, seed=0)) == 1
    assert "1 records are trained on; 1 hold an object" in caplog.text
    held_out = next(number for number in range(100) if split_of(str(number), 0.5) == "val")
    write_record(ball_record(num_views=3, side_px=8), tmp_path / "val" / str(held_out))
    alone = RecordFolders(tmp_path / "val", 0.5)
    with pytest.raises(UserError, match="1 are held out"):
        RecordViews(alone, SMALL, seed=0)
