"""Models that move: moments of a clip, all cameras each, one size for all of them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from distill_core.cameras import orbit_camera
from distill_core.records.multi_view_record import MultiViewRecord, read_record
from renderers.blender.multilayer_exr import read_channels
from renderers.blender.rigs import Rig, make_rig
from renderers.blender.settings import AnimationSettings, DatasetSettings, RenderSettings, RigSettings
from renderers.blender.tasks import object_seed, worker_task
from renderers.blender.worker_process import WorkerProcess, worker_command
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import load_mesh
from tests.blender.gltf_skin import SkinnedModel
from tests.blender.shapes import write_ply
from tests.blender.tasks import answered, rendered
from tests.blender.test_jobs import PATIENCE_SECONDS, QUICK, blend_files, render, report
from tests.distill_core.camera_strategies import assert_same_camera
from tests.scripts.processes import environment

pytestmark = pytest.mark.blender

RENDER = RenderSettings(samples=16, denoiser="none", lighting="uniform")
CAMERAS = [orbit_camera(20, 25, width=256, height=256), orbit_camera(110, 5, width=256, height=256)]
RIG = Rig("test", "unit-ball", CAMERAS)


def moments_of(
    worker: WorkerProcess, model: Path, folder: Path, *, frames: int, clip: str | None = None
) -> tuple[MultiViewRecord, dict]:
    settings = DatasetSettings(render=RENDER, animation=AnimationSettings(frames=frames, clip=clip))
    return rendered(worker, model, RIG, settings, folder)


def check_moment(record: MultiViewRecord, moment: int, mesh: trimesh.Trimesh, folder: Path, overlap: float) -> None:
    """The views of a moment are those of a mesh in the file's world, by the project's own renderer."""
    matrix = np.array(record.metadata["source_to_object"])
    placed = mesh.copy()
    placed.apply_transform(matrix)
    expected = render_views(prepare(load_mesh(write_ply(placed, folder / "posed.ply"))), CAMERAS, supersampling=4)
    for number in range(len(CAMERAS)):
        view = record.read_view(moment * len(CAMERAS) + number)
        assert view.depth is not None
        alpha, other = view.rgba[3], expected.colour[number, 3]
        assert np.minimum(alpha, other).sum() / np.maximum(alpha, other).sum() >= overlap, (moment, number)
        both = (view.depth > 0) & (expected.depth[number] > 0)
        # The file's steps of 0.001, and what single precision makes of bones.
        assert np.median(np.abs(view.depth - expected.depth[number])[both]) < 0.002, (moment, number)


# --- glTF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "clip"), [("Fox.glb", None), ("Fox.glb", "Run"), ("quaternius_Cow_original.glb", None)]
)
def test_moments_are_those_of_the_formats_own_formula(
    name: str, clip: str | None, worker: WorkerProcess, shared_assets: Path, tmp_path: Path
) -> None:
    path = shared_assets / "mixed_formats" / name
    skinned = SkinnedModel(path)
    record, answer = moments_of(worker, path, tmp_path, frames=3, clip=clip)
    named = clip or skinned.tree["animations"][0]["name"]
    first, last = skinned.clip_seconds(named)
    assert answer["animation"] == {"clip": named, "seconds": pytest.approx(last - first, abs=1e-4)}
    assert list(record.times) == [0, 0, 0.5, 0.5, 1, 1]
    posed = [
        trimesh.Trimesh(*skinned.posed(named, first + time * (last - first)), process=False) for time in (0, 0.5, 1)
    ]
    for moment, mesh in enumerate(posed):
        check_moment(record, moment, mesh, tmp_path, 0.99)
    # One ball around all moments: what moves does not jump.
    vertices = np.concatenate([mesh.vertices for mesh in posed])
    matrix = np.array(record.metadata["source_to_object"])
    placed = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(placed.max(axis=0), -placed.min(axis=0), atol=2e-3)
    assert np.linalg.norm(placed, axis=1).max() == pytest.approx(1, abs=2e-3)
    # Different moments differ, in every camera.
    for camera in range(len(CAMERAS)):
        one, other = record.pictures[camera], record.pictures[len(CAMERAS) + camera]
        assert (np.abs(one - other).max(axis=0) > 0.2).sum() > 30


def test_the_same_moment_twice_is_identical(worker: WorkerProcess, shared_assets: Path, tmp_path: Path) -> None:
    settings = DatasetSettings(render=RENDER, animation=AnimationSettings(frames=3))
    model = shared_assets / "mixed_formats" / "Fox.glb"
    tmp_path.joinpath("raw").mkdir()
    task = worker_task(model, "Fox", tmp_path / "raw", RIG, settings, seed=1, threads=1)
    task["animation"]["times"] = [0.3, 0.8, 0.3]
    assert answered(worker, task)["event"] == "done"
    for kind in ("colour", "geometry"):
        first, between, again = (
            read_channels(tmp_path / "raw" / f"{len(CAMERAS) * moment:03d}.{kind}.exr") for moment in range(3)
        )
        for channel, values in first.items():
            np.testing.assert_array_equal(values, again[channel])
        assert any((between[channel] != values).any() for channel, values in first.items())


def test_an_unknown_clip_and_a_model_at_rest_are_refused(
    worker: WorkerProcess, shared_assets: Path, tmp_path: Path
) -> None:
    for name, clip, reason in [
        ("Fox.glb", "Fly", "expected a clip named 'Fly', got Run, Survey, Walk"),
        ("market_taxi.glb", None, "expected a model that moves"),
        ("market_taxi.glb", "Drive", "got none with a name"),
    ]:
        settings = DatasetSettings(render=RENDER, animation=AnimationSettings(frames=2, clip=clip))
        model = shared_assets / "mixed_formats" / name
        answer = answered(worker, worker_task(model, name, tmp_path, RIG, settings, seed=1, threads=1))
        assert answer["event"] == "refused", answer
        assert reason in answer["reason"]


def test_a_job_gives_every_moment_the_cameras_that_were_asked_for(shared_assets: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("Fox.glb", "ycb_025_mug.ply"):
        shutil.copy(shared_assets / "mixed_formats" / name, tmp_path / "source")
    options = [*QUICK, "--rig", "random-sphere", "--frames", "4", "--clip", "Walk", "--seed", "3"]
    status, text = render(tmp_path / "source", tmp_path / "out", *options)
    assert status == 2, text
    assert "expected a clip named 'Walk'" in report(tmp_path / "out")["ycb_025_mug.ply"]["reason"]
    record = read_record(tmp_path / "out" / "Fox.glb")
    asked = make_rig(RigSettings(num_views=2, resolution=48), object_seed(3, "Fox.glb")).cameras
    for got, expected in zip(record.cameras, asked * 4, strict=True):
        assert_same_camera(got, expected, 1e-12)
    assert list(record.times) == [0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1]
    assert record.moments() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert record.metadata["animation"]["clip"] == "Walk"


# --- other formats -----------------------------------------------------------------------------------------

BOX = (0.4, 0.6, 0.8)
PATH_OF_THE_BOX = np.array([[-1.0, 0, 0], [1.0, 0.5, 0.5]])  # from its first frame to its last, straight


def moving_files(folder: Path) -> None:
    """A box that moves past one that stands, made by Blender, in each format that holds that."""
    program = f"""
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
for name, size, position in (("mover", {BOX}, {PATH_OF_THE_BOX[0].tolist()}), ("post", (0.2, 0.2, 2), (0, 0, 0))):
    bpy.ops.mesh.primitive_cube_add(size=1)
    box = bpy.context.object
    box.name, box.scale, box.location = name, size, position
    bpy.ops.object.transform_apply(location=False)
scene = bpy.context.scene
scene.frame_start, scene.frame_end = 11, 31
mover = bpy.data.objects["mover"]
for frame, position in ((11, {PATH_OF_THE_BOX[0].tolist()}), (31, {PATH_OF_THE_BOX[1].tolist()})):
    mover.location = position
    mover.keyframe_insert("location", frame=frame)
curves = mover.animation_data.action.fcurves
for point in [point for curve in curves for point in curve.keyframe_points]:
    point.interpolation = "LINEAR"
folder = {str(folder)!r}
bpy.ops.export_scene.fbx(filepath=folder + "/mover.fbx", bake_anim_simplify_factor=0)
bpy.ops.wm.usd_export(filepath=folder + "/mover.usdc", export_animation=True)
bpy.ops.wm.usd_export(filepath=folder + "/mover.usda", export_animation=True)
bpy.ops.wm.collada_export(filepath=folder + "/mover.dae", include_animations=True)
bpy.ops.wm.save_as_mainfile(filepath=folder + "/plain.blend", compress=False)
bpy.ops.wm.save_as_mainfile(filepath=folder + "/zstd.blend", compress=True, copy=True)
import gzip, os
with open(folder + "/plain.blend", "rb") as plain, gzip.open(folder + "/gzip.blend", "wb") as packed:
    packed.write(plain.read())
os._exit(0)
"""
    scratch = {"BLENDER_USER_RESOURCES": str(folder / "blender_user")}
    python = worker_command(None)[0]
    subprocess.run([python, "-c", program], env=environment(**scratch), check=True, timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moving")
    moving_files(folder)
    return folder


@pytest.mark.parametrize(
    "name", ["mover.fbx", "mover.dae", "mover.usda", "mover.usdc", "plain.blend", "zstd.blend", "gzip.blend"]
)
def test_a_box_is_where_its_keyframes_put_it(name: str, moving: Path, worker: WorkerProcess, tmp_path: Path) -> None:
    starts = (moving / name).read_bytes()[:7]
    if name == "zstd.blend":
        assert starts.startswith(b"\x28\xb5\x2f\xfd")
    record, answer = moments_of(worker, moving / name, tmp_path, frames=3)
    assert answer["animation"]["seconds"] == pytest.approx(20 / 24)
    for moment, time in enumerate((0, 0.5, 1)):
        box, post = trimesh.creation.box(BOX), trimesh.creation.box((0.2, 0.2, 2))
        box.apply_translation(PATH_OF_THE_BOX[0] * (1 - time) + PATH_OF_THE_BOX[1] * time)
        joined = trimesh.util.concatenate([box, post])
        assert isinstance(joined, trimesh.Trimesh)
        check_moment(record, moment, joined, tmp_path, 0.99)


def test_at_rest_the_same_files_are_one_still_object(moving: Path, worker: WorkerProcess, tmp_path: Path) -> None:
    for name in ("mover.fbx", "mover.dae", "mover.usdc", "gzip.blend"):
        record, answer = rendered(worker, moving / name, RIG, DatasetSettings(render=RENDER), tmp_path / name)
        assert answer["animation"] is None
        assert len(record) == len(CAMERAS)
        assert not record.times
        assert "time" not in json.loads((tmp_path / name / "record" / "transforms.json").read_text())["frames"][0]


def test_moments_of_a_blend_run_nothing_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    proof = tmp_path / "proof"
    blend_files(tmp_path / "source", proof)
    proof.unlink()  # where scripts are allowed, it writes this file
    (tmp_path / "source" / "bomb.blend").unlink()
    status, text = render(tmp_path / "source", tmp_path / "out", *QUICK, "--frames", "3")
    assert status == 2, text
    assert "expected a model that moves" in report(tmp_path / "out")["script.blend"]["reason"]
    assert not proof.exists()
