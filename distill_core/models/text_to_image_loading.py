"""Text-to-image checkpoints by published name or folder, in diffusers' layout.

Every part is loaded as the class that it has to be, from safetensors; what a checkpoint's index says of classes is
read and never imported, so no code of a checkpoint runs. Names are looked for in the local cache, then downloaded.
"""

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from distill_core.diffusion.timestep_schedule import TimestepSchedule
from distill_core.errors import UserError
from distill_core.models.text_to_image import Family, TextToImage

_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_ADAPTER_FILES: dict[Family, str] = {
    "Stable Diffusion": "models/ip-adapter_sd15.safetensors",
    "Stable Diffusion XL": "sdxl_models/ip-adapter_sdxl.safetensors",
}
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_LCM_SCHEDULER = "LCMScheduler"
_LCM_TEACHER_STEPS = 50


def load_text_to_image(
    name: str,
    device: torch.device | str = "cpu",
    *,
    lora: str | None = None,
    controls: Sequence[str] = (),
    ip_adapter: str | None = None,
    ip_adapter_file: str | None = None,
    ip_adapter_scale: float = 0.6,
) -> TextToImage:
    """Load a checkpoint and what is to be put on it: half precision on CUDA, single on the CPU.

    Args:
        name: a published name (owner/name) or a folder.
        device: where the networks go.
        lora: name, folder or .safetensors file of low-rank weights, which are merged into the networks.
        controls: names or folders of ControlNets.
        ip_adapter: name or folder of an IP-Adapter.
        ip_adapter_file: its weights inside that; those of the family's first published adapter if not given. The
            picture's encoder lies beside them, in the folder image_encoder.
        ip_adapter_scale: how much of the picture is heard beside the prompt, 0..1.

    Raises:
        UserError: the packages are not installed, or something is missing, of another kind, or cannot be downloaded.
    """
    diffusers, transformers = libraries(f"The checkpoint {name!r}")
    device = torch.device(device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    index = _index(diffusers, name)
    parts: dict[str, Any] = {
        "unet": _part(name, "unet", diffusers.UNet2DConditionModel, torch_dtype=dtype),
        "vae": _part(name, "vae", diffusers.AutoencoderKL, torch_dtype=dtype),
        "text_encoder": _part(name, "text_encoder", transformers.CLIPTextModel, dtype=dtype),
        "tokenizer": _part(name, "tokenizer", transformers.CLIPTokenizer),
    }
    family: Family = "Stable Diffusion"
    pipeline_class: Any = diffusers.StableDiffusionPipeline
    options: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if _named(index, "text_encoder_2"):
        family, pipeline_class = "Stable Diffusion XL", diffusers.StableDiffusionXLPipeline
        encoder = transformers.CLIPTextModelWithProjection
        parts["text_encoder_2"] = _part(name, "text_encoder_2", encoder, dtype=dtype)
        parts["tokenizer_2"] = _part(name, "tokenizer_2", transformers.CLIPTokenizer)
        options = {
            "force_zeros_for_empty_prompt": bool(index.get("force_zeros_for_empty_prompt", True)),
            "add_watermarker": False,
        }
    _check_network(name, parts["unet"], parts["vae"])
    if parts["vae"].config.force_upcast:
        # Such an autoencoder overflows in half precision.
        parts["vae"] = parts["vae"].float()
    with _mendable(f"Expected a checkpoint with a noise schedule of betas, got {name!r}"):
        told = diffusers.DDIMScheduler.load_config(name, subfolder="scheduler")
        scheduler = _ddim(diffusers, told)
    pipeline = pipeline_class(**parts, scheduler=scheduler, **options)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        _merge_lora(pipeline, lora)
    if ip_adapter is not None:
        _put_on_adapter(transformers, pipeline, ip_adapter, ip_adapter_file or _ADAPTER_FILES[family], ip_adapter_scale)
    controlnets = tuple(_controlnet(diffusers, control, parts["unet"], dtype) for control in controls)
    for network in (
        *(part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)),
        *controlnets,
    ):
        network.to(device).eval().requires_grad_(requires_grad=False)
    return TextToImage(
        name,
        family,
        pipeline,
        controlnets,
        TimestepSchedule(scheduler.alphas_cumprod),
        scheduler.config.prediction_type,
        _teacher_steps(told, parts["unet"]),
    )


def libraries(what: str) -> tuple[ModuleType, ModuleType]:
    """Return diffusers and transformers, which take seconds to import.

    Args:
        what: needs them.

    Raises:
        UserError: they are not installed.
    """
    try:
        transformers = importlib.import_module("transformers")
        # Else it says on every import that torchvision, which is not needed, is not there.
        transformers.utils.logging.set_verbosity_error()
        diffusers = importlib.import_module("diffusers")
    except ImportError as error:
        raise UserError(
            f"{what}: expected the packages diffusers and transformers, got none; pip install 'onestep3d[pretrained]'."
        ) from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    return diffusers, transformers


def _index(diffusers: ModuleType, name: str) -> Mapping[str, Any]:
    """The checkpoint's own list of its parts."""
    expected = (
        "Expected a Stable Diffusion 1.5, 2.1 or XL checkpoint: a published name (owner/name), or a folder in the "
        "layout of diffusers with model_index.json and weights in safetensors"
    )
    if name.count("/") != 1 and not Path(name).is_dir():  # a slip of the finger is not looked for on a server
        raise UserError(f"{expected}, got {name!r}, which is neither.")
    with _mendable(f"{expected}, got {name!r}"):
        index = diffusers.DiffusionPipeline.load_config(name)
        missing = [part for part in _PARTS if not _named(index, part)]
        if missing:
            raise ValueError(f"a {index.get('_class_name', 'pipeline')} without {missing[0]}")
        if _named(index, "text_encoder_2") and not _named(index, "tokenizer_2"):
            raise ValueError("two text encoders and one tokenizer")
    return index


def _named(index: Mapping[str, Any], part: str) -> bool:
    """Whether an index says of what class a part is; optional parts that are absent stand there as [null, null]."""
    entry = index.get(part)
    return isinstance(entry, list | tuple) and len(entry) == 2 and all(entry)


def _part(name: str, part: str, kind: Any, **options: Any) -> Any:
    if "tokenizer" not in part:
        options["use_safetensors"] = True
    with _mendable(f"Expected the part {part} ({kind.__name__}) in the checkpoint {name!r}, got none that can be read"):
        return kind.from_pretrained(name, subfolder=part, **options)


def _check_network(name: str, unet: Any, vae: Any) -> None:
    channels, latents = unet.config.in_channels, vae.config.latent_channels
    if channels != latents or unet.config.out_channels != latents:
        raise UserError(
            f"{name}: expected a network that reads and says {latents} latent channels, got {channels} and "
            f"{unet.config.out_channels} (inpainting and editing checkpoints have more); choose a text-to-image "
            "checkpoint."
        )


def _ddim(diffusers: ModuleType, told: Mapping[str, Any]) -> Any:
    """The table of noise of a checkpoint's scheduler, whichever sampler it names."""
    if told.get("beta_schedule") is None and told.get("trained_betas") is None:
        raise ValueError(f"the scheduler {told.get('_class_name')}")
    # Only its table of noise is read; these two would be complained about where a checkpoint has them otherwise.
    scheduler = diffusers.DDIMScheduler.from_config(told, clip_sample=False, steps_offset=1)
    if scheduler.config.prediction_type not in _PREDICTIONS:
        raise ValueError(f"the prediction type {scheduler.config.prediction_type!r}")
    return scheduler


def _teacher_steps(told: Mapping[str, Any], unet: Any) -> int | None:
    if told.get("_class_name") != _LCM_SCHEDULER and unet.config.time_cond_proj_dim is None:
        return None
    return int(told.get("original_inference_steps") or _LCM_TEACHER_STEPS)


def _merge_lora(pipeline: Any, lora: str) -> None:
    path = Path(lora)
    place, options = (str(path.parent), {"weight_name": path.name}) if path.is_file() else (lora, {})
    with _mendable(f"Expected low-rank weights (LoRA, .safetensors) that fit the checkpoint for --lora, got {lora!r}"):
        pipeline.load_lora_weights(place, use_safetensors=True, **options)
        if not pipeline.get_active_adapters():
            raise ValueError("no weights of this checkpoint's layers in it")
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()


def _put_on_adapter(transformers: ModuleType, pipeline: Any, adapter: str, file: str, scale: float) -> None:
    path = Path(file)
    encoder = transformers.CLIPVisionModelWithProjection
    with _mendable(
        f"Expected an IP-Adapter that fits the checkpoint, {file} and image_encoder beside it, got {adapter!r}"
    ):
        if path.suffix != ".safetensors":
            raise ValueError(f"weights in {path.suffix or 'no'} format")
        pipeline.register_modules(
            image_encoder=encoder.from_pretrained(
                adapter,
                subfolder=(path.parent / "image_encoder").as_posix(),
                dtype=pipeline.unet.dtype,
                use_safetensors=True,
            )
        )
        pipeline.load_ip_adapter(
            adapter, subfolder=path.parent.as_posix(), weight_name=path.name, image_encoder_folder=None
        )
        pipeline.set_ip_adapter_scale(scale)


def _controlnet(diffusers: ModuleType, name: str, unet: Any, dtype: torch.dtype) -> Any:
    expected = "Expected a ControlNet (a published name, or a folder with config.json and weights in safetensors)"
    with _mendable(f"{expected}, got {name!r}"):
        controlnet = diffusers.ControlNetModel.from_pretrained(name, torch_dtype=dtype, use_safetensors=True)
    for what in ("cross_attention_dim", "block_out_channels", "addition_embed_type"):
        own, needed = getattr(controlnet.config, what), getattr(unet.config, what)
        if own != needed:
            raise UserError(
                f"{expected} for this checkpoint's family, whose {what} is {needed}, got {name!r} with {own}; choose "
                "one that was trained for it."
            )
    return controlnet


@contextmanager
def _mendable(expected: str) -> Iterator[None]:
    """Turn what libraries raise while loading into one sentence."""
    try:
        with warnings.catch_warnings():
            # diffusers still tells the hub's library where not to put links, which no longer asks.
            warnings.filterwarnings("ignore", message=".*`local_dir_use_symlinks`", category=UserWarning)
            yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, _LOADING_ERRORS) and type(error).__name__ != "SafetensorError":
            raise
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UserError(f"{expected}: {reason}; check the name, the files and the connection.") from error
