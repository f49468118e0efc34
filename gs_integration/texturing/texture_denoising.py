"""A view generator as a denoiser of colours on a known surface, and the texture that its views are joined in.

The generator makes premultiplied RGBA pictures of objects. Where a mesh is known, its silhouette is too, and what
remains to be found are colours. So the joint process runs in straight colours, which both directions of the projection
map linearly, and only the denoiser knows of alpha.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import Schedule, per_sample
from distill_core.guide import extended_colours
from distill_core.synchronization.projections import LastVotes, Votes
from gs_integration.texturing.texture_projection import TextureProjection

_RIM_WEIGHT = 0.2
"""What a pixel beside the silhouette counts where others are wholly inside near by: colours there are mixed with the
background, and no more is believed of them than of pixels of which the mesh covers a fifth."""
_RIM_REACH_PX = 3
"""How far from such pixels. Parts that are thinner all over (leaves, wings from the front) have nothing but their own
colours: what lies farther off is something else, such as the pot that would make leaves pale."""


@dataclass(frozen=True)
class ChanneledTexture:
    """A texture projection for pictures of a fixed number of channels: the contract of diffusion synchronization.

    Noise of the views is that of the parts of the surface under their pixels, which are finer than texels where texels
    are wide; it agrees between views as canonical noise would, but is white in each.

    Args:
        projection: of the mesh.
        channels: of the texture and the views.
    """

    projection: TextureProjection
    channels: int = 3

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """Channels and both sides of the texture."""
        return self.channels, self.projection.texture_size, self.projection.texture_size

    @property
    def instances_shape(self) -> tuple[int, int, int, int]:
        """Views, channels, height, width."""
        cameras = self.projection.cameras
        return len(cameras), self.channels, cameras[0].height, cameras[0].width

    def project(self, canonical: Float[Tensor, "channels size size"]) -> Float[Tensor, "views channels height width"]:
        """Return the views of a texture."""
        return self.projection.project(canonical)

    def unproject(self, instances: Float[Tensor, "views channels height width"]) -> Votes:
        """Return what views say of the texture; those asked for last are not gathered again."""
        return self._votes(instances)

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "channels size size"]:
        """Return a standard normal texture."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "views channels height width"]:
        """Return views that are standard normal and white each, and the same on the surface."""
        return self.projection.initial_noise(generator, self.channels)

    @cached_property
    def _votes(self) -> LastVotes:
        return LastVotes(self.projection.unproject)


@dataclass(frozen=True)
class KnownTexture:
    """Colours of a surface that are known beforehand.

    Args:
        colour: [3, S, S] straight colour in 0..1.
        trust: [1, S, S] how far it is believed, 0..1.
    """

    colour: Float[Tensor, "3 size size"]
    trust: Float[Tensor, "1 size size"]

    def laid_on(self, texture: Float[Tensor, "3 size size"]) -> Float[Tensor, "3 size size"]:
        """A texture in 0..1 with the known colours over it."""
        return texture * (1 - self.trust) + self.colour * self.trust


class SurfaceColours:
    """Denoises straight colours -1..1 of a surface whose silhouette is known; what lies inside continues beside it.

    With c the colours and a the alpha of the mesh, the network's picture is the premultiplied a (c + 1) - 1 and
    2 a - 1. A noisy c gives a noisy picture whose noise has deviation a; noise of the views' own makes up for the rest,
    one drawing for all times, as a deterministic sampler would keep it.

    Args:
        network: of premultiplied RGBA pictures in -1..1.
        alpha: [V, 1, h, w] share of each pixel that the mesh covers, 0..1.
        generator: of the noise beside the mesh.
        known: [V, 4, h, w] straight colour, 0..1, times trust, and trust: what takes the place of predictions.
    """

    def __init__(
        self,
        network: Denoiser[Any],
        alpha: Float[Tensor, "views 1 height width"],
        generator: torch.Generator,
        known: Float[Tensor, "views 4 height width"] | None = None,
    ) -> None:
        self._network = network
        self._alpha = alpha
        drawn = torch.randn(len(alpha), 4, *alpha.shape[2:], generator=generator, device=generator.device)
        self._own_noise = drawn.to(alpha)
        self._known = known
        self._belief = _belief(alpha)
        self.schedule: Schedule = network.schedule
        self.sample_shape = (3, *network.sample_shape[1:])

    def __call__(
        self,
        noisy: Float[Tensor, "views 3 height width"],
        time: Float[Tensor, " views"],
        condition: Any,
    ) -> Float[Tensor, "views 3 height width"]:
        """Return the clean colours, -1..1."""
        scale, sigma = (per_sample(factor(time), noisy) for factor in (self.schedule.alpha, self.schedule.sigma))
        alpha, own = self._alpha, self._own_noise
        colour = alpha * noisy + scale * (alpha - 1) + sigma * (1 - alpha.square()).sqrt() * own[:, :3]
        mask = scale * (2 * alpha - 1) + sigma * own[:, 3:]
        clean = self._network(torch.cat([colour, mask], 1), time, condition)
        straight = extended_colours((clean.float() * 0.5 + 0.5).clamp(0, 1) * self._belief)
        if self._known is not None:
            straight = straight * (1 - self._known[:, 3:]) + self._known[:, :3]
        return (straight * 2 - 1).to(noisy.dtype)


def _belief(alpha: Tensor) -> Tensor:
    """How far a view's own colours are believed, [V, 1, h, w] in 0..1; those that are more continue into the others."""
    whole = (-functional.max_pool2d(-alpha, 3, stride=1, padding=1) > 0.99).to(alpha)
    near = functional.max_pool2d(whole, 2 * _RIM_REACH_PX + 1, stride=1, padding=_RIM_REACH_PX)
    return 1 - (1 - _RIM_WEIGHT) * near * (1 - whole)
