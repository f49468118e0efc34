"""Text-to-image checkpoints of the published classes, a few thousand weights each, written as published ones are."""

import copy
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEATURES = 16
LATENT_PX = 8
"""Side of the pictures' latents; a latent stands for 2 x 2 pixels."""
_WIDTHS = (16, 32)


@dataclass(frozen=True)
class TinyCheckpoints:
    """Folders of checkpoints."""

    stable_diffusion: Path
    velocity: Path
    """The same with velocity prediction and zero terminal SNR."""
    consistency: Path
    """A latent consistency model, told its guidance."""
    extra_large: Path
    depth_control: Path
    normal_control: Path
    extra_large_control: Path
    ip_adapter: Path
    lora: Path


def write_tiny_checkpoints(folder: Path) -> TinyCheckpoints:
    """Write one of each.

    Args:
        folder: exists.
    """
    diffusers, transformers = _library("diffusers"), _library("transformers")
    torch = _library("torch")
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    names = TinyCheckpoints(*(folder / name for name in TinyCheckpoints.__annotations__))
    shared = {"vae": _vae(), "tokenizer": _tokenizer(folder / "words"), "text_encoder": _text_encoder(projected=False)}
    bare = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    unet = _unet()
    published = diffusers.PNDMScheduler(**betas, skip_prk_steps=True, steps_offset=1)
    diffusers.StableDiffusionPipeline(**shared, unet=unet, scheduler=published, **bare).save_pretrained(
        names.stable_diffusion
    )
    zero = diffusers.DDIMScheduler(
        **betas,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
    )
    diffusers.StableDiffusionPipeline(**shared, unet=_unet(), scheduler=zero, **bare).save_pretrained(names.velocity)
    student = _unet(time_cond_proj_dim=8)
    diffusers.LatentConsistencyModelPipeline(
        **shared, unet=student, scheduler=diffusers.LCMScheduler(**betas), **bare
    ).save_pretrained(names.consistency)
    large = _unet(
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=FEATURES + 24,
        cross_attention_dim=2 * FEATURES, use_linear_projection=True,
    )  # fmt: skip
    diffusers.StableDiffusionXLPipeline(
        **shared,
        unet=large,
        tokenizer_2=shared["tokenizer"],
        text_encoder_2=_text_encoder(projected=True),
        scheduler=diffusers.EulerDiscreteScheduler(**betas, steps_offset=1),
    ).save_pretrained(names.extra_large)
    for place, network in (
        (names.depth_control, unet),
        (names.normal_control, unet),
        (names.extra_large_control, large),
    ):
        _controlnet(network).save_pretrained(place)
    _write_ip_adapter(names.ip_adapter, unet)
    _write_lora(names.lora, unet)
    return names


def _library(name: str) -> Any:
    """A module that takes long to import, and whose names type checkers do not find."""
    return importlib.import_module(name)


def _unet(**changes: Any) -> Any:
    diffusers = _library("diffusers")
    values: dict[str, Any] = {
        "sample_size": LATENT_PX,
        "block_out_channels": _WIDTHS,
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": FEATURES,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return diffusers.UNet2DConditionModel(**{**values, **changes})


def _vae() -> Any:
    diffusers = _library("diffusers")
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=2 * LATENT_PX,
        scaling_factor=0.18215,
    )


def _tokenizer(folder: Path) -> Any:
    """Letters, each alone and at the end of a word, and the signs that frame a prompt."""
    transformers = _library("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), "th", "the</w>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def _text_encoder(*, projected: bool) -> Any:
    transformers = _library("transformers")
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=90,
            hidden_size=FEATURES,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            projection_dim=FEATURES,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def _controlnet(unet: Any) -> Any:
    """A ControlNet as its training starts, but for its last layers, which are zero there and say nothing."""
    diffusers, torch = _library("diffusers"), _library("torch")
    controlnet = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16))
    for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return controlnet


def _write_ip_adapter(folder: Path, unet: Any) -> None:
    """Weights as the published adapters name them: four tokens of a picture, and keys and values of each layer."""
    torch, transformers = _library("torch"), _library("transformers")
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=FEATURES,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
            projection_dim=FEATURES,
        )
    )
    encoder.save_pretrained(folder / "models" / "image_encoder")
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * FEATURES, FEATURES),
        "image_proj.proj.bias": torch.randn(4 * FEATURES),
        "image_proj.norm.weight": torch.ones(FEATURES),
        "image_proj.norm.bias": torch.zeros(FEATURES),
    }
    layers = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    modules = dict(unet.named_modules())
    for number, name in enumerate(layers):
        key = modules[name.removesuffix(".processor")].to_k.weight
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(key.shape) / FEATURES**0.5
    _library("safetensors.torch").save_file(tensors, folder / "models" / "ip-adapter_sd15.safetensors")


def _write_lora(folder: Path, unet: Any) -> None:
    diffusers, peft = _library("diffusers"), _library("peft")
    adapted = copy.deepcopy(unet)
    adapted.add_adapter(peft.LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = peft.get_peft_model_state_dict(adapted)
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
