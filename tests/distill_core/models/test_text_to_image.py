from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from distill_core.diffusion.samplers import SamplerStep, consistency_step, ddim_step, sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import UserError
from distill_core.models.shared_attention import shared_views
from distill_core.models.text_to_image import TextToImage
from distill_core.models.text_to_image_loading import load_text_to_image
from tests.tiny_checkpoints import LATENT_PX, TinyCheckpoints

diffusers = pytest.importorskip("diffusers", reason="needs the extra 'pretrained'")

SHAPE = (4, LATENT_PX, LATENT_PX)
PX = 2 * LATENT_PX
STEPS = 5  # of a thousand timesteps, so that theirs are whole numbers too
GUIDANCE = 5.0


def latents(count: int) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def sampled(
    model: TextToImage,
    condition: Any,
    start: Tensor,
    times: Tensor,
    step: SamplerStep = ddim_step,
    noise: Callable[[tuple[int, ...]], Tensor] | None = None,
    **options: Any,
) -> Tensor:
    denoiser = model.denoiser(SHAPE[1:], guidance_scale=GUIDANCE, **options)
    return sample(denoiser, condition, times, step, noise or (lambda shape: torch.zeros_like(start)), start=start)


def trailing_ddim(model: TextToImage) -> Any:
    return diffusers.DDIMScheduler.from_config(
        model.pipeline.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=False
    )


def theirs(pipeline: Any, **options: Any) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent", height=PX, width=PX, **options
    ).images


def assert_same(ours: Tensor, other: Tensor) -> None:
    # Predictions at nearly pure noise are divided by alpha = 0.07, so samples of random networks are large.
    torch.testing.assert_close(ours, other, atol=1e-4 * float(other.abs().max()), rtol=0)
    assert float(other.std()) > 0.1


@pytest.mark.parametrize("name", ["stable_diffusion", "velocity", "extra_large"])
def test_the_sampler_agrees_with_the_published_pipeline(name: str, tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(getattr(tiny_checkpoints, name)))
    prompts, start = ["the blue duck", "a red hen"], latents(2)
    condition = model.condition(prompts, negative_prompt="the rust", picture_size=(PX, PX))
    ours = sampled(model, condition, start, uniform_times(STEPS))
    pipeline = type(model.pipeline)(
        **{**model.pipeline.components, "scheduler": trailing_ddim(model)},
        **({} if name == "extra_large" else {"requires_safety_checker": False}),
    )
    assert_same(ours, theirs(pipeline, prompt=prompts, negative_prompt=["the rust"] * 2, latents=start))
    # One at a time they are the same: views that do not look at one another are independent.
    alone = sampled(model, condition, start, uniform_times(STEPS), views_at_once=1)
    assert_same(alone, ours)


def test_controls_and_picture_prompts_agree_with_the_published_pipeline(tiny_checkpoints: TinyCheckpoints):
    names = [str(tiny_checkpoints.depth_control), str(tiny_checkpoints.normal_control)]
    model = load_text_to_image(
        str(tiny_checkpoints.stable_diffusion), controls=names, ip_adapter=str(tiny_checkpoints.ip_adapter)
    )
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    depth, normals = (torch.from_numpy(random.random((2, 3, PX, PX), np.float32)) for _ in range(2))
    start = latents(2)
    condition = model.condition(
        ["a hen", "the hen"],
        picture_size=(PX, PX),
        picture=picture.transpose(2, 0, 1) / np.float32(255),
        controls=(depth, normals),
    )
    ours = sampled(model, condition, start, uniform_times(STEPS), control_scale=0.7)
    components = model.pipeline.components
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        **{**components, "scheduler": trailing_ddim(model)},
        controlnet=diffusers.MultiControlNetModel(list(model.controlnets)),
        requires_safety_checker=False,
    )
    other = theirs(
        pipeline,
        prompt=["a hen", "the hen"],
        image=[depth, normals],
        latents=start,
        controlnet_conditioning_scale=[0.7, 0.7],
        ip_adapter_image=[Image.fromarray(picture)],
    )
    assert_same(ours, other)
    # What they are shown matters.
    shown = {"picture_size": (PX, PX), "picture": np.zeros((3, 40, 50), np.float32), "controls": (depth, normals)}
    blank = model.condition(["a hen", "the hen"], **shown)
    assert float((sampled(model, blank, start, uniform_times(STEPS), control_scale=0.7) - ours).abs().max()) > 1e-2
    assert float((sampled(model, condition, start, uniform_times(STEPS), control_scale=0.0) - ours).abs().max()) > 1e-2


def test_students_of_few_steps_agree_with_their_pipeline(tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.consistency))
    start, fresh = latents(1), torch.Generator().manual_seed(7)
    draws = iter([start, *(torch.randn(start.shape, generator=fresh) for _ in range(4))])
    ours = sampled(
        model,
        model.condition(["the duck"], picture_size=(PX, PX)),
        start,
        model.student_times(4),
        consistency_step,
        lambda shape: next(draws),
    )
    pipeline = diffusers.LatentConsistencyModelPipeline.from_pretrained(tiny_checkpoints.consistency)
    pipeline.set_progress_bar_config(disable=True)
    other = pipeline(
        prompt=["the duck"],
        num_inference_steps=4,
        guidance_scale=GUIDANCE,
        latents=start,
        generator=torch.Generator().manual_seed(7),
        output_type="latent",
        height=PX,
        width=PX,
    ).images
    assert_same(ours, other)
    with pytest.raises(UserError, match="at most 50"):
        model.student_times(51)


def test_low_rank_weights_are_merged(tiny_checkpoints: TinyCheckpoints):
    plain, merged = (
        load_text_to_image(str(tiny_checkpoints.stable_diffusion), lora=lora)
        for lora in (None, str(tiny_checkpoints.lora / "pytorch_lora_weights.safetensors"))
    )
    start = latents(2)
    condition = plain.condition(["the duck"], picture_size=(PX, PX))
    without, ours = (sampled(model, condition, start, uniform_times(2)) for model in (plain, merged))
    plain.pipeline.load_lora_weights(str(tiny_checkpoints.lora))
    beside = sampled(plain, condition, start, uniform_times(2))
    assert_same(ours, beside)
    assert float((ours - without).abs().max()) > 1e-2


def test_views_look_at_their_neighbours_in_any_order(tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.stable_diffusion))
    denoiser = model.denoiser(SHAPE[1:], guidance_scale=GUIDANCE)
    noisy, time = latents(4), torch.full((4,), 0.6)
    prompts = ["a", "b", "c", "d"]
    neighbours = torch.tensor([[0, 1], [1, 2], [2, 0], [3, 0]])

    def clean(noisy: Tensor, prompts: list[str], neighbours: Tensor | None) -> Tensor:
        condition = model.condition(prompts, picture_size=(PX, PX), neighbours=neighbours)
        with torch.no_grad():
            return denoiser(noisy, time[: len(noisy)], condition)

    apart, joined = clean(noisy, prompts, None), clean(noisy, prompts, neighbours)
    assert float((apart - joined).abs().max()) > 1e-3
    torch.testing.assert_close(clean(noisy, prompts, torch.arange(4)[:, None]), apart, atol=1e-5, rtol=1e-5)

    order = torch.tensor([2, 0, 3, 1])
    place = torch.argsort(order)
    moved = clean(noisy[order], [prompts[view] for view in order], place[neighbours[order]])
    torch.testing.assert_close(moved, joined[order], atol=1e-5, rtol=1e-5)

    # Nobody looks at the last view: the others do not know it.
    other = noisy.clone()
    other[3] = 0
    torch.testing.assert_close(clean(other, prompts, neighbours)[:3], joined[:3], atol=1e-5, rtol=1e-5)
    # Two equal views that look at one another see the same tokens twice, which changes no average.
    twins = noisy[:1].repeat(2, 1, 1, 1)
    both = clean(twins, ["a", "a"], torch.tensor([[0, 1], [1, 0]]))
    torch.testing.assert_close(both, clean(twins, ["a", "a"], None), atol=1e-5, rtol=1e-5)


def test_attention_is_given_back_afterwards(tiny_checkpoints: TinyCheckpoints):
    unet = load_text_to_image(str(tiny_checkpoints.stable_diffusion)).pipeline.unet
    own = dict(unet.attn_processors)
    with pytest.raises(ValueError, match="3 views"), shared_views(unet, torch.zeros(2, 1, dtype=torch.long)):
        unet(latents(3), 5, encoder_hidden_states=torch.zeros(3, 4, 16))
    assert unet.attn_processors == own


def test_latents_are_those_of_the_autoencoder(tiny_checkpoints: TinyCheckpoints):
    model = load_text_to_image(str(tiny_checkpoints.stable_diffusion))
    codec, vae = model.codec, model.pipeline.vae
    pictures = torch.rand(3, 3, PX, PX) * 2 - 1
    with torch.no_grad():
        coded = codec.encode(pictures)
        torch.testing.assert_close(coded, vae.encode(pictures).latent_dist.mode() * 0.18215, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(codec.decode(coded), vae.decode(coded / 0.18215).sample, atol=1e-5, rtol=1e-5)
    assert coded.shape == (3, *SHAPE)
    assert model.picture_px == PX
    vae.register_to_config(latents_mean=[1.0, 0, 0, 0], latents_std=[2.0, 1, 1, 1])
    with torch.no_grad():
        shifted = codec.encode(pictures)
        torch.testing.assert_close(shifted[:, 0], (coded[:, 0] - 0.18215) / 2, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(codec.decode(shifted), vae.decode(coded / 0.18215).sample, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["small", "someone/nothing", "no/such/place"])
def test_names_of_nothing_are_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="Stable Diffusion") as refusal:
        load_text_to_image(name)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_is_missing_or_of_another_kind_is_named(tiny_checkpoints: TinyCheckpoints, tmp_path):
    base = str(tiny_checkpoints.stable_diffusion)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": str(tmp_path)}, "model_index.json"),
        ({"name": base, "controls": [base]}, "ControlNet"),
        ({"name": base, "controls": [str(tiny_checkpoints.extra_large_control)]}, "cross_attention_dim is 16"),
        ({"name": base, "lora": str(tmp_path)}, "--lora"),
        ({"name": base, "lora": str(tiny_checkpoints.ip_adapter / "models/ip-adapter_sd15.safetensors")}, "--lora"),
        ({"name": base, "ip_adapter": str(tmp_path)}, "IP-Adapter"),
        ({"name": base, "ip_adapter": str(tmp_path), "ip_adapter_file": "models/weights.bin"}, ".bin format"),
        ({"name": str(tiny_checkpoints.extra_large), "ip_adapter": str(tiny_checkpoints.ip_adapter)}, "sdxl_models"),
    ]
    for options, words in cases:
        with pytest.raises(UserError) as refusal:
            load_text_to_image(**options)
        assert words in str(refusal.value), refusal.value
        assert len(str(refusal.value).splitlines()) == 1


def test_a_broken_checkpoint_names_its_part(tiny_checkpoints: TinyCheckpoints, tmp_path):
    import json
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(tiny_checkpoints.stable_diffusion, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="the part vae"):
        load_text_to_image(str(folder))
    shutil.rmtree(folder / "unet")
    with pytest.raises(UserError, match="the part unet"):
        load_text_to_image(str(folder))
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "FluxPipeline"
    del index["unet"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="a FluxPipeline without unet"):
        load_text_to_image(str(folder))


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(UserError, match=r"onestep3d\[pretrained\]"):
        load_text_to_image("someone/something")
