"""Pictures to the latents of a published autoencoder and back."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_TILED_PX = 1024
"""Side above which a picture is decoded in overlapping tiles."""


@dataclass(frozen=True)
class LatentCodec:
    """An autoencoder (diffusers' `AutoencoderKL`) with latents scaled to unit variance.

    One picture is coded at a time, so that memory does not grow with the number of views.

    Args:
        autoencoder: frozen, in evaluation mode.
    """

    autoencoder: Any

    @property
    def channels(self) -> int:
        """Of the latents."""
        return self.autoencoder.config.latent_channels

    @property
    def pixels_a_latent(self) -> int:
        """Side in pixels of what one latent stands for."""
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    def encode(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """Return the mean of the latents that the autoencoder expects, in the pictures' dtype.

        Args:
            pictures: RGB in -1..1, sides multiples of `pixels_a_latent`.
        """
        scale, shift = self._scale_and_shift(pictures)
        coded = [self.autoencoder.encode(self._own(picture[None])).latent_dist.mode() for picture in pictures]
        return (torch.cat(coded).to(pictures) - shift) * scale

    def decode(self, latents: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch 3 height width"]:
        """Return RGB pictures, about -1..1, in the latents' dtype.

        Args:
            latents: as `encode` returns them.
        """
        scale, shift = self._scale_and_shift(latents)
        plain = latents / scale + shift
        tiled = max(latents.shape[2:]) * self.pixels_a_latent > _TILED_PX
        self.autoencoder.use_tiling = tiled
        return torch.cat([self.autoencoder.decode(self._own(each[None])).sample for each in plain]).to(latents)

    def _own(self, values: Tensor) -> Tensor:
        own = next(self.autoencoder.parameters())
        return values.to(own.device, own.dtype)

    def _scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.autoencoder.config
        mean, deviation = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
        if mean is not None and deviation is not None:
            shape = (1, -1, 1, 1)
            return config.scaling_factor / like.new_tensor(deviation).reshape(shape), like.new_tensor(mean).reshape(
                shape
            )
        return like.new_tensor(config.scaling_factor), like.new_tensor(getattr(config, "shift_factor", None) or 0.0)
