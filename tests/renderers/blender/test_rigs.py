import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import orbit_angles
from distill_core.errors import UserError
from renderers.blender.rigs import make_rig
from renderers.blender.settings import RigName, RigSettings


@pytest.mark.parametrize("rig", ["random-sphere", "orbit", "zero123", "zero123plus", "picture-ring"])
def test_cameras_look_at_the_origin_and_are_a_function_of_the_seed(rig: RigName) -> None:
    settings = RigSettings(rig=rig, resolution=64)
    cameras = make_rig(settings, 3).cameras
    assert len(cameras) == (6 if rig == "zero123plus" else 12)
    for camera, again in zip(cameras, make_rig(settings, 3).cameras, strict=True):
        np.testing.assert_array_equal(camera.camera_to_world, again.camera_to_world)
        pixels, depth = camera.project([[0, 0, 0]])
        np.testing.assert_allclose(pixels, [[32, 32]], atol=1e-9)
        assert depth[0] > 1
    is_random = rig in ("random-sphere", "zero123")
    same = np.allclose(cameras[0].camera_to_world, make_rig(settings, 4).cameras[0].camera_to_world)
    assert same != is_random


def test_zero123_draws_distances_and_lens_as_published() -> None:
    rig = make_rig(RigSettings(rig="zero123", num_views=999), 0)
    distances = np.array([np.linalg.norm(camera.position) for camera in rig.cameras])
    assert rig.normalisation == "longest-side"
    assert distances.min() >= 1.5
    assert distances.max() <= 2.2
    # A uniform draw's mean is 1.85 with a standard error of 0.7 / sqrt(12 * 999).
    assert abs(distances.mean() - 1.85) < 4 * 0.7 / np.sqrt(12 * 999)
    # 49.1 degrees: a lens of 35 mm on a sensor of 32 mm.
    assert rig.cameras[0].field_of_view_degrees == pytest.approx((49.134, 49.134), abs=1e-3)


def test_zero123_prefers_the_corners_of_the_cube_it_draws_from() -> None:
    """Of a cube, the share of directions within 30 degrees of an axis is less than of a ball."""
    cameras = make_rig(RigSettings(rig="zero123", num_views=999), 0).cameras
    directions = np.array([camera.position / np.linalg.norm(camera.position) for camera in cameras])
    near_axis = (np.abs(directions).max(axis=1) > np.cos(np.radians(30))).mean()
    # In the cube: 6 cones of height 1 and radius tan 30 in a volume of 8; in the ball: 6 caps of 2 pi (1 - cos 30).
    in_cube, in_ball = 6 * np.pi * np.tan(np.radians(30)) ** 2 / 3 / 8, 6 * (1 - np.cos(np.radians(30))) / 2
    assert near_axis == pytest.approx(in_cube, abs=4 * np.sqrt(in_cube * (1 - in_cube) / 999))
    assert in_ball - in_cube > 0.1


def test_zero123plus_has_its_six_views() -> None:
    rig = make_rig(RigSettings(rig="zero123plus"), 0)
    angles = [orbit_angles(camera.position)[:2] for camera in rig.cameras]
    expected = [(30, 20), (90, -10), (150, 20), (-150, -10), (-90, 20), (-30, -10)]
    np.testing.assert_allclose(angles, expected, atol=1e-9)
    with pytest.raises(UserError, match="6 views"):
        make_rig(RigSettings(rig="zero123plus", num_views=7), 0)


def test_random_views_stay_in_their_zone_and_fill_it_evenly() -> None:
    settings = RigSettings(num_views=999, lowest_elevation_degrees=-20, highest_elevation_degrees=60)
    heights = [np.sin(np.radians(orbit_angles(c.position)[1])) for c in make_rig(settings, 1).cameras]
    lowest, highest = np.sin(np.radians([-20, 60]))
    assert lowest - 1e-9 <= min(heights)
    assert max(heights) <= highest + 1e-9
    # On a sphere heights are uniform (Archimedes): no quarter is empty or crowded beyond chance.
    counts = np.histogram(heights, 4, (lowest, highest))[0]
    assert np.abs(counts - 999 / 4).max() < 4 * np.sqrt(999 * 3 / 16)


def test_a_rig_from_a_file_is_that_file(tmp_path: Path) -> None:
    matrix = [[1, 0, 0, 0.5], [0, 1, 0, 0.25], [0, 0, 1, 3], [0, 0, 0, 1]]
    frame = {"file_path": "not_there.png", "transform_matrix": matrix}
    file = tmp_path / "transforms.json"
    file.write_text(json.dumps({"w": 40, "h": 30, "fl_x": 50, "fl_y": 60, "cx": 21, "cy": 14, "frames": [frame]}))
    rig = make_rig(RigSettings(rig=file), 0)
    camera = rig.cameras[0]
    assert (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy) == (40, 30, 50, 60, 21, 14)
    # OpenGL's camera at (0.5, 0.25, 3) looks along -z: the point below it lies at the principal point.
    pixels, depth = camera.project([[0.5, 0.25, 1.0], [0.6, 0.35, 1.0]])
    np.testing.assert_allclose(pixels, [[21, 14], [23.5, 11]], atol=1e-9)
    np.testing.assert_allclose(depth, 2)
    assert rig.name == "transforms.json"


def test_what_is_no_rig_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="picture-ring or a transforms"):
        make_rig(RigSettings(rig=tmp_path / "nowhere.json"), 0)
    with pytest.raises(UserError, match="exchange them"):
        make_rig(RigSettings(lowest_elevation_degrees=50, highest_elevation_degrees=-50), 0)
    with pytest.raises(UserError, match="more views"):
        make_rig(RigSettings(rig="picture-ring", num_views=1), 0)
