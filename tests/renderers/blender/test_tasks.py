import json
from pathlib import Path

import numpy as np
import pytest

from distill_core.camera_conventions import BlenderLens, camera_from_blender
from distill_core.cameras import Camera, look_at
from distill_core.errors import UserError
from renderers.blender.rigs import Rig
from renderers.blender.settings import AnimationSettings, DatasetSettings, RenderSettings
from renderers.blender.tasks import blender_view, check_animation, check_lighting, lights, object_seed, worker_task


def odd_camera() -> Camera:
    return Camera(90, 60, 70.0, 65.0, 40.5, 33.25, look_at((1.5, -2, 1), up=(0.2, 0, 1)))


def test_a_task_is_plain_json_and_holds_the_cameras_exactly() -> None:
    rig = Rig("test", "unit-ball", [odd_camera()])
    task = worker_task(Path("a.glb"), "a.glb", Path("raw"), rig, DatasetSettings(), seed=5, threads=2)
    view = json.loads(json.dumps(task))["views"][0]
    back = camera_from_blender(BlenderLens(**view["lens"]), view["matrix_world"], view["width"], view["height"])
    camera = odd_camera()
    for name in ("width", "height", "fx", "fy", "cx", "cy"):
        assert getattr(back, name) == pytest.approx(getattr(camera, name), abs=1e-9)
    np.testing.assert_allclose(back.camera_to_world, camera.camera_to_world, atol=1e-12)
    assert blender_view(camera) | {"moment": 0} == view
    assert task["animation"] is None


def test_moments_have_all_cameras_each_and_go_from_the_first_frame_to_the_last() -> None:
    settings = DatasetSettings(animation=AnimationSettings(frames=3, clip="Run"))
    rig = Rig("test", "unit-ball", [odd_camera(), Camera(8, 8, 9.0, 9.0, 4.0, 4.0, look_at((2, 0, 0)))])
    task = worker_task(Path("a.glb"), "a.glb", Path("raw"), rig, settings, seed=5, threads=2)
    assert task["animation"] == {"clip": "Run", "times": [0.0, 0.5, 1.0]}
    assert [view["moment"] for view in task["views"]] == [0, 0, 1, 1, 2, 2]
    assert [view["width"] for view in task["views"]] == [90, 8] * 3


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(UserError, match="--frames beside --clip"):
        check_animation(AnimationSettings(clip="Run"))
    check_animation(AnimationSettings(clip="Run", frames=2))


def test_seeds_depend_on_the_object_and_not_on_its_neighbours() -> None:
    seeds = {object_seed(seed, uid) for seed in (0, 1) for uid in ("a.glb", "b.glb", "0/a.glb")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)  # Blender's range


def test_area_lights_shine_at_the_object_and_are_a_function_of_the_seed() -> None:
    drawn = lights(RenderSettings(lighting="area-lights"), 7)
    assert drawn == lights(RenderSettings(lighting="area-lights"), 7)
    assert drawn != lights(RenderSettings(lighting="area-lights"), 8)
    for light in drawn:
        if light["kind"] == "area":
            matrix = np.array(light["matrix_world"])
            position, shines = matrix[:3, 3], -matrix[:3, 2]
            np.testing.assert_allclose(np.cross(position, shines), 0, atol=1e-9)
            assert position @ shines < 0
    assert sum(light["kind"] == "area" for light in drawn) == 3


def test_surroundings_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for name in ("nowhere.hdr", "aera-lights"):
        with pytest.raises(UserError, match="expected area-lights, uniform or"):
            check_lighting(RenderSettings(lighting=tmp_path / name))
    (tmp_path / "sky.hdr").touch()
    check_lighting(RenderSettings(lighting=tmp_path / "sky.hdr"))


def test_surroundings_are_turned_at_random() -> None:
    settings = RenderSettings(lighting=Path("sky.hdr"))
    turns = {lights(settings, seed)[0]["turn_degrees"] for seed in range(5)}
    assert len(turns) == 5
    assert Path(lights(settings, 0)[0]["path"]).is_absolute()
