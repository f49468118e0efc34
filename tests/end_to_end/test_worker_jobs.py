"""Jobs of the worker with the shipped checkpoint give what the programs give."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from distill_core.images import composite, read_picture
from distill_core.metrics import psnr
from distill_core.records import read_record
from gs_integration import worker
from gs_integration.protocol import write_files
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_files import splats_from_arrays, write_splats
from tests.end_to_end.jobs import VIEW_FILES, entries, make_views
from tests.gs_integration.formats.clouds import asymmetric_cloud
from tests.gs_integration.worker_threads import Asker, worker_thread

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
