"""What a person can choose about published text-to-image checkpoints. No torch here."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SamplerName = Literal["ddim", "heun", "dpm-solver", "ancestral", "consistency"]


class PromptSettings(BaseModel):
    """What a text-to-image checkpoint is told, whatever it makes pictures for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(
        default="",
        description="what the pictures shall show, in words; needs --checkpoint with the name or folder of a published "
        "text-to-image model (Stable Diffusion 1.5, 2.1 or XL) and the extra `pretrained`",
    )
    negative_prompt: str = Field(default="", description="what the pictures shall not show, in words")
    guidance_scale: float = Field(
        default=7.5, ge=0, le=100, description="how strongly the prompt is followed; 1 is the plain prediction"
    )
    lora: str | None = Field(
        default=None,
        description="name, folder or .safetensors file of low-rank weights for the checkpoint, such as those that make "
        "it a student of few steps",
    )


class PromptedTextureSettings(BaseModel):
    """A texture from a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: PromptSettings = PromptSettings()
    control: str | None = Field(
        default=None, description="name or folder of a ControlNet that is shown the mesh's depth, near bright"
    )
    normal_control: str | None = Field(
        default=None,
        description="name or folder of a ControlNet that is shown the mesh's normals, red left, green up, blue to the "
        "viewer",
    )
    control_scale: float = Field(default=0.8, ge=0, le=2, description="strength of the ControlNets, 0 to 2")
    ip_adapter: str | None = Field(
        default=None, description="name or folder of an IP-Adapter, through which --image is heard beside the prompt"
    )
    ip_adapter_file: str | None = Field(
        default=None,
        description="weights inside the IP-Adapter's folder, .safetensors, with the folder image_encoder beside them; "
        "none takes those of the checkpoint's family",
    )
    ip_adapter_scale: float = Field(default=0.6, ge=0, le=1, description="how much of the picture is heard, 0 to 1")
    canonical: Literal["latent", "rgb"] = Field(
        default="latent",
        description="what the views are joined in: a texture of latents, or one of colours, for which views are "
        "decoded and encoded in every step",
    )
    denoising_steps: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] = Field(
        default="auto",
        description="steps with a prompt, in place of --steps; auto takes 30, and 4 for a latent consistency model",
    )
    denoising_sampler: SamplerName | Literal["auto"] = Field(
        default="auto",
        description="sampler with a prompt, in place of --sampler; auto takes ddim, and consistency for a latent "
        "consistency model; other students of few steps may want consistency, too",
    )
    picture_px: Annotated[int, Field(ge=16, le=2048)] | Literal["auto"] = Field(
        default="auto", description="side of the pictures in pixels; auto takes what the checkpoint was trained on"
    )
    latent_texture_size: int = Field(
        default=512, ge=16, le=4096, description="side of the texture of latents, and of the noise that views share"
    )
    sync_until: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="time of the last synchronized step, 0 clean to 1 noise; later steps, which sharpen, are taken by "
        "each view alone",
    )
    share_attention: bool = Field(
        default=True, description="let each view look at its neighbours and at the front view in self-attention"
    )
    directions: bool = Field(
        default=True,
        description="say behind the prompt from where each view looks: front view, side view, back view, top view",
    )
    views_at_once: int = Field(
        default=16, ge=1, le=64, description="views that go through the networks together, unless they share attention"
    )
