"""Dropping splats that do nothing and setting new ones where the pictures are not yet explained."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.errors import UserError
from gs_integration.fitting.splat_adam import SplatAdam
from gs_integration.splats import SH_BAND_0, Splats

_FAINTEST = 0.01
"""Splats of less opacity are dropped."""

_OFFSET = 0.6
_NARROWING = 0.8
_DIMMING = 0.63
"""Two halves at +-0.6 sigma with 0.8 of the width and 0.63 of the opacity look like the whole: the same sum, 0.95 of it
at the centre."""


@dataclass(frozen=True)
class Refinement:
    """What a refinement did.

    Attributes:
        dropped: number of splats that went.
        born: number of splats that came.
    """

    dropped: int
    born: int


def error_shares(
    splats: Splats,
    renders: Iterable[tuple[Tensor, Float[Tensor, "3 height width"]]],
) -> Float[Tensor, " splats"]:
    """Sum up, over pictures, the colour error of each pixel in the share that each splat has of it.

    The share is the blending weight, read from the gradient of the colours: a splat's base colour moves a pixel by
    just that (after Rota Bulo et al., Revising Densification in Gaussian Splatting, 2024).

    Args:
        splats: leaves of autograd.
        renders: pairs of a rendered picture [3, H, W] that depends on the splats, and its error.
    """
    total = torch.zeros(len(splats), device=splats.device)
    for colour, error in renders:
        (by_harmonics,) = torch.autograd.grad(colour, splats.harmonics, error)
        total += by_harmonics[:, 0].sum(dim=1).abs() / SH_BAND_0
    return total


def refine(
    adam: SplatAdam,
    shares: Float[Tensor, " splats"],
    target_count: int,
    generator: np.random.Generator,
    *,
    outside: Callable[[Tensor], Tensor] | None = None,
) -> Refinement:
    """Drop faint splats and split those with the largest share of the error until there are as many as wanted.

    Args:
        adam: the splats and their moments, changed in place.
        shares: of `error_shares`.
        target_count: number of splats afterwards (fewer if there is nothing to split).
        generator: chooses which to split, by their shares.
        outside: says of means [N, 3] which must go; none if None.

    Raises:
        UserError: no splat is left.
    """
    splats = adam.splats.detach()
    keep = splats.opacities > _FAINTEST
    if outside is not None:
        keep &= ~outside(splats.means)
    kept = torch.nonzero(keep)[:, 0]
    if len(kept) == 0:
        raise UserError(
            "Expected views that agree on something, but every splat has faded away; check the cameras and silhouettes."
        )
    dropped = len(splats) - len(kept)
    num_born = min(max(target_count - len(kept), 0), len(kept))
    if dropped == 0 and num_born == 0:
        return Refinement(0, 0)
    survivors = splats.select(kept)
    if num_born == 0:
        adam.rebuild(kept, None)
        return Refinement(dropped, 0)
    weights = shares[kept].double().cpu().numpy() + 1e-12
    # Weighted choice without replacement (Efraimidis and Spirakis 2006).
    keys = np.log(generator.random(len(weights))) / weights
    parents = torch.from_numpy(np.sort(np.argsort(-keys, kind="stable")[:num_born])).to(kept.device)
    first, second = split_along_longest_axis(survivors.select(parents))
    changed = {name: tensor.clone() for name, tensor in survivors.tensors().items()}
    for name, tensor in first.tensors().items():
        changed[name][parents] = tensor
    adam.rebuild(kept, second, changed=Splats(**changed))
    return Refinement(dropped, num_born)


def split_along_longest_axis(splats: Splats) -> tuple[Splats, Splats]:
    """Cut each splat into two halves that lie side by side along its longest axis and look like it together.

    Args:
        splats: any number.
    """
    longest = splats.log_scales.argmax(dim=1)
    rows = torch.arange(len(splats), device=splats.device)
    axis = _rotations(splats.quaternions_wxyz)[rows, :, longest]
    offset = _OFFSET * splats.scales[rows, longest, None] * axis
    log_scales = splats.log_scales.clone()
    log_scales[rows, longest] += float(np.log(_NARROWING))
    opacity_logits = torch.logit((splats.opacities * _DIMMING).clamp(1e-4, 1 - 1e-4))
    halves = [
        Splats(splats.means + side * offset, splats.quaternions_wxyz, log_scales, opacity_logits, splats.harmonics)
        for side in (1, -1)
    ]
    return halves[0], halves[1]


def _rotations(quaternions_wxyz: Float[Tensor, "splats 4"]) -> Float[Tensor, "splats 3 3"]:
    w, x, y, z = torch.nn.functional.normalize(quaternions_wxyz, dim=1).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
