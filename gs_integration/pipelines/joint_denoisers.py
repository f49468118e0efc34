"""What denoises the views of a task: the exact denoiser of a Gaussian field, or a text-to-image checkpoint."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.errors import UserError
from distill_core.models.text_to_image import TextToImage
from distill_core.models.text_to_image_loading import load_text_to_image
from distill_core.pictures.images import composite, read_picture, resize_premultiplied
from distill_core.synchronization.gaussian_field import GaussianField, periodic_component
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    JointSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)

logger = logging.getLogger(__name__)

GAUSSIAN_FIELD = "gaussian-field:"
TaskSettings = PanoramaSettings | Panorama360Settings | AmbiguousSettings | ZoomSettings | SequenceSettings

_FIELD_SIDES = 2
"""The field is that of the picture at so many window sides; beyond half a window its pixels are uncorrelated."""
_WRAPPED_LATENTS = 8
"""Columns carried over from the other end where a picture is closed: as far as a decoder looks, more or less."""
_PREVIEW_LATENTS = 32
_VIEWS_AT_ONCE = 16


@dataclass(frozen=True)
class ViewDenoiser:
    """A denoiser of views and all that a task has to know of it.

    Attributes:
        denoiser: of samples that `to_pictures` understands.
        condition: what it is told of the views of a task, or of any of them alone.
        to_pictures: samples [B, C, h, w] as pictures [B, 3, H, W], -1..1; of a closed picture if the second is true.
        preview: the same, as fast and small as will do.
        field: the Gaussian field, if that is what is denoised.
    """

    denoiser: Denoiser[Any]
    condition: Any
    to_pictures: Callable[[Tensor, bool], Tensor]
    preview: Callable[[Tensor], Tensor]
    field: GaussianField | None


def is_field(joint: JointSettings) -> bool:
    """Say whether a checkpoint is a Gaussian field.

    Args:
        joint: names the checkpoint.

    Raises:
        UserError: it is neither that nor a text-to-image checkpoint with a prompt.
    """
    checkpoint, prompted = joint.checkpoint, bool(joint.text.prompt)
    if checkpoint.startswith(GAUSSIAN_FIELD) and checkpoint != GAUSSIAN_FIELD and not prompted:
        return True
    if checkpoint.startswith(GAUSSIAN_FIELD) or not prompted:
        raise UserError(
            f"Expected --checkpoint {GAUSSIAN_FIELD}PICTURE without --prompt, or a published text-to-image model with "
            f"it, got {checkpoint} {'with' if prompted else 'without'} a prompt; the project's own checkpoints make "
            "views of an object from its picture, and cannot make panoramas or ambiguous pictures."
        )
    return False


def field_denoiser(checkpoint: str, window: tuple[int, int]) -> ViewDenoiser:
    """Return the exact denoiser of a picture's field.

    Args:
        checkpoint: gaussian-field:PICTURE.
        window: height and width of the views.

    Raises:
        UserError: the picture cannot be read.
    """
    picture = read_picture(Path(checkpoint.removeprefix(GAUSSIAN_FIELD))).rgba
    side = min(picture.shape[1:])
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    field_side = _FIELD_SIDES * max(window)
    square = np.ascontiguousarray(picture[:, top : top + side, left : left + side])
    opaque = composite(resize_premultiplied(square, field_side, field_side), 1.0)
    values = torch.from_numpy(opaque).double() * 2 - 1
    field = GaussianField(periodic_component(values), window, reach=max(window) // 2)
    return ViewDenoiser(field, None, lambda samples, closed: samples, lambda samples: samples, field)


def load_joint_model(joint: JointSettings, device: torch.device) -> TextToImage:
    """Load the text-to-image checkpoint of a task.

    Args:
        joint: names it.
        device: where it goes.

    Raises:
        UserError: it cannot be loaded.
    """
    return load_text_to_image(joint.checkpoint, device, lora=joint.text.lora)


def prompted_denoiser(model: TextToImage, settings: TaskSettings, latent_size: tuple[int, int]) -> ViewDenoiser:
    """Return the denoiser of latents of views after a prompt.

    Args:
        model: the loaded checkpoint.
        settings: of the task.
        latent_size: height and width of the views' latents.
    """
    text, codec = settings.joint.text, model.codec
    prompts = [text.prompt]
    if isinstance(settings, AmbiguousSettings):
        prompts = [f"{text.prompt}, {each}" for each in settings.view_prompts] or prompts
        if set(settings.views) != {"identity"}:
            logger.warning(
                "Views are changed as latents: what is turned, cut or negated there is not quite so in a picture."
            )
    unit = codec.pixels_a_latent
    if 2 * max(latent_size) * unit < model.picture_px:
        logger.warning(
            "%s was trained on pictures of %d pixels and makes little of smaller ones: choose a larger --window-px.",
            model.name,
            model.picture_px,
        )
    with torch.no_grad():
        condition = model.condition(
            prompts,
            negative_prompt=text.negative_prompt,
            picture_size=(latent_size[0] * unit, latent_size[1] * unit),
        )

    def to_pictures(latents: Tensor, closed: bool) -> Tensor:
        if not closed:
            return codec.decode(latents)
        width = latents.shape[3]
        columns = torch.arange(-_WRAPPED_LATENTS, width + _WRAPPED_LATENTS, device=latents.device) % width
        border = _WRAPPED_LATENTS * unit
        return codec.decode(latents[..., columns])[..., border:-border]

    def preview(latents: Tensor) -> Tensor:
        scale = min(1.0, _PREVIEW_LATENTS / max(latents.shape[2:]))
        size = [max(1, round(side * scale)) for side in latents.shape[2:]]
        return codec.decode(functional.interpolate(latents, size, mode="area"))

    denoiser = model.denoiser(latent_size, guidance_scale=text.guidance_scale, views_at_once=_VIEWS_AT_ONCE)
    return ViewDenoiser(denoiser, condition, to_pictures, preview, None)


def in_latents(settings: TaskSettings, pixels_a_latent: int) -> TaskSettings:
    """Return the settings of a task with all its sizes in latents.

    Args:
        settings: with sizes in pixels.
        pixels_a_latent: side of what a latent stands for.

    Raises:
        UserError: a size is no multiple of that.
    """
    names = [name for name in ("window_px", "width_px", "height_px", "stride_px") if hasattr(settings, name)]
    if isinstance(settings, SequenceSettings):
        names += ["num_frames", "overlap_frames"]
    for name in names:
        if getattr(settings, name) % pixels_a_latent:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"Expected {option} to be a multiple of {pixels_a_latent} for {settings.joint.checkpoint}, got "
                f"{getattr(settings, name)}."
            )
    values = settings.model_dump() | {name: getattr(settings, name) // pixels_a_latent for name in names}
    return type(settings).model_construct(**{**values, "joint": settings.joint})
