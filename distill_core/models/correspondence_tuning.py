"""A view network whose views hear of one another where they show the same point: few new weights on a frozen network.

MVDiffusion adds its attention after the blocks of a frozen U-Net and trains that alone. Here it follows every level of
the way up; corresponding points come from the guide's depth (of a predicted solid, of a mesh).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor, nn

from distill_core.correspondences import Correspondences, correspondences_from_depth, other_views_of_set
from distill_core.guide import Guide
from distill_core.models.condition import ViewCondition
from distill_core.models.correspondence_attention import CorrespondenceAttention
from distill_core.models.view_network import ViewNetwork

_SURE = 0.5
"""Pixels that the object covers less surely have no depth."""


class CorrespondenceTuned(nn.Module):
    """A Denoiser: the network as it was, and attention between corresponding pixels, which begins without effect.

    Args:
        network: its weights are frozen.
        heads: of each attention.
    """

    def __init__(self, network: ViewNetwork, *, heads: int = 4) -> None:
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.schedule, self.sample_shape = network.schedule, network.sample_shape
        widths = network.settings.widths[:-1][::-1]
        self.attentions = nn.ModuleList([CorrespondenceAttention(width, heads=heads) for width in widths])

    def forward(
        self, noisy: Float[Tensor, "batch 4 height width"], time: Float[Tensor, " batch"], condition: ViewCondition
    ) -> Float[Tensor, "batch 4 height width"]:
        """The clean prediction of views at `time`: premultiplied RGBA in -1..1."""
        hooks = []
        try:
            for level, attention in zip(self.network.trunk.up, self.attentions, strict=True):
                last_block = level[-1]  # type: ignore[index]
                hooks.append(last_block.register_forward_hook(_followed_by(attention, condition)))
            return self.network(noisy, time, condition)
        finally:
            for hook in hooks:
                hook.remove()


def corresponding_pixels(condition: ViewCondition, height: int, width: int) -> Correspondences:
    """Return where the surface of each view's guide lies in the other views of its set.

    Args:
        condition: of B views; views whose guide has no depth correspond to nothing.
        height: of the features that correspond, pixels.
        width: likewise.
    """
    depth = _z_depth(condition.guide, condition, height, width)
    others = other_views_of_set(len(condition.source), condition.views_per_set).to(depth.device)
    return correspondences_from_depth(condition.target_cameras.resized(width, height), depth, others)


def _z_depth(guide: Guide, condition: ViewCondition, height: int, width: int) -> Tensor:
    """[B, h, w] z-depth of the guide's surface, the mean over what covers a pixel; 0 where too little does."""
    distance = condition.target_cameras.positions.norm(dim=1)[:, None, None, None]
    covered = (guide.mask > _SURE) * guide.present[:, 1, None, None, None]
    sums = functional.adaptive_avg_pool2d(torch.cat([covered * (guide.depth + distance), covered], 1), (height, width))
    share = sums[:, 1]
    return torch.where(share > _SURE, sums[:, 0] / share.clamp(min=1e-6), torch.zeros_like(share))


def _followed_by(
    attention: nn.Module, condition: ViewCondition
) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Any, ...], features: Tensor) -> Tensor:
        # Geometry and attention in float32, whatever the network's precision.
        with torch.autocast(features.device.type, enabled=False):
            pixels = corresponding_pixels(condition, *features.shape[2:])
            return attention(features.float(), pixels).to(features.dtype)

    return hook
