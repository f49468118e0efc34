"""At which size views are joined, and how the texture that is asked for comes of views that agree.

Ten small views have far fewer pixels than a texture of 1,024 has texels, and every step of a joint process goes through
the texture twice. So the steps run on a texture whose texels are no wider than the narrowest pixels, which loses
nothing that a view could tell apart, and the last clean predictions are gathered once at the size that is asked for.
"""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.strategies import SyncStrategy
from gs_integration.texturing.texture_denoising import KnownTexture
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.meshes import TexturedMesh

_MULTIPLE = 64
"""Sizes are rounded up to this, so that cameras which differ a little join at one size."""


def joining_size(projection: TextureProjection) -> int:
    """Return the texels along a side at which no texel is wider than the narrowest pixel, at most those there are.

    Args:
        projection: at the size that is asked for.
    """
    enough = projection.texture_size / max(projection.texels_a_narrow_pixel, 1e-3)
    return min(projection.texture_size, -int(-enough // _MULTIPLE) * _MULTIPLE)


def joining_projection(mesh: TexturedMesh, projection: TextureProjection, progress: Progress) -> TextureProjection:
    """Return the projection that views are joined with: the one given, or the same views of a smaller texture.

    Args:
        mesh: of the projection.
        projection: at the size that is asked for.
        progress: hears of the stage "views to be joined", one step a view, if there is another one to be made.

    Raises:
        Cancelled: the caller asked to stop.
    """
    size = joining_size(projection)
    if size == projection.texture_size:
        return projection
    return TextureProjection(mesh, projection.cameras, size, progress=progress, stage="views to be joined")


def known_in_views(
    known: KnownTexture, projection: TextureProjection, joining: TextureProjection
) -> Float[Tensor, "views 4 height width"]:
    """What is known of a surface beforehand, seen from the views: straight colour, 0..1, times trust, and trust.

    Args:
        known: at the size of `projection`.
        projection: at the size that is asked for.
        joining: from `joining_projection`.
    """
    weighted = torch.cat([known.colour * known.trust, known.trust])
    if joining.texture_size != projection.texture_size:
        # The mean over the texels that lie on the surface: charts do not fade towards their edges.
        owned = torch.from_numpy(projection.surface.owner >= 0)[None].to(weighted)
        size = (joining.texture_size, joining.texture_size)
        sums = functional.interpolate(torch.cat([weighted * owned, owned])[None], size=size, mode="area")[0]
        weighted = sums[:-1] / sums[-1:].clamp(min=torch.finfo(sums.dtype).tiny)
    return joining.project(weighted)


def final_views(joint: Synchronized, strategy: SyncStrategy | None) -> Float[Tensor, "views channels height width"]:
    """Return the views that the texture is gathered from.

    These are the last clean predictions, which is where all strategies end but those that average noise: what their
    views disagree about is part of their result, and it is their final views.

    Args:
        joint: what came of joining the views.
        strategy: how they were joined; None if they were not.
    """
    averages_noise = strategy is not None and strategy.quantity == "noise"
    return joint.instances if averages_noise else joint.own_clean
