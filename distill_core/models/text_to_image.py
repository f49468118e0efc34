"""Published text-to-image networks (Stable Diffusion 1.5, 2.1, XL and students of them) as denoisers of latents.

diffusers brings the networks; here they meet the `Denoiser` contract: a noisy latent, a time and a `TextCondition` in,
the clean latent out, whatever the network says (noise, velocity or the clean latent).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.guidance import ClassifierFreeGuidance
from distill_core.diffusion.parameterizations import CleanPrediction, Network, NoisePrediction, VelocityPrediction
from distill_core.diffusion.timestep_schedule import TimestepSchedule, student_times
from distill_core.errors import UserError
from distill_core.models.latent_codec import LatentCodec
from distill_core.models.shared_attention import shared_views

Family = Literal["Stable Diffusion", "Stable Diffusion XL"]

_TEACHER_STEPS = 50
"""Of the published latent consistency models and their low-rank weights."""


@dataclass(frozen=True)
class TextCondition:
    """What a network is told of B pictures; every tensor of a batch of 1 holds for all of them.

    Args:
        embeddings: of the prompts.
        pooled: embeddings of whole prompts, which Stable Diffusion XL wants.
        sizes: original size, corner and size of the pictures (height before width), which it wants too.
        image_prompts: of an IP-Adapter, [B, pictures, ...] an adapter.
        controls: pictures in 0..1 for each ControlNet.
        neighbours: views that each of the B views looks at, itself among them; None lets each look at itself.
        without: what guidance leads away from; None if nothing is guided.
    """

    embeddings: Float[Tensor, "batch tokens features"]
    pooled: Float[Tensor, "batch pooled_features"] | None = None
    sizes: Float[Tensor, "batch 6"] | None = None
    image_prompts: tuple[Tensor, ...] = ()
    controls: tuple[Float[Tensor, "batch_of_controls 3 height width"], ...] = ()
    neighbours: Int[Tensor, "views looked_at"] | None = None
    without: "TextCondition | None" = None

    def expanded(self, batch: int) -> "TextCondition":
        """The same with batches of so many pictures."""
        return self._each(lambda tensor: tensor.expand(batch, *tensor.shape[1:]) if len(tensor) == 1 else tensor)

    def chosen(self, pictures: slice) -> "TextCondition":
        """What it says of some of the pictures."""
        return self._each(lambda tensor: tensor[pictures])

    def _each(self, change: Any) -> "TextCondition":
        changed: dict[str, Any] = {}
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.name in ("image_prompts", "controls"):
                changed[field.name] = tuple(change(tensor) for tensor in value)
            elif field.name in ("embeddings", "pooled", "sizes") and value is not None:
                changed[field.name] = change(value)
        return replace(self, **changed)


@dataclass(frozen=True)
class TextNetwork:
    """UNet and ControlNets as one function of noisy latents, time and condition.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        controlnets: diffusers' `ControlNetModel`s, one a control of the condition.
        schedule: tells timesteps.
        control_scale: strength of the ControlNets; 1 is as they were trained.
        guidance_embedding: [1, features] for students that were told the strength of guidance; None for others.
        views_at_once: at most so many pictures go through the networks together, unless they look at one another.
    """

    unet: Any
    controlnets: tuple[Any, ...]
    schedule: TimestepSchedule
    control_scale: float = 1.0
    guidance_embedding: Float[Tensor, "1 features"] | None = None
    views_at_once: int | None = None

    def __call__(
        self,
        noisy: Float[Tensor, "batch channels height width"],
        time: Float[Tensor, " batch"],
        condition: TextCondition,
    ) -> Float[Tensor, "batch channels height width"]:
        """Return what the network says, in the dtype of the latents."""
        batch = len(noisy)
        condition = condition.expanded(batch)
        if condition.neighbours is not None:
            with shared_views(self.unet, condition.neighbours):
                return self._say(noisy, time, condition)
        limit = self.views_at_once or batch
        parts = [slice(first, first + limit) for first in range(0, batch, limit)]
        return torch.cat([self._say(noisy[part], time[part], condition.chosen(part)) for part in parts])

    def _say(self, noisy: Tensor, time: Tensor, condition: TextCondition) -> Tensor:
        kind = {"device": self.unet.device, "dtype": self.unet.dtype}
        latents, embeddings = noisy.to(**kind), condition.embeddings.to(**kind)
        timesteps = self.schedule.timesteps(time).long().to(self.unet.device)
        added: dict[str, Any] = {}
        if condition.pooled is not None and condition.sizes is not None:
            added |= {"text_embeds": condition.pooled.to(**kind), "time_ids": condition.sizes.to(**kind)}
        down: list[Tensor] | None = None
        middle: Tensor | None = None
        for controlnet, picture in zip(self.controlnets, condition.controls, strict=True):
            own_down, own_middle = controlnet(
                latents,
                timesteps,
                encoder_hidden_states=embeddings,
                controlnet_cond=picture.to(**kind),
                conditioning_scale=self.control_scale,
                added_cond_kwargs=dict(added),
                return_dict=False,
            )
            down = own_down if down is None else [one + other for one, other in zip(down, own_down, strict=True)]
            middle = own_middle if middle is None else middle + own_middle
        if condition.image_prompts:
            added["image_embeds"] = [picture.to(**kind) for picture in condition.image_prompts]
        guidance = self.guidance_embedding
        said = self.unet(
            latents,
            timesteps,
            encoder_hidden_states=embeddings,
            timestep_cond=None if guidance is None else guidance.to(**kind).expand(len(latents), -1),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            added_cond_kwargs=added or None,
            return_dict=False,
        )[0]
        return said.to(noisy)


@dataclass(frozen=True)
class TextToImage:
    """A loaded checkpoint, frozen; see `text_to_image_loading`.

    Args:
        name: what it was loaded by.
        family: which architecture.
        pipeline: diffusers' pipeline that holds the parts and knows how prompts are encoded.
        controlnets: in the order in which a condition has their pictures.
        schedule: from the checkpoint's own scheduler.
        prediction: what the network says, in diffusers' words: epsilon, v_prediction or sample.
        teacher_steps: equal steps that a latent consistency model's teacher took; None for other checkpoints.
    """

    name: str
    family: Family
    pipeline: Any
    controlnets: tuple[Any, ...]
    schedule: TimestepSchedule
    prediction: str
    teacher_steps: int | None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.pipeline.unet.device

    @property
    def codec(self) -> LatentCodec:
        """Between pictures and latents."""
        return LatentCodec(self.pipeline.vae)

    @property
    def picture_px(self) -> int:
        """Side of the pictures that the network was trained on."""
        return int(self.pipeline.unet.config.sample_size) * self.codec.pixels_a_latent

    @property
    def takes_pictures(self) -> bool:
        """Whether an IP-Adapter is part of it."""
        return self.pipeline.unet.encoder_hid_proj is not None

    def student_times(self, steps: int) -> Tensor:
        """Return the times [steps + 1] of a consistency sampler, those that the student's teacher knew.

        Args:
            steps: at least 1.

        Raises:
            UserError: more steps than the teacher took.
        """
        points = self.teacher_steps or _TEACHER_STEPS
        if steps > points:
            raise UserError(
                f"Expected at most {points} steps of the consistency sampler for {self.name}, as its teacher took, got "
                f"{steps}; students of few steps need 1 to 8."
            )
        return student_times(steps, points=points)

    def condition(
        self,
        prompts: Sequence[str],
        *,
        negative_prompt: str = "",
        picture_size: tuple[int, int],
        picture: Float[np.ndarray, "3 picture_height picture_width"] | None = None,
        controls: tuple[Float[Tensor, "views 3 height width"], ...] = (),
        neighbours: Int[Tensor, "views looked_at"] | None = None,
    ) -> TextCondition:
        """Encode what the network is to be told.

        Args:
            prompts: one for all pictures, or one each.
            negative_prompt: what guidance leads away from, beside no prompt at all.
            picture_size: height and width of the pictures in pixels.
            picture: RGB in 0..1 for the IP-Adapter, if the checkpoint has one.
            controls: pictures for each ControlNet.
            neighbours: which views look at which.
        """
        encoded = self.pipeline.encode_prompt(
            prompt=list(prompts),
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=[negative_prompt] * len(prompts) if negative_prompt else None,
        )
        pooled, sizes, without_pooled = None, None, None
        if self.family == "Stable Diffusion XL":
            pooled, without_pooled = encoded[2], encoded[3]
            height, width = picture_size
            size = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=self.device)
            sizes = size.expand(len(prompts), -1)
        seen, unseen = self._image_prompts(picture)
        told = TextCondition(encoded[0], pooled, sizes, seen, controls, neighbours)
        return replace(told, without=replace(told, embeddings=encoded[1], pooled=without_pooled, image_prompts=unseen))

    def _image_prompts(self, picture: np.ndarray | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if (picture is not None) != self.takes_pictures:
            raise ValueError("expected a picture where the checkpoint has an IP-Adapter, and none where it has none")
        if picture is None:
            return (), ()
        shown = Image.fromarray((picture.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8))
        both = self.pipeline.prepare_ip_adapter_image_embeds([shown], None, self.device, 1, True)
        without, told = zip(*(embeds.chunk(2) for embeds in both), strict=True)
        return tuple(told), tuple(without)

    def denoiser(
        self,
        latent_size: tuple[int, int],
        *,
        guidance_scale: float,
        control_scale: float = 1.0,
        views_at_once: int | None = None,
    ) -> Denoiser[TextCondition]:
        """Return the denoiser of latents.

        Args:
            latent_size: height and width of the latents.
            guidance_scale: 1 is the plain prediction. Students that are told the strength are told it; all others are
                asked twice.
            control_scale: strength of the ControlNets.
            views_at_once: at most so many pictures go through the networks together.

        Raises:
            UserError: the checkpoint predicts noise at a time when there is nothing but noise.
        """
        told_strength = self.pipeline.unet.config.time_cond_proj_dim
        embedding = None
        if told_strength is not None:
            # The published students count guidance from the unguided prediction.
            strength = torch.tensor([guidance_scale - 1.0])
            embedding = self.pipeline.get_guidance_scale_embedding(strength, embedding_dim=told_strength)
        network = TextNetwork(
            self.pipeline.unet, self.controlnets, self.schedule, control_scale, embedding, views_at_once
        )
        plain = self._parameterized(network, (self.codec.channels, *latent_size))
        if told_strength is not None or guidance_scale == 1:
            return plain
        return ClassifierFreeGuidance(plain, guidance_scale, _without)

    def _parameterized(self, network: Network, shape: tuple[int, int, int]) -> Denoiser[TextCondition]:
        match self.prediction:
            case "epsilon":
                if float(self.schedule.alpha(torch.ones(()))) <= 0:
                    raise UserError(
                        f"{self.name}: expected a network that predicts velocity for a schedule that ends in pure "
                        "noise, got one that predicts noise; its scheduler's settings contradict one another, choose "
                        "another checkpoint."
                    )
                return NoisePrediction(network, self.schedule, shape)
            case "v_prediction":
                return VelocityPrediction(network, self.schedule, shape)
            case _:
                return CleanPrediction(network, self.schedule, shape)


def _without(condition: TextCondition) -> TextCondition:
    assert condition.without is not None, "expected a condition with something to be guided away from"
    return condition.without
