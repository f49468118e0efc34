"""Textures whose views are latents: what lies beside the object, and a texture of colours behind encoded views."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import Schedule, per_sample
from distill_core.models.latent_codec import LatentCodec
from distill_core.synchronization.projections import LastVotes, Votes
from gs_integration.texturing.texture_projection import TextureProjection


class OnBackground:
    """A denoiser of latents of a surface before a known background.

    Views of a texture hold nothing beside the object. The network is shown what it knows from pictures: with a the
    alpha of the mesh, x the noisy latents and b the background's, a x + (1 - a) scale b, and so much noise of the
    views' own that the whole has the schedule's noise everywhere. It is drawn once for all times, as a deterministic
    sampler would keep it.

    Args:
        network: of latents.
        alpha: [V, 1, h, w] share of each latent that the mesh covers, 0..1.
        background: [1, C, h, w] clean latents of the background.
        generator: of the noise beside the mesh.
    """

    def __init__(
        self,
        network: Denoiser[Any],
        alpha: Float[Tensor, "views 1 height width"],
        background: Float[Tensor, "1 channels height width"],
        generator: torch.Generator,
    ) -> None:
        self._network = network
        self._alpha = alpha
        self._background = background
        shape = (len(alpha), *background.shape[1:])
        self._own_noise = torch.randn(shape, generator=generator, device=generator.device).to(alpha)
        self.schedule: Schedule = network.schedule
        self.sample_shape = network.sample_shape

    def __call__(
        self,
        noisy: Float[Tensor, "views channels height width"],
        time: Float[Tensor, " views"],
        condition: Any,
    ) -> Float[Tensor, "views channels height width"]:
        """Return the clean latents; beside the mesh they are the network's idea of the background."""
        scale, sigma = (per_sample(factor(time), noisy) for factor in (self.schedule.alpha, self.schedule.sigma))
        alpha = self._alpha
        beside = (1 - alpha) * scale * self._background + (1 - alpha.square()).sqrt() * sigma * self._own_noise
        return self._network(alpha * noisy + beside, time, condition)

    def over_background(
        self, clean: Float[Tensor, "views channels height width"]
    ) -> Float[Tensor, "views channels height width"]:
        """Return clean latents of the surface with the background's beside it, as a decoder should see them.

        Args:
            clean: of the surface; what they hold beside it does not matter.
        """
        return self._alpha * clean + (1 - self._alpha) * self._background


class EncodedTexture:
    """A texture of colours whose views are latents: decoded to be joined, encoded to be denoised (SyncTweedies).

    Neither direction is linear, and noise has no meaning in colours: only clean latents may be joined through it. Noise
    of the views comes from the surface at the latents' own resolution.

    Args:
        pixels: projection of the mesh to views in pixels.
        latents: the same mesh and cameras at the latents' resolution.
        codec: between the two.
        background: RGB in -1..1 beside the object.
    """

    def __init__(
        self,
        pixels: TextureProjection,
        latents: TextureProjection,
        codec: LatentCodec,
        background: tuple[float, float, float],
    ) -> None:
        self._pixels, self._latents, self._codec = pixels, latents, codec
        self._background = torch.tensor(background).reshape(1, 3, 1, 1)
        # A preview asks for what has just been joined; decoding is the dear part.
        self._votes = LastVotes(lambda latents: pixels.unproject(codec.decode(latents).clamp(-1, 1)))

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """Three channels and both sides of the texture."""
        return 3, self._pixels.texture_size, self._pixels.texture_size

    @property
    def instances_shape(self) -> tuple[int, int, int, int]:
        """Views, channels of the latents, height, width."""
        cameras = self._latents.cameras
        return len(cameras), self._codec.channels, cameras[0].height, cameras[0].width

    def project(self, canonical: Float[Tensor, "3 size size"]) -> Float[Tensor, "views channels height width"]:
        """Return the latents of the views of a texture in -1..1, over the background."""
        alpha = self._pixels.alpha.to(canonical)
        pictures = self._pixels.project(canonical) * alpha + self._background.to(canonical) * (1 - alpha)
        return self._codec.encode(pictures)

    def unproject(self, instances: Float[Tensor, "views channels height width"]) -> Votes:
        """Return what the decoded views say of the texture."""
        return self._votes(instances)

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "3 size size"]:
        """Return a standard normal texture."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "views channels height width"]:
        """Return latents that are standard normal and white in each view, and the same on the surface."""
        return self._latents.initial_noise(generator, self._codec.channels)
