"""The published text-to-image model that paints a mesh after a prompt."""

from typing import TYPE_CHECKING

import torch

from distill_core.models.text_to_image_loading import load_text_to_image

if TYPE_CHECKING:
    from distill_core.models.text_to_image import TextToImage
    from gs_integration.pipelines.texture_settings import TextureSettings


def prompted_model(settings: "TextureSettings", device: torch.device) -> "TextToImage":
    """Load the published checkpoint of a prompt, with all that goes with it.

    Args:
        settings: checkpoint, ControlNets, IP-Adapter, low-rank weights.
        device: where to.

    Raises:
        UserError: one of them is missing or of another kind.
    """
    prompted = settings.prompted
    return load_text_to_image(
        settings.generator.checkpoint,
        device,
        lora=prompted.text.lora,
        controls=[control for control in (prompted.control, prompted.normal_control) if control is not None],
        ip_adapter=prompted.ip_adapter,
        ip_adapter_file=prompted.ip_adapter_file,
        ip_adapter_scale=prompted.ip_adapter_scale,
    )


def model_names(settings: "TextureSettings") -> tuple[object, ...]:
    """What decides which weights `prompted_model` loads: the same names, the same model.

    Args:
        settings: of a texture after a prompt.
    """
    prompted = settings.prompted
    return (
        settings.generator.checkpoint,
        prompted.text.lora,
        prompted.control,
        prompted.normal_control,
        prompted.ip_adapter,
        prompted.ip_adapter_file,
        prompted.ip_adapter_scale,
    )
