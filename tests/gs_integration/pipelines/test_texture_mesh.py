import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera
from distill_core.errors import Cancelled, UserError
from distill_core.metrics import psnr
from distill_core.models.checkpoint_loading import new_generator, save_generator
from distill_core.models.settings import SolidNetworkSettings, ViewGeneratorSettings, ViewNetworkSettings
from distill_core.models.view_generator import ViewGenerator
from distill_core.pictures.images import Picture, read_picture, write_png
from distill_core.progress import SilentProgress
from distill_core.records.transforms_files import transforms_text
from distill_core.synchronization.strategies import STRATEGY_NAMES
from gs_integration.pipelines.report import recorded_run
from gs_integration.pipelines.result_names import TEXTURE_RESULTS
from gs_integration.pipelines.settings import GeneratorSettings, PictureSettings
from gs_integration.pipelines.texture_mesh import texture_mesh
from gs_integration.pipelines.texture_settings import TextureSettings
from renderers.mesh_rendering import prepare, render_views
from renderers.mesh_saving import save_glb, wearing
from renderers.meshes import TexturedMesh, load_mesh, transformed
from scripts import texture_mesh as program
from scripts.command_line import parse
from tests.renderers.texturable_meshes import bare_mesh, charted_box

FRONT: dict[str, Any] = {"elevation_degrees": 20.0}
AZIMUTH = 35.0


@pytest.fixture(scope="module")
def generator() -> ViewGenerator:
    """Fresh weights: what it makes of a view is its guide and some noise."""
    torch.manual_seed(0)
    narrow = {"widths": (16, 16, 32), "blocks": 1}
    return new_generator(
        ViewGeneratorSettings(
            solid=SolidNetworkSettings(bins=8, middle_blocks=1, **narrow),
            view=ViewNetworkSettings(embedding=16, fine_channels=8, **narrow),
        )
    )


@pytest.fixture(scope="module")
def coloured_box() -> TexturedMesh:
    """A box with a smooth texture."""
    size = 128
    rows, columns = np.indices((size, size)) / size
    return wearing(charted_box(), np.stack([0.3 + 0.5 * rows, 0.8 - 0.5 * columns, 0.2 + 0.3 * (rows + columns)]))


@pytest.fixture(scope="module")
def picture(coloured_box: TexturedMesh) -> Picture:
    camera = orbit_camera(AZIMUTH, FRONT["elevation_degrees"], width=320, height=320)
    return Picture(render_views(prepare(coloured_box), [camera]).colour[0], has_alpha=True)


def settings(**changes) -> TextureSettings:
    values = {
        "picture": PictureSettings(**FRONT),
        "generator": GeneratorSettings(steps=2, sampler="ddim", device="cpu"),
        "num_views": 3,
        "cameras": "ring",
        "azimuth_degrees": AZIMUTH,
        "texture_size": 64,
        "turntable_frames": 2,
    }
    return TextureSettings(**{**values, **changes})


def test_a_mesh_gets_the_picture_and_all_its_files(generator, picture, coloured_box, tmp_path: Path):
    to_place = np.diag([300.0, 300, 300, 1])
    to_place[:3, 3] = 5, -7, 11
    white = charted_box()
    given = transformed(white, to_place)
    with recorded_run(SilentProgress()) as run:
        options = settings(cameras="ring-and-poles", num_views=7, texture_size=256)
        result = texture_mesh(given, picture, options, generator, run.progress)
        result.save(tmp_path / "out", run)
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {name.split("/")[0] for name in TEXTURE_RESULTS}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["picture_lifted"] == "pixels"
    assert report["outline_iou"] > 0.97
    assert report["mesh"]["coordinates"] == "kept"
    assert report["texture"]["texels"] == 256
    assert 0 < report["texture"]["joined_at_texels"] <= 256
    assert report["coverage"]["of_what_views_show"] > 0.9
    assert report["coverage"]["of_surface"] > 0.9
    assert len(report["consistency_psnr"]["views"]) == report["views"] == 7
    stages = {"unwrapping", "picture", "picture on the mesh", "views on the mesh", "views", "texture", "turntable"}
    assert set(report["seconds"]) >= stages
    assert len(list((tmp_path / "out" / "views").iterdir())) == 7

    # The file holds the mesh that was given, at its size and place, with the texture on it.
    read = load_mesh(tmp_path / "out" / "textured.glb")
    np.testing.assert_allclose(read.vertices.min(axis=0), given.vertices.min(axis=0), rtol=1e-5)
    np.testing.assert_allclose(read.vertices.max(axis=0), given.vertices.max(axis=0), rtol=1e-5)
    assert read.base_colours[0].shape[:2] == (256, 256)
    texture = read_picture(tmp_path / "out" / "texture.png").rgba[:3]
    # Both are eight bits; values halfway may be rounded to either side.
    in_file = read.base_colours[0][..., :3].transpose(2, 0, 1)
    np.testing.assert_allclose(texture * 255, in_file, atol=1.01)

    # Seen from where the picture was taken it looks like the picture, off the edges, whatever the generator says.
    camera = orbit_camera(AZIMUTH, FRONT["elevation_degrees"], width=320, height=320)
    back = transformed(read, np.linalg.inv(to_place))
    seen = render_views(prepare(back), [camera])
    known = render_views(prepare(wearing(white, _trusted(result))), [camera]).colour[0, 0] > 0.95
    assert known.mean() > 0.15
    error = psnr(seen.colour[0, :3], picture.rgba[:3], known)
    # 256 texels for pictures of 512 lose little of what is smooth; eight bits twice.
    assert float(error) > 35


def _trusted(result, texture_size: int = 256) -> np.ndarray:
    """Where the picture's pixels lie on the texture, as a picture."""
    from gs_integration.texturing.picture_on_mesh import picture_texture

    source = result.source
    known = picture_texture(result.unwrapped.mesh, source.rgba, source.camera, texture_size, SilentProgress())
    return known.trust.expand(3, -1, -1).numpy()


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_every_strategy_ends_with_a_whole_texture(strategy, generator, picture):
    result = texture_mesh(charted_box(), picture, settings(strategy=strategy), generator, SilentProgress())
    assert np.isfinite(result.texture).all()
    assert 0 <= result.texture.min() < result.texture.max() <= 1
    assert result.views.shape == (3, 4, 128, 128)
    np.testing.assert_allclose(result.views[:, 3].max(), 1)


@pytest.mark.parametrize(("method", "steps"), [("view-updates", 3 * 2), ("score-distillation", 5)])
def test_the_relatives_end_with_a_whole_texture_too(method, steps, generator, picture):
    class Counts(SilentProgress):
        views = 0

        def stage(self, name: str, total: int | None) -> None:
            self.name, self.total = name, total
            if name == "views":
                assert total == steps

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            if self.name == "views":
                self.views += n
                assert preview is not None
                assert preview.shape == (3, 128, 128)

    counts = Counts()
    result = texture_mesh(charted_box(), picture, settings(method=method, distillation_steps=5), generator, counts)
    assert counts.views == steps
    assert np.isfinite(result.texture).all()
    assert 0 <= result.texture.min() < result.texture.max() <= 1
    assert result.views.shape == (3, 4, 128, 128)
    # The picture's own pixels lie on it, whatever the method.
    joint = texture_mesh(charted_box(), picture, settings(), generator, SilentProgress())
    known = _trusted(joint, 64)[0] > 0.99
    assert known.mean() > 0.05
    np.testing.assert_allclose(result.texture[:, known], joint.texture[:, known], atol=0.02)


def test_agreeing_on_clean_predictions_makes_views_agree(generator, picture):
    joint, alone = (
        texture_mesh(
            charted_box(),
            picture,
            settings(
                strategy=strategy,
                noise="independent",
                num_views=5,
                lift_picture="never",
                generator=GeneratorSettings(steps=8, sampler="ddim", device="cpu"),
            ),
            generator,
            SilentProgress(),
        )
        for strategy in ("instance-clean", "none")
    )
    # Without it each view keeps some of its own noise; three views that see a texel average a third of it away.
    assert joint.consistency_psnr.mean() > alone.consistency_psnr.mean() + 5


def test_one_seed_gives_one_texture(generator, picture):
    first, again, other = (
        texture_mesh(
            charted_box(),
            picture,
            settings(generator=GeneratorSettings(steps=1, seed=seed, device="cpu"), lift_picture="never"),
            generator,
            SilentProgress(),
        ).texture
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_size_and_winding_of_a_mesh_change_nothing(scale: float, generator, picture):
    box = charted_box()
    outside = texture_mesh(box, picture, settings(), generator, SilentProgress())
    inside_out = replace(
        transformed(box, np.diag([scale, scale, scale, 1.0])),
        faces=box.faces[:, ::-1].copy(),
        corner_uvs=box.corner_uvs[:, ::-1].copy(),
    )
    turned = texture_mesh(inside_out, picture, settings(), generator, SilentProgress())
    # Vertices differ by rounding, by which a pixel at an edge may fall to another face.
    assert np.abs(turned.texture - outside.texture).mean() < 1e-3
    np.testing.assert_allclose(np.ptp(turned.textured.vertices, axis=0), scale * np.ptp(box.vertices, axis=0))


def test_meshes_without_coordinates_are_unwrapped(generator, picture):
    box = charted_box()
    result = texture_mesh(bare_mesh(box.vertices, box.faces), picture, settings(), generator, SilentProgress())
    assert result.unwrapped.method == "xatlas"
    assert "no texture coordinates" in result.unwrapped.reason
    assert result.coverage.view_share > 0.9


def test_holes_that_a_picture_cuts_are_closed_and_that_is_said(generator, picture, coloured_box, caplog):
    cut = coloured_box.base_colours[0].copy()
    cut[:, :40, 3] = 0
    holed = replace(coloured_box, base_colours=(cut,))
    result = texture_mesh(holed, picture, settings(), generator, SilentProgress())
    assert "holes" in caplog.text
    whole = texture_mesh(coloured_box, picture, settings(), generator, SilentProgress())
    assert np.array_equal(result.texture, whole.texture)


@pytest.mark.parametrize("name", ["spot_overlapping_uv.obj", "suzanne_stacked_uv.obj"])
def test_meshes_with_overlapping_coordinates_are_unwrapped_anew(name: str, generator, picture, shared_assets: Path):
    mesh = load_mesh(shared_assets / "texturing" / name)
    result = texture_mesh(mesh, picture, settings(texture_size=256), generator, SilentProgress())
    assert result.unwrapped.method == "xatlas"
    assert result.coverage.view_share > 0.9
    assert np.isfinite(result.texture).all()


def test_meshes_of_many_parts_get_one_texture(generator, picture):
    box = charted_box()
    places = np.stack(np.meshgrid(range(5), range(5), range(2)), axis=-1).reshape(-1, 3) * 2.5
    vertices = np.concatenate([box.vertices + place for place in places])
    faces = np.concatenate([box.faces + number * len(box.vertices) for number in range(len(places))])
    result = texture_mesh(bare_mesh(vertices, faces), picture, settings(texture_size=256), generator, SilentProgress())
    assert len(result.textured.faces) == 600
    assert result.texture.shape == (3, 256, 256)
    assert result.coverage.view_share > 0.9


@pytest.mark.parametrize("name", ["texturing/many_parts_50.glb", "mixed_formats/ycb_063_b_marbles_draco.glb"])
def test_files_of_many_parts_or_compressed_get_one_texture_too(name: str, generator, picture, shared_assets: Path):
    mesh = load_mesh(shared_assets / name)
    result = texture_mesh(mesh, picture, settings(texture_size=256), generator, SilentProgress())
    assert len(result.textured.faces) == len(mesh.faces)
    assert result.coverage.view_share > 0.9
    assert np.isfinite(result.texture).all()


def test_a_picture_of_something_else_is_stretched_over_the_mesh(generator, caplog):
    rgba = np.zeros((4, 200, 200), np.float32)
    rgba[:, 85:115, 10:190] = np.array([0.2, 0.9, 0.1, 1.0])[:, None, None]
    other = Picture(rgba, has_alpha=True)
    result = texture_mesh(charted_box(), other, settings(), generator, SilentProgress())
    assert result.picture_lifted == "colours"
    assert "--lift-picture" in caplog.text
    always = texture_mesh(charted_box(), other, settings(lift_picture="always"), generator, SilentProgress())
    assert always.picture_lifted == "pixels"
    assert result.outline_iou is not None
    assert always.outline_iou == result.outline_iou < 0.8


@pytest.mark.parametrize("method", ["synchronized", "view-updates", "score-distillation"])
def test_cancel_stops_within_a_step_and_previews_show_the_mesh(method, generator, picture):
    class Stops(SilentProgress):
        def __init__(self) -> None:
            self.stages: list[str] = []
            self.previews: list[np.ndarray] = []

        def stage(self, name: str, total: int | None) -> None:
            self.stages.append(name)

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            if preview is not None:
                self.previews.append(preview)
            if len(self.previews) == 2:
                raise Cancelled

    stops = Stops()
    steps = GeneratorSettings(steps=500, device="cpu")
    long = settings(generator=steps, method=method, distillation_steps=500)
    with pytest.raises(Cancelled):
        texture_mesh(charted_box(), picture, long, generator, stops)
    assert stops.stages[-1] == "views"
    assert len(stops.previews) == 2
    for preview in stops.previews:
        assert preview.shape == (3, 128, 128)
        # White beside the mesh, from the picture's side.
        assert preview[:, 0, 0].tolist() == [1, 1, 1]
        assert preview[:, 64, 64].max() < 1
        if method == "synchronized":  # the known pixels are on it from the first step
            assert abs(float(preview[:, 64, 64].mean()) - float(picture.rgba[:3, 160, 160].mean())) < 0.1


def test_the_last_preview_shows_the_texture_on_the_mesh(generator, picture):
    class Keeps(SilentProgress):
        last: np.ndarray | None = None

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            self.last = self.last if preview is None else preview

    keeps = Keeps()
    result = texture_mesh(charted_box(), picture, settings(texture_size=256), generator, keeps)
    assert keeps.last is not None
    rendered = render_views(prepare(wearing(result.unwrapped.mesh, result.texture)), result.cameras[:1]).colour[0]
    inside = rendered[3] > 0.999
    shown, worn = keeps.last[:, inside], rendered[:3, inside]
    # The preview is drawn from the predictions that become the texture; it lacks what is laid over it at the end.
    assert np.abs(shown - worn).mean() < 0.03
    assert worn.std() > 0.08


@pytest.fixture
def files(generator, picture, tmp_path: Path) -> dict[str, Path]:
    write_png(tmp_path / "picture.png", picture.rgba)
    save_glb(charted_box(), tmp_path / "box.glb")
    save_generator(tmp_path / "tiny.safetensors", generator, {})
    return {name: tmp_path / name for name in ("picture.png", "box.glb", "tiny.safetensors", "out")}


def run_program(files: dict[str, Path], *options: str, mesh: Path | None = None, image: Path | None = None) -> None:
    arguments = [str(mesh or files["box.glb"]), "--image", str(image or files["picture.png"])]
    arguments += ["--output-dir", str(files["out"]), "--checkpoint", str(files["tiny.safetensors"])]
    arguments += ["--turntable-frames", "2", "--texture-size", "32", "--steps", "1", "--device", "cpu"]
    program.main(parse(program.TextureMesh, arguments=[*arguments, *options]), SilentProgress())


def test_the_program_writes_a_textured_mesh_and_names_its_checkpoint(files, capsys):
    run_program(files, "--cameras", "automatic", "--num-views", "3", "--elevation-degrees", "20")
    report = json.loads((files["out"] / "report.json").read_text())
    assert report["settings"]["cameras"] == "automatic"
    assert report["checkpoint"]["name"] == str(files["tiny.safetensors"])
    assert "wrote" in capsys.readouterr().out
    # Its own cameras are a file that the next run can take.
    run_program(files, "--cameras", str(files["out"] / "transforms.json"))
    assert json.loads((files["out"] / "report.json").read_text())["views"] == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--texture-size", "0"], "--texture-size"),
        (["--num-views", "0"], "--num-views"),
        (["--cameras", "spiral"], "--cameras"),
        (["--cameras", "ring-and-poles", "--num-views", "2"], "at least 3"),
        (["--strategy", "instance-mean"], "--strategy"),
        (["--checkpoint", "no_such_name"], "no_such_name"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(options, words, files):
    with pytest.raises((UserError, SystemExit)) as refusal:
        run_program(files, *options)
    if isinstance(refusal.value, UserError):
        assert words in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1
    else:
        assert words == "--strategy"
        assert refusal.value.code == 2
    assert not files["out"].exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (transforms_text([orbit_camera(0, 0, width=64, height=32)], ["a.png"]), "got 64 x 32"),
        ('{"frames": []}', "no frames"),
    ],
)
def test_a_file_of_cameras_is_refused_before_the_mesh_is_unwrapped(text, words, generator, picture, tmp_path: Path):
    class NothingIsBegun(SilentProgress):
        def stage(self, name: str, total: int | None) -> None:
            raise AssertionError(name)

    file = tmp_path / "transforms.json"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        texture_mesh(charted_box(), picture, settings(cameras=str(file)), generator, NothingIsBegun())


@pytest.mark.parametrize("name", ["no_faces.glb", "nan_vertices.glb", "degenerate.obj"])
def test_meshes_that_are_none_are_refused(name: str, files, shared_assets: Path):
    with pytest.raises(UserError, match=r"no faces|not finite|no area"):
        run_program(files, mesh=shared_assets / "bad_inputs" / name)


@pytest.mark.parametrize(
    ("name", "words"), [("other_model.safetensors", "Not a checkpoint"), ("pickle.pt", "Not a .safetensors")]
)
def test_checkpoints_of_another_kind_are_refused(name: str, words: str, files, shared_assets: Path):
    with pytest.raises(UserError, match=words):
        run_program(files, "--checkpoint", str(shared_assets / "bad_inputs" / name))


def test_missing_files_are_named(files, tmp_path: Path):
    with pytest.raises(UserError, match=r"nothing\.png"):
        run_program(files, image=tmp_path / "nothing.png")
    with pytest.raises(UserError, match=r"nothing\.glb"):
        run_program(files, mesh=tmp_path / "nothing.glb")
