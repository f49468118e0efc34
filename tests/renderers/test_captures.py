import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.camera_conventions import pose_to_colmap
from distill_core.cameras import orbit_rig
from distill_core.errors import UserError
from distill_core.pictures.images import write_png
from renderers.sources.captures import find_captures
from tests.distill_core.records.test_co3d import frame, write_annotations


def write_colmap(folder: Path, *, model: str = "sparse/0", pictures: int = 3) -> None:
    (folder / model).mkdir(parents=True)
    (folder / "images").mkdir(exist_ok=True)
    (folder / model / "cameras.txt").write_text("1 PINHOLE 16 16 20 20 8 8\n")
    lines = []
    for number, camera in enumerate(orbit_rig(3, width=16, height=16)):
        quaternion, translation = pose_to_colmap(camera.camera_to_world)
        numbers = " ".join(repr(float(value)) for value in (*quaternion, *translation))
        lines += [f"{number + 1} {numbers} 1 {number:03d}.png", ""]
        if number < pictures:
            write_png(folder / "images" / f"{number:03d}.png", np.full((3, 16, 16), 0.5))
    (folder / model / "images.txt").write_text("\n".join(lines) + "\n")


def test_every_sequence_of_every_category_is_found_by_its_own_scores(tmp_path: Path) -> None:
    write_annotations(tmp_path, [frame("good"), frame("bad"), frame("unscored")])
    scores = [
        {"sequence_name": "good", "viewpoint_quality_score": 1.2, "point_cloud": {"quality_score": 0.4}},
        {"sequence_name": "bad", "viewpoint_quality_score": -0.3, "point_cloud": None},
    ]
    (tmp_path / "thing" / "sequence_annotations.jgz").write_bytes(gzip.compress(json.dumps(scores).encode()))
    captures = {capture.uid: capture for capture in find_captures(tmp_path)}
    assert list(captures) == ["thing/bad", "thing/good", "thing/unscored"]
    assert captures["thing/bad"].rejected == "the score of its cameras is -0.3, below 0.5"
    assert captures["thing/good"].rejected is None
    assert captures["thing/good"].facts["point_cloud_quality"] == 0.4
    assert captures["thing/unscored"].rejected is None
    assert len(captures["thing/good"].open()) == 1
    assert find_captures(tmp_path, least_quality=-1)[0].rejected is None
    assert [capture.uid for capture in find_captures(tmp_path / "thing")] == list(captures)


def test_frames_that_the_dataset_calls_empty_or_unplaced_are_left_out(tmp_path: Path) -> None:
    seen, empty, unplaced = frame("one"), frame("one"), frame("one")
    seen["mask"] = {"path": "thing/one/mask.png", "mass": 200.0}
    empty["image"]["path"], unplaced["image"]["path"] = "thing/one/b.png", "thing/one/c.png"
    empty["mask"] = {"path": "thing/one/mask.png", "mass": 1.0}  # a thousandth of 30 x 40 is 1.2
    unplaced["viewpoint"] = None
    write_annotations(tmp_path, [seen, empty, unplaced])
    write_png(tmp_path / "thing" / "one" / "mask.png", np.ones((1, 30, 40)))
    (capture,) = find_captures(tmp_path)
    assert list(capture.open().names) == ["thing/one/a.png"]
    assert capture.facts["frames_left_out"] == {
        "thing/one/b.png": "its mask covers 1 of 1200 pixels",
        "thing/one/c.png": "has no camera",
    }


def test_an_mvimgnet_tree_names_what_has_no_reconstruction(tmp_path: Path) -> None:
    write_colmap(tmp_path / "7" / "0a1b")
    write_colmap(tmp_path / "7" / "0a1b", model="sparse/1")  # what COLMAP could not join: not a capture of its own
    write_colmap(tmp_path / "7" / "2c3d", pictures=1)
    (tmp_path / "9" / "4e5f" / "images").mkdir(parents=True)
    captures = {capture.uid: capture for capture in find_captures(tmp_path)}
    assert list(captures) == ["7/0a1b", "7/2c3d", "9/4e5f"]
    assert len(captures["7/0a1b"].open()) == 3
    assert captures["9/4e5f"].rejected == "it has pictures and no reconstruction (sparse/0)"
    with pytest.raises(UserError, match="2 of 3 pictures are missing"):
        captures["7/2c3d"].open()
    (alone,) = find_captures(tmp_path / "7" / "0a1b" / "sparse")
    assert (alone.uid, len(alone.open())) == ("0a1b", 3)


@pytest.mark.parametrize("place", ["beside", "mirrored"])
@pytest.mark.parametrize("ending", [".png.png", ".png"])
def test_masks_are_found_in_the_capture_or_in_a_tree_of_their_own(tmp_path: Path, place: str, ending: str) -> None:
    write_colmap(tmp_path / "data" / "7" / "0a1b")
    masks = tmp_path / "data/7/0a1b/masks" if place == "beside" else tmp_path / "masks/7/0a1b"
    masks.mkdir(parents=True)
    mask = np.zeros((1, 16, 16))
    mask[:, 3:9, 4:] = 1
    for number in range(3):
        write_png(masks / f"{number:03d}{ending}", mask)
    given = Path("masks") if place == "beside" else tmp_path / "masks"
    (capture,) = find_captures(tmp_path / "data", masks=given)
    np.testing.assert_array_equal(capture.open().pictures[1][3], mask[0])
    (masks / f"001{ending}").unlink()
    with pytest.raises(UserError, match=r"expected a mask 001\.png\.png"):
        capture.open()


def test_a_folder_without_captures_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none; name another folder"):
        find_captures(tmp_path)
    with pytest.raises(UserError, match="check the path"):
        find_captures(tmp_path / "absent")
