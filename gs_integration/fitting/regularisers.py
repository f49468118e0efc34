"""Gentle limits to the shape of splats: no needles, no balloons. They guard against what viewers would show."""

from dataclasses import dataclass
from math import log

from gs_integration.splats import Splats

_STRENGTH = 0.05


@dataclass(frozen=True)
class ShapeLimits:
    """Where the limits begin.

    Attributes:
        largest_elongation: of the longest axis over the middle one.
        largest_scale: standard deviation in world units.
    """

    largest_elongation: float
    largest_scale: float


def add_shape_gradients(splats: Splats, limits: ShapeLimits) -> None:
    """Add the gradient of a squared hinge on the log-scales, a mean over splats, to what backward left.

    Args:
        splats: leaves with gradients.
        limits: where the hinge begins.
    """
    log_scales = splats.log_scales.detach()
    assert splats.log_scales.grad is not None
    longest, place = log_scales.max(dim=1)
    middle = log_scales.sum(dim=1) - longest - log_scales.amin(dim=1)
    excess = (longest - middle - log(limits.largest_elongation)).clamp(min=0)
    excess += (longest - log(limits.largest_scale)).clamp(min=0)
    gradient = (2 * _STRENGTH / len(splats)) * excess
    splats.log_scales.grad.scatter_add_(1, place[:, None], gradient[:, None])
