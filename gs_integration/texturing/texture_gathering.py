"""One texture from views of it: the weighted mean, then back-projection.

A pixel of a view is the mean over its area, and beside a jump in depth it shows two surfaces. The mean of views over a
texel takes it for the colour of one. So the texture is shown to the views again, pixel by pixel as the mean over what
each covers, and the difference is gathered and added, a few times (iterative back-projection: Irani and Peleg,
"Improving resolution by image registration", 1991). What the views agree about then looks as they do; what they
disagree about stays their mean.
"""

import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from distill_core.synchronization.projections import average
from gs_integration.texturing.texture_projection import TextureProjection

_ROUNDS = 8
_COVERED = 0.999
"""Pixels that the object covers less of are left alone: how they mix it with what lies behind is not known."""


def gathered_texture(
    projection: TextureProjection,
    finer: TextureProjection,
    views: Float[Tensor, "views channels height width"],
    *,
    rounds: int = _ROUNDS,
) -> Float[Tensor, "channels size size"]:
    """Return the texture that looks like the views; 0 where no view sees.

    Args:
        projection: of the texture to the views.
        finer: from `projection.finer()`.
        views: what is gathered, of any range.
        rounds: of back-projection; 0 is the weighted mean alone.
    """
    texture = average(projection.unproject(views))
    if rounds == 0:
        return texture
    samples = finer.cameras[0].width // projection.cameras[0].width
    alpha = finer.alpha.to(views)
    covered = functional.avg_pool2d(alpha, samples)
    inside, seen = covered > _COVERED, projection.seen.to(views.device)
    least, most = views.amin((0, 2, 3))[:, None, None], views.amax((0, 2, 3))[:, None, None]
    for _ in range(rounds):
        shown = functional.avg_pool2d(finer.project(texture) * alpha, samples)
        missing = (views - shown / covered.clamp(min=_COVERED)) * inside
        spread = functional.interpolate(missing, scale_factor=samples, mode="nearest")
        # Two surfaces in a pixel can make up for each other without end; no view has such colours.
        texture = (texture + average(finer.unproject(spread))).clamp(least, most) * seen
    return texture
