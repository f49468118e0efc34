import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_core.camera_conventions import pose_to_opengl
from distill_core.cameras import Camera, orbit_camera
from distill_core.errors import UserError
from distill_core.records.lens_distortion import Distortion
from distill_core.records.transforms_files import stated_views, transforms_text
from tests.distill_core.camera_strategies import assert_same_camera, cameras

POSE = pose_to_opengl(orbit_camera(20, 10).camera_to_world).tolist()
VALID = {
    "w": 40,
    "h": 30,
    "fl_x": 50.0,
    "fl_y": 45.0,
    "cx": 21.0,
    "cy": 14.0,
    "frames": [{"file_path": "images/a.png", "transform_matrix": POSE}, {"file_path": "b", "transform_matrix": POSE}],
}


def write(folder: Path, document: object) -> Path:
    path = folder / "transforms.json"
    path.write_text(json.dumps(document))
    return path


def first_camera(folder: Path, document: dict, width: int = 40, height: int = 30) -> Camera:
    return stated_views(write(folder, document))[0][0].camera_at(width, height)


def changed(**changes: object) -> dict:
    document = {**copy.deepcopy(VALID), **changes}
    return {key: value for key, value in document.items() if value is not None}


@given(st.lists(cameras(), min_size=1, max_size=3), st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, rig: list[Camera], one_lens: bool) -> None:
    if one_lens:
        rig = [rig[0].moved(camera.camera_to_world) for camera in rig]
    paths = [f"images/{index:03d}.png" for index in range(len(rig))]
    text = transforms_text(rig, paths, metadata={"licence": "CC0", "scale": 0.5})
    (tmp_path / "transforms.json").write_text(text)
    views, metadata = stated_views(tmp_path / "transforms.json")
    assert metadata == {"licence": "CC0", "scale": 0.5}
    assert [view.picture_path for view in views] == paths
    for view, camera in zip(views, rig, strict=True):
        assert view.stated_size == (camera.width, camera.height)
        assert_same_camera(view.camera_at(camera.width, camera.height), camera, 1e-12)
    assert ("fl_x" in json.loads(text)) == (len({camera.fx for camera in rig}) == 1)


def test_the_written_file_has_nerfstudios_keys_and_axes(tmp_path: Path) -> None:
    camera = orbit_camera(90, 0, width=40, height=30)
    text = transforms_text(
        [camera], ["images/000.png"], view_paths={"depth_file_path": ["depth/000.png"], "normal_file_path": ["n.png"]}
    )
    document = json.loads(text)
    assert {"w", "h", "fl_x", "fl_y", "cx", "cy", "camera_model", "frames", "onestep3d"} == set(document)
    assert document["onestep3d"] == {"schema_version": 1}
    (frame,) = document["frames"]
    assert set(frame) == {"file_path", "depth_file_path", "normal_file_path", "transform_matrix"}
    # By hand: at +x, looking at the origin; right is +y, up is +z, back is +x.
    expected = [[0, 0, 1, camera.position[0]], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(frame["transform_matrix"], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "intrinsics"),
    [
        ({}, (50, 45, 21, 14)),
        ({"fl_y": None}, (50, 50, 21, 14)),
        ({"fl_x": None}, (45, 45, 21, 14)),
        ({"cx": None, "cy": None}, (50, 45, 20, 15)),
        ({"camera_angle_x": 0.1, "fl_y": None}, (50, 50, 21, 14)),
        ({"fl_x": None, "fl_y": None, "camera_angle_x": 2 * math.atan(20 / 80)}, (80, 80, 21, 14)),
        ({"fl_x": None, "fl_y": None, "camera_angle_y": 2 * math.atan(15 / 70)}, (70, 70, 21, 14)),
        (
            {"fl_x": None, "fl_y": None, "camera_angle_x": 2 * math.atan(0.25), "camera_angle_y": 2 * math.atan(0.3)},
            (80, 50, 21, 14),
        ),
    ],
)
def test_every_way_to_state_a_lens(tmp_path: Path, changes: dict, intrinsics: tuple) -> None:
    camera = first_camera(tmp_path, changed(**changes))
    np.testing.assert_allclose([camera.fx, camera.fy, camera.cx, camera.cy], intrinsics)


def test_a_frame_may_have_its_own_lens(tmp_path: Path) -> None:
    document = changed()
    document["frames"][1] |= {"fl_x": 99.0, "cx": 3.0, "k1": 0.1}
    one, two = stated_views(write(tmp_path, document))[0]
    assert (one.camera_at(40, 30).fx, two.camera_at(40, 30).fx, two.camera_at(40, 30).cx) == (50, 99, 3)
    assert one.distortion == Distortion("opencv", (0.0,) * 8)
    assert two.distortion == Distortion("opencv", (0.1, *(0.0,) * 7))


def test_lens_models(tmp_path: Path) -> None:
    def distortion(**changes: object) -> Distortion | None:
        return stated_views(write(tmp_path, changed(**changes)))[0][0].distortion

    assert distortion(k1=0.1, k2=0.2, p1=0.3, p2=0.4, k3=0.5) == Distortion(
        "opencv", (0.1, 0.2, 0.3, 0.4, 0.5, 0.0, 0.0, 0.0)
    )
    fisheye = Distortion("fisheye", (0.1, 0.2, 0.3, 0.4))
    assert distortion(camera_model="OPENCV_FISHEYE", k1=0.1, k2=0.2, k3=0.3, k4=0.4) == fisheye
    assert distortion(is_fisheye=True, k1=0.1, k2=0.2, k3=0.3, k4=0.4) == fisheye
    assert distortion(camera_model="PINHOLE") is None
    assert distortion(camera_model="FULL_OPENCV", k6=0.1) == Distortion("opencv", (0.0,) * 7 + (0.1,))
    for refused in ({"camera_model": "EQUIRECTANGULAR"}, {"camera_model": ["OPENCV"]}, {"k4": 0.1}, {"k1": "much"}):
        with pytest.raises(UserError):
            distortion(**refused)


def test_splits_by_nerfstudios_lists(tmp_path: Path) -> None:
    path = write(tmp_path, changed(train_filenames=["b"], test_filenames=["images/a.png", "missing.png"]))
    assert [view.picture_path for view in stated_views(path, "train")[0]] == ["b"]
    assert len(stated_views(path)[0]) == 2
    with pytest.raises(UserError, match="names 2 pictures"):
        stated_views(path, "test")
    with pytest.raises(UserError, match="got splits: train, test"):
        stated_views(path, "val")


def test_plain_values_of_files_by_others_are_kept(tmp_path: Path) -> None:
    _, metadata = stated_views(write(tmp_path, changed(aabb_scale=4, up="z", offset=[1, 2], k1=0.1)))
    assert metadata == {"aabb_scale": 4, "up": "z"}


def test_masks_that_are_not_used_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = changed()
    for frame in document["frames"]:
        frame["mask_path"] = "m.png"
    stated_views(write(tmp_path, document))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "expected a JSON object"),
        (changed(frames={}), "list of objects"),
        (changed(frames=[1]), "list of objects"),
        (changed(frames=[{"transform_matrix": POSE}]), "file_path"),
        (changed(frames=[{"file_path": 3, "transform_matrix": POSE}]), "expected file_path to be a path"),
        (changed(frames=[{"file_path": "a\0b", "transform_matrix": POSE}]), "expected file_path to be a path"),
        (changed(frames=[{"file_path": "a"}]), "transform_matrix, got none"),
        (changed(frames=[{"file_path": "a", "transform_matrix": "x"}]), "got 0 x 0"),
        (changed(frames=[{"file_path": "a", "transform_matrix": [[1, 0, 0, "x"]] * 4}]), "numbers"),
        (changed(frames=[{"file_path": "a", "transform_matrix": [[10**400, 0, 0, 0]] * 4}]), "frame 0"),
        (changed(frames=[{"file_path": "a", "transform_matrix": [*POSE[:3], [0, 0, 0, 2]]}]), "last row"),
        (changed(w=40.5), "whole number"),
        (changed(w=10**12), "whole number"),
        (changed(fl_x="50"), "fl_x to be a finite number"),
        (changed(fl_x=True), "fl_x to be a finite number"),
        (changed(fl_x=10**400), "fl_x to be a finite number"),
        (changed(cx=float("inf")), "cx to be a finite number"),
        (changed(k1=float("nan")), "k1 to be a finite number"),
        (changed(fl_x=None, fl_y=None, camera_angle_x=4), "between 0 and pi"),
        (changed(onestep3d={"schema_version": 99}), "schema version 1, got 99"),
        (changed(onestep3d="x"), "schema version 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, document: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        stated_views(write(tmp_path, document))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"9" * 5000, b'{"frames": ' + b"[" * 200_000, b'"\xff"'])
def test_what_is_no_json_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "transforms.json").write_bytes(content)
    with pytest.raises(UserError):
        stated_views(tmp_path / "transforms.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["top", "frame", "matrix", "row", "number"]), st.data())
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_is_read_or_refused(
    tmp_path: Path, value: object, place: str, data: st.DataObject
) -> None:
    document = copy.deepcopy(VALID) | {"camera_angle_x": 0.7, "k1": 0.0, "camera_model": "OPENCV", "onestep3d": None}
    frame = document["frames"][0] | {"depth_file_path": None}
    document["frames"][0] = frame
    frame["transform_matrix"] = copy.deepcopy(POSE)
    match place:
        case "top":
            document[data.draw(st.sampled_from(sorted(document)))] = value
        case "frame":
            frame[data.draw(st.sampled_from(sorted(frame)))] = value
        case "matrix":
            frame["transform_matrix"] = value
        case "row":
            frame["transform_matrix"][1] = value
        case "number":
            frame["transform_matrix"][1][2] = value
    try:
        for view in stated_views(write(tmp_path, document))[0]:
            view.camera_at(40, 30)
    except UserError:
        pass
