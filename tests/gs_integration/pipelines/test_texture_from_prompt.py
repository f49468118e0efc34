import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from distill_core.cameras import orbit_camera, orbit_rig
from distill_core.errors import Cancelled, UserError
from distill_core.models.control_pictures import depth_control
from distill_core.models.text_to_image import TextCondition, TextToImage
from distill_core.models.text_to_image_loading import load_text_to_image
from distill_core.pictures.images import Picture, read_picture, write_png
from distill_core.progress import SilentProgress
from gs_integration.pipelines.report import recorded_run
from gs_integration.pipelines.result_names import TEXTURE_RESULTS
from gs_integration.pipelines.settings import GeneratorSettings
from gs_integration.pipelines.text_to_image_settings import PromptedTextureSettings, PromptSettings
from gs_integration.pipelines.texture_from_prompt import prompted_condition
from gs_integration.pipelines.texture_mesh import texture_mesh
from gs_integration.pipelines.texture_settings import TextureSettings
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.mesh_rendering import prepare, render_views
from renderers.mesh_saving import save_glb
from renderers.meshes import load_mesh
from scripts import texture_mesh as program
from scripts.command_line import parse
from tests.renderers.texturable_meshes import charted_box
from tests.tiny_checkpoints import TinyCheckpoints

PX = 64


def settings(checkpoint: Path, *, prompt: str = "a red hen", seed: int = 0, prompted: Any = None, **changes: Any):
    values = {
        "prompted": PromptedTextureSettings(
            **{
                "text": PromptSettings(prompt=prompt, guidance_scale=3.0),
                "denoising_steps": 3,
                "picture_px": PX,
                "latent_texture_size": 48,
                **(prompted or {}),
            }
        ),
        "generator": GeneratorSettings(checkpoint=str(checkpoint), device="cpu", seed=seed),
        "num_views": 4,
        "cameras": "ring",
        "texture_size": 64,
        "turntable_frames": 2,
    }
    return TextureSettings(**{**values, **changes})


@pytest.fixture(scope="module")
def told(tiny_checkpoints: TinyCheckpoints) -> TextToImage:
    """Stable Diffusion 1.5's kind with both ControlNets and an IP-Adapter."""
    return load_text_to_image(
        str(tiny_checkpoints.stable_diffusion),
        controls=[str(tiny_checkpoints.depth_control), str(tiny_checkpoints.normal_control)],
        ip_adapter=str(tiny_checkpoints.ip_adapter),
    )


@pytest.fixture(scope="module")
def all_parts(tiny_checkpoints: TinyCheckpoints) -> dict[str, Any]:
    return {
        "control": str(tiny_checkpoints.depth_control),
        "normal_control": str(tiny_checkpoints.normal_control),
        "ip_adapter": str(tiny_checkpoints.ip_adapter),
    }


@pytest.fixture(scope="module")
def picture() -> Picture:
    return Picture(np.random.default_rng(0).random((4, 40, 50), np.float32), has_alpha=True)


@pytest.mark.parametrize("canonical", ["latent", "rgb"])
def test_controls_and_a_picture_texture_a_mesh(
    canonical, told, all_parts, picture, tiny_checkpoints: TinyCheckpoints, tmp_path: Path
):
    options = settings(tiny_checkpoints.stable_diffusion, prompted={**all_parts, "canonical": canonical})
    with recorded_run(SilentProgress()) as run:
        result = texture_mesh(charted_box(), picture, options, told, run.progress)
        result.save(tmp_path / "out", run)
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {
        name.split("/")[0] for name in TEXTURE_RESULTS
    } - {"input.png"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["coverage"]["of_what_views_show"] > 0.9
    assert report["settings"]["prompted"]["canonical"] == canonical
    assert len(list((tmp_path / "out" / "views").iterdir())) == report["views"] == 4
    assert read_picture(tmp_path / "out" / "views" / "000.png").rgba.shape == (4, PX, PX)
    assert result.texture.shape == (3, 64, 64)
    assert np.ptp(result.texture) > 0.05
    read = load_mesh(tmp_path / "out" / "textured.glb")
    in_file = read.base_colours[0][..., :3].transpose(2, 0, 1)
    np.testing.assert_allclose(result.texture * 255, in_file, atol=1.01)


def test_the_network_is_told_of_every_view(told, all_parts, picture, tiny_checkpoints: TinyCheckpoints):
    cameras = [*orbit_rig(4, width=PX, height=PX), orbit_camera(0, 90, width=PX, height=PX)]
    projection = TextureProjection(charted_box(), cameras, 32)

    def condition(**changes: Any) -> TextCondition:
        options = settings(tiny_checkpoints.stable_diffusion, prompted={**all_parts, **changes})
        return prompted_condition(projection, charted_box(), picture, options, told)

    with torch.inference_mode():
        said = condition()
        words = ["front view", "side view", "back view", "side view", "top view"]
        colour, alpha = picture.rgba[:3], picture.rgba[3]
        prompts = [f"a red hen, {word}" for word in words]
        expected = told.condition(
            prompts, picture_size=(PX, PX), picture=colour * alpha + 1 - alpha, controls=said.controls
        )
        torch.testing.assert_close(said.embeddings, expected.embeddings)
        torch.testing.assert_close(said.image_prompts[0], expected.image_prompts[0])
        assert condition(directions=False).embeddings.shape[0] == 1
        assert condition(share_attention=False).neighbours is None
    assert said.neighbours is not None
    assert said.neighbours[2].tolist()[:2] == [2, 0]
    surface = render_views(prepare(charted_box()), cameras, supersampling=1)
    torch.testing.assert_close(said.controls[0], depth_control(torch.from_numpy(surface.depth)))
    # The ring looks down by 15 degrees on the cube's sides, whose normals point down by as much there; the pole looks
    # straight at the top.
    tilt = np.radians(15.0)
    for view, colour in ((0, [0.5, 0.5 - np.sin(tilt) / 2, 0.5 + np.cos(tilt) / 2]), (4, [0.5, 0.5, 1.0])):
        middle = said.controls[1][view, :, PX // 2, PX // 2]
        np.testing.assert_allclose(middle.numpy(), colour, atol=0.01)
    assert said.without is not None
    assert float(said.without.image_prompts[0].abs().max()) == 0


def test_seed_and_prompt_decide_the_texture(tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.velocity))
    first, again, reseeded, other = (
        texture_mesh(
            charted_box(),
            None,
            settings(tiny_checkpoints.velocity, seed=seed, prompt=prompt, num_views=2, prompted={"denoising_steps": 1}),
            model,
            SilentProgress(),
        ).texture
        for seed, prompt in ((0, "a hen"), (0, "a hen"), (1, "a hen"), (0, "the moss"))
    )
    assert np.array_equal(first, again)
    assert np.abs(first - reseeded).max() > 1e-3
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("canonical", ["latent", "rgb"])
def test_the_large_model_textures_a_mesh(canonical, tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.extra_large), controls=[str(tiny_checkpoints.extra_large_control)])
    changes = {"canonical": canonical, "control": str(tiny_checkpoints.extra_large_control), "picture_px": "auto"}
    options = settings(tiny_checkpoints.extra_large, prompted=changes, num_views=3)
    result = texture_mesh(charted_box(), None, options, model, SilentProgress())
    # 16 pixels are what it says it was trained on.
    assert result.views.shape == (3, 4, 16, 16)
    assert np.isfinite(result.texture).all()
    assert 0 <= result.texture.min() < result.texture.max() <= 1


def test_students_take_their_own_steps(tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.consistency))

    class Counts(SilentProgress):
        totals: dict[str, int | None] = {}  # noqa: RUF012 - one job

        def stage(self, name: str, total: int | None) -> None:
            self.totals[name] = total

    counts = Counts()
    options = settings(tiny_checkpoints.consistency, prompted={"denoising_steps": "auto"})
    result = texture_mesh(charted_box(), None, options, model, counts)
    assert counts.totals["views"] == 4
    assert np.isfinite(result.texture).all()
    many = settings(tiny_checkpoints.consistency, prompted={"denoising_steps": 51})
    with pytest.raises(UserError, match="at most 50"):
        texture_mesh(charted_box(), None, many, model, SilentProgress())


def test_previews_show_the_mesh_and_cancel_stops(told, all_parts, picture, tiny_checkpoints: TinyCheckpoints):
    class Stops(SilentProgress):
        previews: list[np.ndarray] = []  # noqa: RUF012 - one job

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            if preview is not None:
                self.previews.append(preview)
            if len(self.previews) == 2:
                raise Cancelled

    stops = Stops()
    options = settings(tiny_checkpoints.stable_diffusion, prompted={**all_parts, "denoising_steps": 100})
    with pytest.raises(Cancelled):
        texture_mesh(charted_box(), picture, options, told, stops)
    assert [preview.shape for preview in stops.previews] == [(3, PX, PX)] * 2
    assert stops.previews[0][:, 0, 0].tolist() == [1, 1, 1]
    assert stops.previews[0][:, PX // 2, PX // 2].tolist() != [1, 1, 1]


def test_sizes_that_are_no_whole_latents_are_refused(told, tiny_checkpoints: TinyCheckpoints):
    odd = settings(tiny_checkpoints.stable_diffusion, prompted={"picture_px": 33})
    with pytest.raises(UserError, match="multiple of 2"):
        texture_mesh(charted_box(), None, odd, told, SilentProgress())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "--prompt"),
        ({"generator": GeneratorSettings()}, "--checkpoint"),
        ({"generator": GeneratorSettings(checkpoint="a/b", steps=20)}, "--denoising-steps"),
        ({"prompted": {"canonical": "rgb"}, "strategy": "canonical-clean"}, "--canonical rgb"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(changes: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        settings(Path("a/b"), **changes)


def test_the_program_textures_a_mesh_after_a_prompt(tiny_checkpoints: TinyCheckpoints, tmp_path: Path, capsys):
    save_glb(charted_box(), tmp_path / "box.glb")
    write_png(tmp_path / "picture.png", np.full((3, 32, 32), 0.5, np.float32))
    base = [str(tmp_path / "box.glb"), "--prompt", "a hen", "--output-dir", str(tmp_path / "out")]
    base += ["--turntable-frames", "2", "--texture-size", "32", "--device", "cpu", "--num-views", "3"]
    base += ["--checkpoint", str(tiny_checkpoints.stable_diffusion), "--denoising-steps", "1", "--picture-px", "32"]
    base += ["--latent-texture-size", "32"]
    heard = ["--ip-adapter", str(tiny_checkpoints.ip_adapter), "--image", str(tmp_path / "picture.png")]
    options = [*base, *heard, "--lora", str(tiny_checkpoints.lora), "--control", str(tiny_checkpoints.depth_control)]
    program.main(parse(program.TextureMesh, arguments=options), SilentProgress())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["checkpoint"]["name"] == str(tiny_checkpoints.stable_diffusion)
    assert report["versions"]["diffusers"]
    assert "wrote" in capsys.readouterr().out
    for wrong in (base[:1] + base[3:5], [*base, *heard[2:]], [*base, *heard[:2]]):
        with pytest.raises(UserError, match="--image"):
            parse(program.TextureMesh, arguments=wrong)
