"""What views of a mesh are told of one another: the texture known so far, as colours of their guide.

At each step of a joint process the clean predictions of the step before are gathered on the texture, and shown to every
view where the picture shows nothing. A view so continues what the others made instead of guessing anew.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import Schedule
from distill_core.guide import Guide
from distill_core.models.condition import ViewCondition
from distill_core.synchronization.projections import Projection, average

_HALF_KNOWN = 0.1
"""Weight of views at which a texel is half believed, as a share of the median texel's."""


class FedBack:
    """A denoiser of straight colours, -1..1, on a mesh, whose condition is told what it said a step before.

    The picture's own pixels come first: what is fed back fills in as far as the guide does not see a point.

    Args:
        denoiser: of the views of the projection, told a `ViewCondition`.
        projection: gathers predictions on the texture and shows them in the views; takes any number of channels.
    """

    def __init__(self, denoiser: Denoiser[ViewCondition], projection: Projection) -> None:
        self._denoiser = denoiser
        self._projection = projection
        self._last_clean: Tensor | None = None
        self.schedule: Schedule = denoiser.schedule
        self.sample_shape = denoiser.sample_shape

    def __call__(
        self,
        noisy: Float[Tensor, "views 3 height width"],
        time: Float[Tensor, " views"],
        condition: ViewCondition,
    ) -> Float[Tensor, "views 3 height width"]:
        """Return the clean colours; the first call knows nothing but the condition."""
        if self._last_clean is not None:
            known = known_views(self._projection, self._last_clean)
            condition = replace(condition, guide=with_known_colours(condition.guide, known))
        clean = self._denoiser(noisy, time, condition)
        self._last_clean = clean
        return clean


def known_views(
    projection: Projection, clean: Float[Tensor, "views 3 height width"]
) -> Float[Tensor, "views 4 height width"]:
    """What the views of a texture know together, seen from each of them.

    Args:
        projection: of the mesh, for any number of channels.
        clean: straight colours -1..1, one picture a view.

    Returns:
        Straight colour, 0..1, times trust, and trust, 0..1: near 1 where some view looks straight at a place, little
        where it is only seen at a slant or beside outlines, 0 where no view sees it.
    """
    votes = projection.unproject(clean * 0.5 + 0.5)
    half = _HALF_KNOWN * votes.weights[votes.weights > 0].median()
    trust = votes.weights / (votes.weights + half)
    return projection.project(torch.cat([average(votes).clamp(0, 1) * trust, trust]))


def with_known_colours(guide: Guide, known: Float[Tensor, "views 4 height width"]) -> Guide:
    """A guide with colours where it has none of its own.

    Args:
        guide: of V views.
        known: from `known_views`.
    """
    trust = known[:, 3:]
    colour = known[:, :3] / trust.clamp(min=1e-6)
    share = (1 - guide.seen) * trust * guide.mask
    present = guide.present.clone()
    present[:, 0] = 1
    return replace(
        guide, colour=guide.colour + share * (colour - guide.colour), seen=guide.seen + share, present=present
    )
