"""Draws of a source, stacked into batches: a pure function of the step, prepared on the training's device."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.distillation.solid import SolidBatch, SolidSet, SolidSource


def premultiplied(pictures: Float[Tensor, "views 4 height width"]) -> Float[Tensor, "views 4 height width"]:
    """Straight RGBA in 0..1 as premultiplied RGBA in -1..1, as networks see pictures."""
    alpha = pictures[:, 3:]
    return torch.cat([pictures[:, :3] * alpha, alpha], 1) * 2 - 1


class SolidBatches:
    """Batches for the solid network: step n holds the draws n sets ... (n + 1) sets - 1.

    Args:
        source: What is drawn from.
        sets: Draws a batch; each brings several pictures.
    """

    def __init__(self, source: SolidSource, sets: int) -> None:
        self._source = source
        self._sets = sets

    def draw(self, step: int) -> list[SolidSet]:
        """The draws of a step."""
        return [self._source.draw_solid(step * self._sets + number) for number in range(self._sets)]

    def prepare(self, drawn: Sequence[SolidSet], device: torch.device) -> SolidBatch:
        """The draws as one batch on a device."""
        return SolidBatch(
            premultiplied(torch.cat([one.pictures for one in drawn]).to(device)),
            torch.cat([one.occupied for one in drawn]).to(device).float(),
            torch.cat([one.elevations_degrees for one in drawn]).to(device),
        )
