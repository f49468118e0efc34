"""Views drawn towards the look of one of them before every step (Lee et al., SyncDiffusion, NeurIPS 2023).

Averaging makes views agree where they overlap, and lets those that do not become other pictures. Here each view w_i is
first moved against the gradient of a perceptual distance between its clean prediction and that of an anchor view,

    w_i <- w_i - weight grad_{w_i} d(D(c(w_i)), D(c(w_anchor))),

c the denoiser, D the decoder of its predictions; the gradient goes through both. The anchor does not move.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep

Distance = Callable[[Tensor, Tensor], Tensor]
"""Pictures [B, C, H, W] in 0..1 and as many others -> distances [B], differentiable in the first ones:
`distill_core.metrics.random_feature_distance`, or `lpips_distance` where its package is installed."""


def to_pictures(clean: Tensor) -> Tensor:
    """Return values in -1..1 as pictures in 0..1; what lies beyond keeps its gradient."""
    return clean * 0.5 + 0.5


@dataclass
class PerceptualGuidance:
    """A sampler's step after a step towards the anchor's look. A new one for every run of a sampler.

    It sees what the sampler is handed: the views, for strategies that average noisy samples (MultiDiffusion, as in the
    paper) or keep a state a view, and for none. A canonical state that is denoised as a whole has no views to compare.

    Args:
        step: of the sampler, taken afterwards.
        distance: between pictures.
        weight: of the first step's gradient.
        decay: what the weight is multiplied by from one step to the next.
        anchor: index of the view that the others are drawn to; the middle one if not given.
        decode: from clean predictions to the pictures that are compared, differentiable.
    """

    step: SamplerStep
    distance: Distance
    weight: float = 20.0
    decay: float = 0.95
    anchor: int | None = None
    decode: Callable[[Tensor], Tensor] = to_pictures
    _steps: int = field(default=0, init=False)

    def __call__(
        self,
        denoiser: Denoiser[Any],
        noisy: Tensor,
        time: Tensor,
        next_time: Tensor,
        condition: Any,
        noise: Tensor | None = None,
        /,
    ) -> Tensor:
        """Take the step.

        Raises:
            ValueError: fewer than two views, or no gradients because of `torch.inference_mode`.
        """
        if len(noisy) < 2:
            raise ValueError(
                f"expected at least two views to draw together, got {len(noisy)}; a strategy whose state is canonical "
                "must average noisy samples"
            )
        weight = self.weight * self.decay**self._steps
        self._steps += 1
        gradient = self.gradient(denoiser, noisy, time, condition)
        return self.step(denoiser, noisy - weight * gradient, time, next_time, condition, noise)

    def gradient(self, denoiser: Denoiser[Any], noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return the derivative [V, C, h, w] of the distances to the anchor; 0 for the anchor itself.

        Args:
            denoiser: of the views.
            noisy: [V, C, h, w] at `time`.
            time: [V].
            condition: what the denoiser is told.
        """
        if torch.is_inference_mode_enabled():
            raise ValueError("perceptual guidance needs gradients: run it under torch.no_grad, not inference_mode")
        anchor = len(noisy) // 2 if self.anchor is None else self.anchor
        with torch.enable_grad():
            views = noisy.detach().requires_grad_()
            pictures = self.decode(denoiser(views, time, condition))
            wanted = pictures[anchor].detach().expand_as(pictures)
            (gradient,) = torch.autograd.grad(self.distance(pictures, wanted).sum(), views)
        # Where views attend to one another, the anchor has a part in what the others show.
        gradient[anchor] = 0
        return gradient
