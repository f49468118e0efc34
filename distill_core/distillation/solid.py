"""Learning the solid: occupancy along each pixel's ray, labels carved from depth views.

One picture supervises the whole shape at once, and the solid serves every target view.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.distillation.trainer import TrainingStep
from distill_core.models.solid_network import SolidNetwork, solid_of
from distill_core.rays import CameraTensors
from distill_core.solids import largest_along

_ELEVATION_WEIGHT = 2.0
_RAY_WEIGHT = 3.0
"""At 1 and at 3 the cells lose nothing by it, and what other cameras see of held-out objects gains."""
_SURE = 1e-3
"""How near to 0 and 1 the occupancy of a ray counts."""


@dataclass(frozen=True)
class SilhouetteRays:
    """Rays of other cameras, and whether they meet the object.

    Args:
        origins: [K, R, 3] world.
        directions: [K, R, 3] unit length.
        hits: [K, R] 1 where the ray meets the object, else 0.
    """

    origins: Float[Tensor, "views rays 3"]
    directions: Float[Tensor, "views rays 3"]
    hits: Float[Tensor, "views rays"]


@dataclass(frozen=True)
class SolidSet:
    """Source pictures of one object and the solid behind each.

    Args:
        pictures: [K, 4, H, W] straight sRGB RGBA, 0..1.
        cameras: K source cameras.
        occupied: [K, D, h, w] uint8, 1 where the object fills the cell along the source's ray.
        elevations_degrees: [K] elevation of each source.
        rays: Rays for each source.
        name: The object, for logs.
    """

    pictures: Float[Tensor, "views 4 height width"]
    cameras: list[Camera]
    occupied: UInt8[Tensor, "views bins rows columns"]
    elevations_degrees: Float[Tensor, " views"]
    rays: SilhouetteRays
    name: str


@runtime_checkable  # the shape checks of the tests ask
class SolidSource(Protocol):
    """An endless stream of solids."""

    def draw_solid(self, index: int) -> SolidSet:
        """Return the solids at an index: a pure function of (the source's seed, index), safe in any thread."""
        ...


@dataclass(frozen=True)
class SolidBatch:
    """Pictures and the solids behind them.

    Args:
        source: [S, 4, H, W] premultiplied RGBA in -1..1.
        occupied: [S, D, h, w] 1 where the object fills the cell.
        elevation_degrees: [S] of the source cameras.
        cameras: S source cameras.
        rays: Rays for each source.
    """

    source: Float[Tensor, "sets 4 height width"]
    occupied: Float[Tensor, "sets bins rows columns"]
    elevation_degrees: Float[Tensor, " sets"]
    cameras: CameraTensors
    rays: SilhouetteRays


def solid_loss(
    student: SolidNetwork, batch: SolidBatch, step: TrainingStep, generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of the cells inside the silhouette and of rays from elsewhere; direction of the elevation.

    The labels of cells are carved a little thick and count each cell alike; what other cameras see of the solid is
    what it is for. So rays of other cameras are held against the object's own silhouettes.

    Args:
        student: What learns.
        batch: Pictures with labels.
        step: Not used; every objective is called alike.
        generator: Not used.

    Returns:
        The loss and its parts, with the intersection over union of the cells.
    """
    prediction = student(batch.source)
    rows, columns = batch.occupied.shape[2:]
    silhouette = functional.interpolate(batch.source[:, 3:] * 0.5 + 0.5, (rows, columns), mode="area")
    weight = (silhouette > 0.02).float().expand_as(batch.occupied)
    cells = weight.sum().clamp(min=1)
    entropy = functional.binary_cross_entropy_with_logits(prediction.logits, batch.occupied, weight, reduction="sum")
    entropy = entropy / cells
    seen = largest_along(solid_of(prediction, batch.source, batch.cameras), batch.rays.origins, batch.rays.directions)
    missed = ray_entropy(seen, batch.rays.hits)
    error = torch.deg2rad(prediction.elevation_degrees - batch.elevation_degrees)
    elevation = (1 - error.cos()).mean()
    with torch.no_grad():
        filled = (prediction.logits > 0) & (weight > 0)
        truth = batch.occupied > 0.5
        union = (filled | truth).sum().clamp(min=1)
        cell_iou = (filled & truth).sum() / union
    figures = {
        "entropy": entropy,
        "ray_entropy": missed,
        "elevation_error_degrees": error.abs().mean().rad2deg(),
        "cell_iou": cell_iou,
    }
    return entropy + _RAY_WEIGHT * missed + _ELEVATION_WEIGHT * elevation, figures


def ray_entropy(seen: Float[Tensor, "*batch"], hits: Float[Tensor, "*batch"]) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of rays, in float32 under autocast, too: CUDA refuses it in half precision.

    Args:
        seen: probabilities that rays hit.
        hits: 1 where they do, else 0; of the same shape.
    """
    with torch.autocast(seen.device.type, enabled=False):
        return functional.binary_cross_entropy(seen.float().clamp(_SURE, 1 - _SURE), hits)
