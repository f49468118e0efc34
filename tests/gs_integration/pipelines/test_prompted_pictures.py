import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from distill_core.errors import UserError
from distill_core.models.text_to_image_loading import load_text_to_image
from distill_core.progress import SilentProgress
from gs_integration.pipelines.joint_denoisers import in_latents, prompted_denoiser
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    JointSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)
from gs_integration.pipelines.synchronize_pictures import synchronize_pictures
from gs_integration.pipelines.text_to_image_settings import PromptSettings
from scripts import synchronize as program
from scripts.command_line import parse
from tests.tiny_checkpoints import TinyCheckpoints


@pytest.fixture(scope="module")
def joint(tiny_checkpoints: TinyCheckpoints) -> JointSettings:
    return JointSettings(
        checkpoint=str(tiny_checkpoints.velocity),
        text=PromptSettings(prompt="a hen", guidance_scale=2.0),
        steps=2,
        device="cpu",
    )


TASKS = {
    "panorama": lambda joint: PanoramaSettings(
        joint=joint, window_px=16, width_px=40, height_px=16, stride_px=8, closed=True
    ),
    "panorama360": lambda joint: Panorama360Settings(joint=joint, window_px=16, height_px=16),
    "ambiguous": lambda joint: AmbiguousSettings(
        joint=joint, window_px=16, views=("identity", "flip"), view_prompts=("red", "the blue")
    ),
    "zoom": lambda joint: ZoomSettings(joint=joint, window_px=16, levels=2),
    "sequence": lambda joint: SequenceSettings(joint=joint, window_px=16, num_frames=40, overlap_frames=4),
}
SIZES = {
    "panorama": (3, 16, 40),
    "panorama360": (3, 16, 32),
    "ambiguous": (3, 16, 16),
    "zoom": (2, 3, 16, 16),
    "sequence": (3, 2, 40),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_runs_on_latents(name: str, joint: JointSettings):
    result = synchronize_pictures(TASKS[name](joint), SilentProgress())
    assert result.canonical.shape == SIZES[name]
    assert result.views.shape[1:] == (3, 2 if name == "sequence" else 16, 16)
    assert result.coverage == 1
    assert result.contrast is None
    assert np.isfinite(result.consistency)
    assert 0 <= result.canonical.min() < result.canonical.max() <= 1


def with_joint(settings: Any, **changes: Any) -> Any:
    return settings.model_copy(update={"joint": settings.joint.model_copy(update=changes)})


@pytest.mark.parametrize("relative", ["view-updates", "score-distillation", "perceptual"])
def test_relatives_run_on_latents(relative: str, joint: JointSettings):
    settings = with_joint(TASKS["panorama"](joint), relative=relative)
    result = synchronize_pictures(settings, SilentProgress())
    assert result.canonical.shape == (3, 16, 40)
    assert np.isfinite(result.canonical).all()


def test_each_view_of_an_ambiguous_picture_hears_its_own_prompt(joint: JointSettings):
    settings = TASKS["ambiguous"](joint)
    other = settings.model_copy(update={"view_prompts": ("red", "moss")})
    first, second = (synchronize_pictures(each, SilentProgress()).canonical for each in (settings, other))
    assert np.abs(first - second).max() > 1e-4
    model = load_text_to_image(joint.checkpoint)
    denoised = prompted_denoiser(model, settings, (8, 8))
    alone = model.condition(["a hen, red", "a hen, the blue"], picture_size=(16, 16))
    torch.testing.assert_close(denoised.condition.embeddings, alone.embeddings)


def test_a_closed_picture_is_decoded_around_the_corner(joint: JointSettings):
    model = load_text_to_image(joint.checkpoint)
    denoised = prompted_denoiser(model, TASKS["panorama"](joint), (8, 8))
    latents = torch.randn(1, 4, 8, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        here = denoised.to_pictures(latents, True)
        turned = denoised.to_pictures(latents.roll(5, dims=3), True)
        flat = denoised.to_pictures(latents, False)
    assert here.shape == flat.shape == (1, 3, 16, 40)
    # The decoder's norms see the whole padded picture, whose border is not the same everywhere.
    shift = float((turned - here.roll(10, dims=3)).abs().mean())
    assert shift < 0.5 * float((here - flat).abs()[..., :4].mean())


def test_sizes_are_counted_in_latents(joint: JointSettings):
    small = in_latents(TASKS["panorama"](joint), 2)
    assert isinstance(small, PanoramaSettings)
    assert (small.window_px, small.width_px, small.height_px, small.stride_px) == (8, 20, 8, 4)
    assert small.closed
    assert small.joint == joint
    with pytest.raises(UserError, match="--width-px to be a multiple of 3"):
        in_latents(TASKS["panorama"](joint).model_copy(update={"window_px": 18}), 3)


@pytest.mark.parametrize(("checkpoint", "prompt"), [("gaussian-field:x.png", "a hen"), ("someone/something", "")])
def test_a_prompt_and_a_field_do_not_go_together(checkpoint: str, prompt: str, joint: JointSettings):
    settings = with_joint(TASKS["zoom"](joint), checkpoint=checkpoint, text=PromptSettings(prompt=prompt))
    with pytest.raises(UserError, match="--prompt"):
        synchronize_pictures(settings, SilentProgress())


@pytest.mark.parametrize(
    ("prompts", "changes"),
    [(("a",), {}), (("a", "b"), {"text": PromptSettings()}), (("a", "b"), {"relative": "view-updates"})],
)
def test_prompts_of_views_that_do_not_fit_are_refused(prompts, changes, joint: JointSettings):
    with pytest.raises(ValidationError, match="--view-prompts"):
        AmbiguousSettings(joint=joint.model_copy(update=changes), view_prompts=prompts)


def test_the_program_writes_a_panorama(joint: JointSettings, tmp_path: Path, capsys):
    arguments = [
        "panorama",
        "--checkpoint",
        joint.checkpoint,
        "--prompt",
        "a hen",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    arguments += ["--window-px", "16", "--width-px", "24", "--height-px", "16", "--stride-px", "8", "--steps", "1"]
    program.main(parse(program.Task, arguments=[*arguments, "--device", "cpu"]), SilentProgress())
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["contrast"] is None
    assert report["settings"]["joint"]["text"]["prompt"] == "a hen"
    assert "agree to" in capsys.readouterr().out
