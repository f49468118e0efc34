"""Views whose every pixel is one canonical pixel, perhaps negated: windows, permutations, reflections.

Copies keep all that noise has: a view of standard normal noise is standard normal noise, the same wherever views meet.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distill_core.synchronization.projections import Votes


class PixelCopies:
    """Projection by an index and a sign a pixel.

    Args:
        canonical_shape: C, H, W.
        instance_shape: C, h, w.
        index: [V, h w] which of the H W canonical pixels, 0..H W - 1 in rows, each pixel copies.
        weights: [h w] or [V, h w] weight of each pixel's vote, above 0; 1 if not given.
        signs: [V] 1 or -1, what the values of a view are multiplied by.

    Raises:
        ValueError: an index or a weight out of its range, or shapes that do not fit.
    """

    def __init__(
        self,
        canonical_shape: tuple[int, int, int],
        instance_shape: tuple[int, int, int],
        index: Int[Tensor, "views pixels"],
        *,
        weights: Float[Tensor, "..."] | None = None,
        signs: Float[Tensor, " views"] | None = None,
    ) -> None:
        (channels, height, width), (own_channels, own_height, own_width) = canonical_shape, instance_shape
        if own_channels != channels or index.shape[1] != own_height * own_width:
            raise ValueError(f"expected an index of {instance_shape} pixels of {canonical_shape}, got {index.shape}")
        if index.numel() == 0 or int(index.min()) < 0 or int(index.max()) >= height * width:
            raise ValueError(f"expected pixels in 0..{height * width - 1}, got others or none")
        weights = torch.ones(index.shape) if weights is None else weights.expand(index.shape)
        if bool((weights <= 0).any()):
            raise ValueError("expected weights above 0, got others")
        self.canonical_shape = canonical_shape
        self.instances_shape = (index.shape[0], *instance_shape)
        self.index = index
        self._weights = weights
        self._signs = torch.ones(index.shape[0]) if signs is None else signs

    def project(self, canonical: Float[Tensor, "channels height width"]) -> Float[Tensor, "views channels h w"]:
        """Return the views of a canonical picture."""
        flat = canonical.flatten(1)[:, self.index.to(canonical.device)]
        views = flat.transpose(0, 1).reshape(self.instances_shape)
        return views * self._signs.to(views)[:, None, None, None]

    def unproject(self, instances: Float[Tensor, "views channels h w"]) -> Votes:
        """Return what the views say of every canonical pixel."""
        channels, height, width = self.canonical_shape
        index, weights = self.index.to(instances.device).flatten(), self._weights.to(instances)
        values = (instances * self._signs.to(instances)[:, None, None, None]).flatten(2) * weights[:, None]
        weighted = instances.new_zeros(channels, height * width)
        weighted.index_add_(1, index, values.transpose(0, 1).flatten(1))
        sums = instances.new_zeros(2, height * width)
        sums.index_add_(1, index, torch.stack([weights, weights.square()]).flatten(1))
        return Votes(weighted.reshape(self.canonical_shape), *sums.reshape(2, 1, height, width))

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "channels height width"]:
        """Return standard normal noise of the canonical picture."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "views channels h w"]:
        """Return the views of standard normal canonical noise."""
        return self.project(self.canonical_noise(generator))
