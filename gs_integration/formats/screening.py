"""Rows of splats from a stranger's file: what cannot be drawn is dropped, counted and said."""

from dataclasses import dataclass, replace

import numpy as np

from .arrays import SplatArrays

# exp(20) is 5e8 units: nothing that was meant. Its square still fits into float32, whose products a renderer forms.
HIGHEST_LOG_SCALE = 20.0
SHORTEST_QUATERNION, LONGEST_QUATERNION = 1e-12, 1e12
# Converters write an opacity of 1 (or 0) as an infinite logit: 0.9999997 and 0.0000003 look the same.
OPAQUE_LOGIT = 15.0


@dataclass(frozen=True)
class SplatReading:
    """What a file held.

    Args:
        splats: the splats that can be drawn.
        notes: sentences for the person: what was dropped or changed. Empty if nothing was.
    """

    splats: SplatArrays
    notes: tuple[str, ...]


def screened(splats: SplatArrays) -> SplatReading:
    """Drop rows that cannot be drawn: not finite, without rotation, or absurdly large.

    Args:
        splats: as the file holds them.
    """
    opacity_logits = np.clip(splats.opacity_logits, -OPAQUE_LOGIT, OPAQUE_LOGIT)  # NaN stays
    opacity_logits = np.where(np.isinf(splats.opacity_logits), opacity_logits, splats.opacity_logits)
    splats = replace(splats, opacity_logits=opacity_logits)
    finite = np.ones(len(splats), bool)
    for array in (splats.means, splats.quaternions_wxyz, splats.log_scales, opacity_logits, splats.harmonics):
        finite &= np.isfinite(array).reshape(len(splats), -1).all(axis=1)
    lengths = np.linalg.norm(splats.quaternions_wxyz.astype(np.float64), axis=1)
    turned = (lengths > SHORTEST_QUATERNION) & (lengths < LONGEST_QUATERNION)
    sized = (splats.log_scales <= HIGHEST_LOG_SCALE).all(axis=1)
    notes = []
    for rows, why in (
        (~finite, "are not finite"),
        (finite & ~turned, "have no rotation"),
        (finite & turned & ~sized, f"are larger than e^{HIGHEST_LOG_SCALE:.0f} units"),
    ):
        if rows.any():
            notes.append(f"Dropped {rows.sum()} of {len(splats)} splats whose values {why}.")
    kept = finite & turned & sized
    return SplatReading(splats if kept.all() else splats.select(kept), tuple(notes))
