"""Building blocks of the small networks: residual blocks, attention over views, a U-Net trunk.

Letters: B pictures, S sets of views, C channels, E length of the embedding that modulates every block.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

_GROUPS = 8


def fourier_features(values: Float[Tensor, "batch inputs"], octaves: int) -> Float[Tensor, "batch features"]:
    """Sines and cosines of values at pi, 2 pi, ... 2^(octaves-1) pi.

    Args:
        values: [B, N], best within -1..1.
        octaves: Number of frequencies.

    Returns:
        [B, 2 N octaves].
    """
    frequencies = math.pi * 2.0 ** torch.arange(octaves, device=values.device, dtype=values.dtype)
    angles = (values[:, :, None] * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], 1)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, modulated in between (FiLM); the second starts at zero."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(_GROUPS, channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels_out) if embedding else None
        self.norm_out = nn.GroupNorm(_GROUPS, channels_out)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        """Map [B, C_in, h, w] and an embedding [B, E] to [B, C_out, h, w]."""
        hidden = self.norm_out(self.conv_in(functional.silu(self.norm_in(x))))
        if self.modulation is not None and embedding is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return self.shortcut(x) + self.conv_out(functional.silu(hidden))


class SetAttention(nn.Module):
    """Self-attention among all tokens of a set: the tokens of its views and of its source.

    The views carry no index, so permuting them permutes the results; sets never meet.
    """

    def __init__(self, channels: int, *, source_features: int | None, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.source_key_value = nn.Linear(source_features, 2 * channels) if source_features else None
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, views_per_set: int, source_tokens: Tensor | None) -> Tensor:
        """Map [S V, C, h, w] and source tokens [S, T, F] to [S V, C, h, w]."""
        batch, channels, height, width = x.shape
        sets = batch // views_per_set
        tokens = self.norm(x).flatten(2).transpose(1, 2).reshape(sets, views_per_set * height * width, channels)
        query, key, value = self.query_key_value(tokens).chunk(3, -1)
        if self.source_key_value is not None and source_tokens is not None:
            source_key, source_value = self.source_key_value(source_tokens.to(tokens.dtype)).chunk(2, -1)
            key, value = torch.cat([key, source_key], 1), torch.cat([value, source_value], 1)
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        mixed = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        return x + mixed.reshape(batch, height * width, channels).transpose(1, 2).reshape(x.shape)


class Trunk(nn.Module):
    """A U-Net of residual blocks with attention over the set at its coarsest level.

    Args:
        channels_in: Channels of the input.
        widths: Channels of each level, finest first.
        blocks: Residual blocks a level on the way down and on the way up.
        middle_blocks: Residual blocks between the two attentions of the coarsest level.
        embedding: Length of the modulating embedding, 0 for none.
        source_features: Length of the source tokens that the coarsest level attends to, None for none.
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int],
        *,
        blocks: int,
        middle_blocks: int,
        embedding: int,
        source_features: int | None,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels_in, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.reduce = nn.ModuleList()
        channels = widths[0]
        for level, width in enumerate(widths):
            if level:
                self.reduce.append(nn.Conv2d(channels, width, 3, stride=2, padding=1))
            self.down.append(nn.ModuleList([ResidualBlock(width, width, embedding) for _ in range(blocks)]))
            channels = width
        self.attention = nn.ModuleList([SetAttention(channels, source_features=source_features) for _ in range(2)])
        self.middle = nn.ModuleList([ResidualBlock(channels, channels, embedding) for _ in range(middle_blocks)])
        self.enlarge = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in reversed(range(len(widths) - 1)):
            width = widths[level]
            self.enlarge.append(nn.Conv2d(widths[level + 1], width, 1))
            self.up.append(
                nn.ModuleList([ResidualBlock(2 * width if b == 0 else width, width, embedding) for b in range(blocks)])
            )

    def forward(
        self, x: Tensor, embedding: Tensor | None, views_per_set: int, source_tokens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features at the finest level [B, widths[0], h, w] and at the coarsest [B, widths[-1], h', w']."""
        x = self.stem(x)
        skips = []
        for level, level_blocks in enumerate(self.down):
            if level:
                x = self.reduce[level - 1](x)
            for block in level_blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            skips.append(x)
        x = self.attention[0](x, views_per_set, source_tokens)
        for block in self.middle:
            x = block(x, embedding)
        x = self.attention[1](x, views_per_set, source_tokens)
        coarsest = x
        skips.pop()
        for enlarge, level_blocks in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            x = functional.interpolate(enlarge(x), size=skip.shape[2:], mode="nearest")
            x = torch.cat([x, skip], 1)
            for block in level_blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
        return x, coarsest
