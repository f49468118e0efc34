import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.errors import UserError
from distill_core.pictures.images import read_picture
from distill_core.records.multi_view_record import read_record
from distill_core.records.shard_files import PictureEncoding, ShardWriter
from gs_integration.pipelines.inspect_records import (
    FoundRecord,
    find_records,
    inspect_record,
    readable_views,
    view_sheet,
)
from gs_integration.record_viewer import start_record_viewer, surface_colours
from tests.distill_core.records.record_folders import ball_record, write_balls
from tests.scripts.processes import run_program


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("balls")
    write_balls(folder, 3, side_px=48)
    return folder


@pytest.fixture(scope="module")
def shards(balls: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, PictureEncoding(), shard_bytes=1, val_share=0) as writer:
        for record in sorted(balls.iterdir()):
            writer.add(record.name, read_record(record))
        writer.finish()
    return folder


def test_records_and_shards_are_found_and_sound(balls: Path, shards: Path, tmp_path: Path) -> None:
    names = ["ball.00", "ball.01", "ball.02"]
    assert [found.name for found in find_records(str(balls))] == names
    assert [found.name for found in find_records(str(balls / "ball.01"))] == ["ball.01"]
    assert sorted(found.name for found in find_records(str(shards))) == names
    (one,) = find_records(str(shards / "train-000001.tar"))
    inspected = inspect_record(one)
    assert inspected.checked.is_sound, inspected.checked.findings
    assert inspected.sheet.shape[0] == inspected.plot.shape[0] == 3
    with pytest.raises(UserError, match=r"expected a shard that shards\.json beside it names"):
        find_records(str(shards / "train-000009.tar"))
    with pytest.raises(UserError, match=r"expected transforms\.json"):
        find_records(str(tmp_path))[0].open()


def test_a_sheet_shows_every_view_with_its_depth_and_normals(balls: Path) -> None:
    views = list(readable_views(read_record(balls / "ball.00"), 5))
    with_all = view_sheet(views)
    colours = view_sheet([type(view)(view.camera, view.rgba, None, None, view.name) for view in views])
    assert with_all.shape[2] == colours.shape[2]
    np.testing.assert_array_equal(with_all[:, : colours.shape[1]], colours)
    # The ball bulges: in each picture of depth the middle is nearer, and so darker, than the edge.
    cell = colours.shape[2] // 5
    depth = with_all[0, colours.shape[1] :][:cell]
    for place in range(5):
        row = depth[cell // 2, place * cell : (place + 1) * cell]
        covered = np.flatnonzero(row < 0.99)
        assert row[covered].argmin() == pytest.approx(len(covered) / 2, abs=2)
        assert row[covered[0]] > row[covered].min() + 0.1


def test_the_program_writes_pictures_and_says_what_is_wrong(balls: Path, tmp_path: Path) -> None:
    status, output, _ = run_program(["scripts/inspect_record.py", str(balls), "--output-dir", str(tmp_path / "seen")])
    assert status == 0, output
    assert output.count("ok    depth between views") == 3
    for name in ("contact_sheet.png", "cameras.png"):
        assert read_picture(tmp_path / "seen" / "ball.02" / name).rgba.shape[0] == 4
    # One file lost, one cut off.
    broken = tmp_path / "broken" / "ball"
    write_balls(tmp_path / "broken", 1, side_px=48)
    (tmp_path / "broken" / "ball.00").rename(broken)
    (broken / "images" / "004.png").unlink()
    picture = broken / "normals" / "005.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    status, output, _ = run_program(["scripts/inspect_record.py", str(broken), "--output-dir", str(tmp_path / "bad")])
    assert status == 2
    assert "WRONG files: 1 pictures are missing (images/004.png ...); 1 of 9 views cannot be read" in output
    report = json.loads((tmp_path / "bad" / "report.json").read_text())
    assert report["records"]["ball"][0]["state"] == "wrong"


def test_the_viewer_shows_cameras_and_a_coloured_surface() -> None:
    record = ball_record(seed=3, side_px=48)
    views = list(readable_views(record, len(record)))
    checked = inspect_record(FoundRecord("ball", lambda: record)).checked
    colours = surface_colours(views, checked.surface)
    known = views[0].rgba[:3, views[0].rgba[3] == 1][:, 0]
    np.testing.assert_allclose(colours, np.broadcast_to(known, colours.shape), atol=1e-6)
    pytest.importorskip("viser", reason="needs the extra 'viewer'")
    server = start_record_viewer(views, checked.surface, port=18190)
    try:
        assert server.get_port() >= 18190
    finally:
        server.stop()
