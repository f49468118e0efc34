"""Jobs of the worker with the shipped checkpoint give what the programs give."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distill_core.metrics import psnr
from distill_core.pictures.images import composite, read_picture
from distill_core.records.multi_view_record import read_record
from gs_integration import worker
from gs_integration.protocol import write_files
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_files import splats_from_arrays, write_splats
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import load_mesh, normalised
from tests.end_to_end.jobs import VIEW_FILES, entries, make_views
from tests.gs_integration.formats.clouds import asymmetric_cloud
from tests.gs_integration.worker_threads import Asker, worker_thread
from tests.tiny_checkpoints import LATENT_PX, TinyCheckpoints

ANGLES = {"azimuths_degrees": [0, 120], "generator": {"device": "cpu"}}


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    with pytest.MonkeyPatch.context() as patch:
        # When it runs out, the worker ends its process, which is the tests' own here.
        patch.setattr(worker, "_GRACE_SECONDS", 600)
        with worker_thread() as speaking:
            yield speaking


def stages_of(asker: Asker, job: str, task: str, files: dict[str, bytes], **settings: object) -> tuple[list[str], dict]:
    """Run a job; returns its stages and the files of its result."""
    asker.say("run", files, job=job, task=task, settings=settings)
    stages: list[str] = []
    while (message := asker.hear("progress", "result", "error")).kind == "progress":
        stages += [message.fields["stage"]] if message.fields["stage"] not in stages else []
    assert message.kind == "result", message.fields
    return stages, {name: bytes(content) for name, content in message.attachments.items()}


@pytest.fixture(scope="module")
def views(asker: Asker, shared_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    picture = (shared_assets / "pictures" / "backpack.png").read_bytes()
    stages, files = stages_of(asker, "views", "image_to_angles", {"picture.png": picture}, **ANGLES)
    assert stages == ["starting", "checkpoint", "picture", "views", "files"]
    folder = tmp_path_factory.mktemp("views")
    write_files(files, folder)
    return folder


def test_views_are_those_of_the_program(views: Path, shared_assets: Path, tmp_path: Path) -> None:
    assert entries(views) == VIEW_FILES
    make_views(shared_assets / "pictures" / "backpack.png", tmp_path / "out")
    for name in ("views/000.png", "views/001.png", "input.png", "transforms.json"):
        assert (views / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    report = json.loads((views / "report.json").read_text())
    assert len(report["checkpoint"]["sha256"]) == 64


def test_a_remark_names_no_folder_of_the_workers(asker: Asker) -> None:
    frames = [Image.new("RGB", (96, 96), "white") for _ in range(2)]
    for frame, colour in zip(frames, ("red", "blue"), strict=True):
        frame.paste(colour, (30, 30, 66, 66))
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    asker.say("run", {"picture.gif": content.getvalue()}, job="moves", task="image_to_angles", settings=ANGLES)
    answer = asker.hear("result", "error")
    assert answer.kind == "result", answer.fields
    findings = answer.fields["findings"]
    assert "picture.gif holds 2 frames: the first one is used." in findings["warnings"]


def test_the_model_stays_loaded_until_it_is_freed(views: Path, asker: Asker, shared_assets: Path) -> None:
    picture = {"picture.png": (shared_assets / "pictures" / "backpack.png").read_bytes()}
    assert asker.run("loaded", "status").fields["findings"]["model_loaded"] is True
    stages, _ = stages_of(asker, "again", "image_to_angles", picture, **ANGLES)
    assert "checkpoint" not in stages
    asker.say("free", job="free")
    assert asker.hear("result").fields["job"] == "free"
    assert asker.run("freed", "status").fields["findings"]["model_loaded"] is False


def test_kept_views_become_splats_and_splats_become_pictures(views: Path, asker: Asker, tmp_path: Path) -> None:
    files = {name: (views / name).read_bytes() for name in ("transforms.json", "input.png", *sorted_views(views))}
    fit = {"num_splats": 400, "max_splats": 400, "iterations": 12, "refinements": 1}
    settings = {"fit": fit, "holdout_every": 0, "turntable_frames": 0, "device": "cpu", "resolution": 64}
    stages, result = stages_of(asker, "fit", "fit_splats", files, **settings)
    assert "splats" in stages
    assert {"splats.ply", "preview.png", "report.json"} <= set(result)
    files = {"splats.ply": result["splats.ply"], "transforms.json": files["transforms.json"]}
    _, pictures = stages_of(asker, "render", "render_splats", files, device="cpu")
    assert {"views/000.png", "views/001.png", "views/002.png", "transforms.json", "report.json"} == set(pictures)


def test_views_at_given_cameras_are_those_of_the_generator_turned(
    views: Path, asker: Asker, shared_assets: Path, tmp_path: Path
) -> None:
    """The generator's own camera once as it is, and once for the right half of its picture alone, at half the size."""
    frame = stated_frames(views)[1]
    right = {**frame, "w": 32, "h": 64, **{name: frame[name] / 2 for name in ("fl_x", "fl_y", "cx", "cy")}}
    right["cx"] -= 32
    picture = (shared_assets / "pictures" / "backpack.png").read_bytes()
    seen = []
    for number, each in enumerate((frame, right)):
        files = {"picture.png": picture, "transforms.json": json.dumps({"frames": [each]}).encode()}
        _, result = stages_of(asker, f"given {number}", "image_to_cameras", files, generator={"device": "cpu"})
        folder = tmp_path / str(number)
        folder.mkdir()
        write_files(result, folder)
        assert entries(folder) == VIEW_FILES
        record = read_record(folder)
        assert (record.cameras[1].width, record.cameras[1].height) == (each["w"], each["h"])
        seen.append(composite(record.pictures[1]))
    alone = composite(read_record(views).pictures[2])
    # One view more or less in the set changes what the generator does a little.
    assert float(psnr(seen[0], alone)) > 25
    halved = seen[0].reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    assert float(psnr(seen[1], halved[:, :, 32:])) > 35


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]]}, "move it away"),
        ({"w": 5}, "pictures of one size"),
        ({"w": None}, "expected w and h"),
    ],
)
def test_cameras_that_cannot_be_are_refused(
    views: Path, asker: Asker, shared_assets: Path, change: dict[str, object], words: str
) -> None:
    frames = stated_frames(views)
    frames[0] = {name: value for name, value in {**frames[0], **change}.items() if value is not None}
    picture = (shared_assets / "pictures" / "backpack.png").read_bytes()
    files = {"picture.png": picture, "transforms.json": json.dumps({"frames": frames}).encode()}
    error = asker.run(words, "image_to_cameras", files, generator={"device": "cpu"}).fields
    assert error["cause"] == "person"
    assert words in error["why"]


def test_models_become_records(asker: Asker, shared_assets: Path, tmp_path: Path) -> None:
    source = shared_assets / "mixed_formats"
    files = {f"models/{name}": (source / name).read_bytes() for name in ("market_taxi.glb", "ycb_025_mug.ply")}
    settings = {"views": {"rig": "orbit", "num_views": 3, "resolution": 48}}
    broken = files | {"models/broken.glb": b"glTF and nothing else"}
    stages, result = stages_of(asker, "records", "render_dataset", broken, **settings)
    assert stages == ["starting", "rendering", "files"]
    write_files(result, tmp_path)
    assert {"report.json", "contact_sheet.png"} < set(result)
    report = {each["uid"]: each for each in json.loads((tmp_path / "report.json").read_text())["objects"]}
    assert report["broken.glb"]["record"] is None
    assert "broken.glb" in report["broken.glb"]["reason"]
    for name in ("market_taxi.glb", "ycb_025_mug.ply"):
        record = read_record(tmp_path / name)
        assert len(record) == 3
        mask, depth = np.asarray(record.pictures)[:, 3], np.asarray(record.depth)
        # The unit ball fills the picture: the object is in it, and its surface in the ball.
        assert 0.05 < (mask > 0.5).mean() < 0.8
        distances = np.linalg.norm([camera.position for camera in record.cameras], axis=1)[:, None, None]
        assert (np.abs(depth - distances)[depth > 0] <= 1.001).all()
        lengths = np.linalg.norm(np.asarray(record.normals), axis=1)
        np.testing.assert_allclose(lengths[depth > 0], 1, atol=0.02)  # eight bits a number
        assert record.metadata["renderer"] == {"program": "onestep3d", "light": "studio"}
        assert len(record.metadata["source"]["sha256"]) == 64


def test_records_of_own_cameras_and_of_bare_colours(
    views: Path, asker: Asker, shared_assets: Path, tmp_path: Path
) -> None:
    taxi = (shared_assets / "mixed_formats" / "market_taxi.glb").read_bytes()
    files = {"models/market_taxi.glb": taxi, "cameras.json": (views / "transforms.json").read_bytes()}
    _, result = stages_of(asker, "own", "render_dataset", files, light="none")
    write_files(result, tmp_path)
    record, given = read_record(tmp_path / "market_taxi.glb"), read_record(views)
    for found, expected in zip(record.cameras, given.cameras, strict=True):
        np.testing.assert_allclose(found.camera_to_world, expected.camera_to_world, atol=1e-9)
    mesh = prepare(normalised(load_mesh(shared_assets / "mixed_formats" / "market_taxi.glb")))
    expected = render_views(mesh, [given.cameras[1]]).colour[0]
    np.testing.assert_allclose(record.pictures[1], expected, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("files", "settings", "words"),
    [
        ({}, {}, "Expected a folder of models"),
        ({"models/a.glb": b"nothing"}, {}, "a.glb"),
        ({"models/a.glb": b""}, {"views": {"rig": "/etc/passwd"}}, "cameras.json"),
        ({"models/a.glb": b""}, {"render": {"lighting": "/etc/passwd"}}, "area-lights"),
        ({f"models/{n}.glb": b"" for n in range(20)}, {"views": {"num_views": 200}}, "at most 6 models of 200 views"),
    ],
)
def test_datasets_that_cannot_be_are_refused(asker: Asker, files, settings, words: str) -> None:
    error = asker.run(words, "render_dataset", files, **settings).fields
    assert error["cause"] == "person"
    assert words in error["why"]


def sorted_views(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in sorted((folder / "views").iterdir())]


def test_rendered_splats_are_the_rasterizers(views: Path, asker: Asker, tmp_path: Path) -> None:
    splats = splats_from_arrays(asymmetric_cloud(60))
    write_splats(tmp_path / "cloud.glb", splats)
    files = {
        "splats.glb": (tmp_path / "cloud.glb").read_bytes(),
        "transforms.json": (views / "transforms.json").read_bytes(),
    }
    _, result = stages_of(asker, "cloud", "render_splats", files, device="cpu")
    (tmp_path / "result").mkdir()
    write_files(result, tmp_path / "result")
    for number, camera in enumerate(read_record(views).cameras):
        expected = rasterize(splats, [camera], torch.ones(3), backend="cpu").colour[0].clamp(0, 1)
        found = composite(read_picture(tmp_path / "result" / "views" / f"{number:03d}.png").rgba)
        # Eight bits a channel, straight alpha: half a step of 255 in each.
        assert float(psnr(found, expected.numpy())) > 45


def test_a_mesh_is_textured_from_cameras_that_came_with_it(views: Path, asker: Asker, shared_assets: Path) -> None:
    files = {
        "picture.png": (shared_assets / "pictures" / "backpack.png").read_bytes(),
        "mesh.obj": (shared_assets / "texturing" / "suzanne_quads.obj").read_bytes(),
        "cameras.json": json.dumps(square_cameras(views)).encode(),
    }
    settings = {"texture_size": 64, "turntable_frames": 2, "generator": {"device": "cpu"}}
    stages, result = stages_of(asker, "texture", "texture_mesh", files, **settings)
    assert {"views", "texture", "turntable"} <= set(stages)
    assert {"textured.glb", "texture.png", "views/000.png", "views/001.png", "report.json"} <= set(result)
    assert "views/002.png" not in result
    elsewhere = asker.run("elsewhere", "texture_mesh", files | {"cameras.json": b"{}"}, cameras="/etc/passwd")
    assert elsewhere.fields["cause"] == "person"


def test_a_mesh_is_textured_after_a_prompt(
    asker: Asker, tiny_checkpoints: TinyCheckpoints, shared_assets: Path
) -> None:
    files = {"mesh.obj": (shared_assets / "texturing" / "suzanne_quads.obj").read_bytes()}
    settings = {
        "cameras": "ring",
        "num_views": 2,
        "texture_size": 64,
        "turntable_frames": 2,
        "generator": {"checkpoint": str(tiny_checkpoints.stable_diffusion), "device": "cpu"},
        "prompted": {
            "text": {"prompt": "a red hen"},
            "denoising_steps": 2,
            "picture_px": 2 * LATENT_PX,
            "latent_texture_size": 32,
        },
    }
    stages, result = stages_of(asker, "prompted", "texture_mesh", files, **settings)
    assert {"checkpoint", "views", "texture"} <= set(stages)
    assert {"textured.glb", "texture.png", "views/001.png"} <= set(result)
    assert "input.png" not in result
    again, _ = stages_of(asker, "again", "texture_mesh", files, **settings)
    assert "checkpoint" not in again  # it is in the memory still
    unnamed = {**settings, "generator": {"checkpoint": "small", "device": "cpu"}}
    assert asker.run("unnamed", "texture_mesh", files, **unnamed).fields["cause"] == "person"


def stated_frames(views: Path) -> list[dict]:
    """Frames of the generated views, each with all that a camera needs."""
    stated = json.loads((views / "transforms.json").read_text())
    shared = {name: value for name, value in stated.items() if name in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
    return [{**shared, **frame} for frame in stated["frames"][1:]]


def square_cameras(views: Path) -> dict[str, object]:
    """The cameras of the generated views, without that of the picture."""
    stated = json.loads((views / "transforms.json").read_text())
    return {**stated, "frames": stated["frames"][1:]}


def test_a_fit_is_cancelled_in_its_stage_and_the_next_job_works(asker: Asker, shared_assets: Path) -> None:
    picture = {"picture.png": (shared_assets / "pictures" / "backpack.png").read_bytes()}
    views = {"num_views": 4, "generator": {"device": "cpu"}}
    asker.say("run", picture, job="long", task="image_to_splats", settings={"views": views})
    while asker.hear("progress").fields["stage"] != "splats":
        pass
    asker.say("cancel", job="long")
    error = asker.hear("error", "result").fields
    assert (error["job"], error["cause"]) == ("long", "cancelled")
    assert asker.run("after", "status").kind == "result"
