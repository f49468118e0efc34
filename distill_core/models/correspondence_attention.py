"""Attention of every pixel to the places in other views that show the same point (Tang et al., MVDiffusion, 2023).

A pixel looks at a window of 3 x 3 places around its corresponding point in each neighbour, interpolated between the
neighbour's pixels, and is told each place's offset from the point (in pixels of the neighbour). All windows share one
softmax. Places that show something else, or lie beside the picture, are left out of it: they get a score of -infinity.
(Zeroing their features, as is sometimes done, leaves them a share of the weight.) The last layers begin at zero, so
that a network with these blocks begins as the network without.

Letters: B views, N neighbours, K places of a window, C channels, D channels a head.
"""

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor, nn

from distill_core.correspondences import Correspondences
from distill_core.models.blocks import fourier_features

_OCTAVES = 2
_RADIUS = 1


class CorrespondenceAttention(nn.Module):
    """Attention to corresponding places, then a feed-forward layer, each added to what comes in.

    Permuting the views, with their correspondences, permutes the results. Views without neighbours in sight only pass
    through the feed-forward layer.

    Args:
        channels: C, a multiple of `heads`.
        heads: of the attention.
    """

    def __init__(self, channels: int, *, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.code = nn.Linear(4 * _OCTAVES, channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        # No bias: a pixel that nobody else sees takes nothing from here.
        self.out = nn.Linear(channels, channels, bias=False)
        last = nn.Linear(2 * channels, channels)
        self.feed_forward = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), last)
        for parameter in (self.out.weight, last.weight, last.bias):
            nn.init.zeros_(parameter)

    def forward(
        self, x: Float[Tensor, "batch channels h w"], correspondences: Correspondences
    ) -> Float[Tensor, "batch channels h w"]:
        """Return the views' features, told of one another.

        Args:
            x: features of B views.
            correspondences: of their pixels.
        """
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.out(self._attended(tokens, correspondences))
        tokens = tokens + self.feed_forward(tokens)
        return tokens.permute(0, 3, 1, 2)

    def _attended(self, tokens: Tensor, correspondences: Correspondences) -> Tensor:
        """[B, h, w, C] what each pixel hears from its neighbours' windows, 0 where it hears nothing."""
        offsets = _window(tokens)
        codes = self.code(fourier_features(offsets * 0.5, _OCTAVES))
        normal = self.norm(tokens)
        # The middle of the window is offset 0, that of a pixel from itself.
        query = self.query(normal + codes[len(codes) // 2]).unflatten(-1, (self.heads, -1))
        places, shown = window_places(correspondences, offsets)
        # Linear layers commute with interpolation; the code of a place is added to what is interpolated there.
        key, value = (
            _looked_up(layer(normal), correspondences, places) + functional.linear(codes, layer.weight)
            for layer in (self.key, self.value)
        )
        key, value = (part.unflatten(-1, (self.heads, -1)) for part in (key, value))
        scores = torch.einsum("bhwed,bnhwked->bhwenk", query, key) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(~shown[:, :, :, None], float("-inf")).flatten(-2)
        # Where nothing is shown at all, a softmax of nothing but -infinity would be no number.
        heard = shown.flatten(-2).any(-1)[:, :, :, None, None]
        weights = torch.where(heard, scores, torch.zeros_like(scores)).softmax(-1) * heard
        values = value.permute(0, 2, 3, 5, 1, 4, 6).flatten(4, 5)
        # Whatever stands in a place that is left out, be it infinite, is not even multiplied by 0.
        values = values.masked_fill(~shown.flatten(-2)[:, :, :, None, :, None], 0)
        return torch.einsum("bhwem,bhwemd->bhwed", weights, values).flatten(-2)


def window_places(
    correspondences: Correspondences, offsets: Float[Tensor, "places 2"]
) -> tuple[Float[Tensor, "batch neighbours h w places 2"], Bool[Tensor, "batch h w neighbours places"]]:
    """Return the places of every pixel's windows, and which of them count.

    Args:
        correspondences: of B views.
        offsets: [K, 2] columns and rows from the corresponding point.

    Returns:
        [B, N, h, w, K, 2] positions in the neighbour, and [B, h, w, N, K] whether the neighbour shows the point and the
        place lies in its picture.
    """
    places = correspondences.positions[..., None, :] + offsets
    height, width = correspondences.visible.shape[-2:]
    inside = (places >= 0).all(-1) & (places[..., 0] <= width) & (places[..., 1] <= height)
    shown = correspondences.visible[..., None] & inside
    return places, shown.permute(0, 2, 3, 1, 4)


def _looked_up(features: Tensor, correspondences: Correspondences, places: Tensor) -> Tensor:
    """[B, N, h, w, K, C] features [B, h, w, C] of the neighbours at places, between pixels linearly."""
    batch, count, height, width, window, _ = places.shape
    source = features.permute(0, 3, 1, 2)[correspondences.neighbours.flatten()]
    scaled = 2 * places / places.new_tensor([width, height]) - 1
    # Places that do not count may lie anywhere, even nowhere.
    grid = scaled.nan_to_num(0.0).clamp(-2, 2).reshape(batch * count, height, width * window, 2)
    sampled = functional.grid_sample(source, grid.to(source), padding_mode="border", align_corners=False)
    return sampled.reshape(batch, count, -1, height, width, window).permute(0, 1, 3, 4, 5, 2)


def _window(like: Tensor) -> Tensor:
    """[K, 2] offsets of a window's places from its middle, columns and rows."""
    line = torch.arange(-_RADIUS, _RADIUS + 1, device=like.device, dtype=like.dtype)
    return torch.cartesian_prod(line, line).flip(1)
