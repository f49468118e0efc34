"""A predicted solid: occupancy along the rays of a picture, one shape for all views, and how other cameras see it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from distill_core import guide_kernels as kernels
from distill_core.parallel import for_each
from distill_core.rays import CameraTensors, pixel_rays, project_points

RADIUS = 1.0
"""Objects lie in the ball of this radius about the origin (world units)."""


@dataclass(frozen=True)
class Solid:
    """Occupancy in the frustum of each source camera.

    Args:
        occupancy: [S, D, h, w] probability that the object fills the cell, 0..1; D bins of equal depth between the
            camera's distance to the origin minus and plus `RADIUS`.
        cameras: S source cameras with pictures of w x h pixels.
    """

    occupancy: Float[Tensor, "sets bins height width"]
    cameras: CameraTensors

    @property
    def nearest_depth(self) -> Float[Tensor, " sets"]:
        """Z-depth where the first bin begins."""
        return self.cameras.positions.norm(dim=1) - RADIUS

    def at(self, points: Float[Tensor, "batch points 3"], sets: Tensor) -> Float[Tensor, "batch points"]:
        """Occupancy at world points, trilinear, 0 outside the frustum.

        Args:
            points: [B, N, 3] world positions.
            sets: [B] which solid each row asks.

        Returns:
            [B, N] probabilities.
        """
        cameras = self.cameras.select(sets)
        pixels, depth = project_points(points, cameras)
        grid = torch.stack(
            [
                pixels[..., 0] / cameras.width * 2 - 1,
                pixels[..., 1] / cameras.height * 2 - 1,
                (depth - self.nearest_depth[sets, None]) / RADIUS - 1,
            ],
            -1,
        )
        values = functional.grid_sample(
            self.occupancy[sets][:, None],
            grid[:, None, None],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        return values[:, 0, 0, 0]

    def front_depth(self) -> Float[Tensor, "sets 1 height width"]:
        """Z-depth of the first surface along the source's own rays; far where there is none."""
        bins = self.occupancy.shape[1]
        depths = self.nearest_depth[:, None] + (torch.arange(bins, device=self.occupancy.device) + 0.5) * (
            2 * RADIUS / bins
        )
        first, _ = _first_crossing(self.occupancy.flatten(2).transpose(1, 2), depths[:, None])
        return first.unflatten(1, self.occupancy.shape[2:])[:, None]


def render_solid(
    solid: Solid, sets: Tensor, targets: CameraTensors, *, samples: int = 40
) -> tuple[
    Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]
]:
    """March the rays of target cameras through a solid.

    Args:
        solid: S solids.
        sets: [B] which solid each target shows.
        targets: B cameras; their picture size is that of the result.
        samples: Points a ray inside the ball.

    Returns:
        Mask [B, 1, H, W], the largest occupancy on the ray, which falls short of the object where its depth is
        uncertain; the z-depth [B, 1, H, W] of the first surface (meaningless where the mask is near 0); the thickness
        [B, 1, H, W], the integral of occupancy along the ray in world units, which makes up for the first.
    """
    if solid.occupancy.device.type == "cpu" and not torch.is_grad_enabled():
        return _march_on_cpu(solid, sets, targets, samples)
    origins, directions = pixel_rays(targets)
    along = -(origins * directions).sum(1)
    half_chord = (RADIUS**2 - (origins.square().sum(1) - along.square())).clamp(min=0).sqrt()
    steps = (torch.arange(samples, device=along.device, dtype=along.dtype) + 0.5) / samples * 2 - 1
    distances = along[..., None] + half_chord[..., None] * steps
    points = (
        origins.permute(0, 2, 3, 1)[..., None, :] + directions.permute(0, 2, 3, 1)[..., None, :] * distances[..., None]
    )
    occupancy = solid.at(points.flatten(1, 3), sets).unflatten(1, (-1, samples))
    first, largest = _first_crossing(occupancy, distances.flatten(1, 2))
    forward = targets.camera_to_world[:, :3, 2]
    cosine = torch.einsum("bchw,bc->bhw", directions, forward)
    size = (targets.height, targets.width)
    mask = largest.unflatten(1, size) * (half_chord > 0)
    thickness = occupancy.mean(-1).unflatten(1, size) * 2 * half_chord
    return mask[:, None], (first.unflatten(1, size) * cosine)[:, None], thickness[:, None]


def largest_along(
    solid: Solid,
    origins: Float[Tensor, "sets rays 3"],
    directions: Float[Tensor, "sets rays 3"],
    *,
    samples: int = 40,
) -> Float[Tensor, "sets rays"]:
    """The largest occupancy on single rays through each solid; gradients reach the cells around the place of it.

    Args:
        solid: S solids.
        origins: [S, R, 3] world.
        directions: [S, R, 3] unit length.
        samples: Points a ray inside the ball.

    Returns:
        [S, R] probabilities, 0 where a ray misses the ball.
    """
    along = -(origins * directions).sum(-1)
    half_chord = (RADIUS**2 - (origins.square().sum(-1) - along.square())).clamp(min=0).sqrt()
    steps = (torch.arange(samples, device=along.device, dtype=along.dtype) + 0.5) / samples * 2 - 1
    distances = along[..., None] + half_chord[..., None] * steps
    sets = torch.arange(len(origins), device=origins.device)
    with torch.no_grad():
        points = origins[:, :, None] + directions[:, :, None] * distances[..., None]
        place = solid.at(points.flatten(1, 2), sets).unflatten(1, (-1, samples)).argmax(-1, keepdim=True)
    largest = solid.at(origins + directions * distances.gather(-1, place), sets)
    return largest * (half_chord > 0)


def _march_on_cpu(solid: Solid, sets: Tensor, targets: CameraTensors, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    source_intrinsics, _, to_source = solid.cameras.as_arrays()
    intrinsics, to_world, _ = targets.as_arrays()
    volumes = solid.occupancy.float().permute(0, 2, 3, 1).contiguous().numpy()
    nearest = solid.nearest_depth.numpy()
    mask = np.zeros((len(targets), 1, targets.height, targets.width), np.float32)
    depth, thickness = np.zeros_like(mask), np.zeros_like(mask)
    indices = sets.tolist()

    def march(target: int) -> None:
        index = indices[target]
        kernels.march(
            volumes[index],
            source_intrinsics[index],
            to_source[index],
            float(nearest[index]),
            RADIUS,
            intrinsics[target],
            to_world[target],
            samples,
            mask[target, 0],
            depth[target, 0],
            thickness[target, 0],
        )

    for_each(march, len(indices))
    return torch.from_numpy(mask), torch.from_numpy(depth), torch.from_numpy(thickness)


def _first_crossing(
    occupancy: Float[Tensor, "batch rays samples"], distances: Tensor
) -> tuple[Float[Tensor, "batch rays"], Float[Tensor, "batch rays"]]:
    """Distance at which occupancy first rises above half of its largest value (at most 0.5), and that value.

    The threshold follows the largest value, so that a faint solid still has a surface; the crossing is linear
    between samples. Rays without any occupancy end at the last sample.
    """
    largest = occupancy.amax(-1)
    threshold = (largest * 0.5).clamp(1e-3, 0.5)[..., None]
    above = occupancy >= threshold
    first = above.to(torch.uint8).argmax(-1, keepdim=True)
    none = ~above.any(-1, keepdim=True)
    first = torch.where(none, torch.full_like(first, occupancy.shape[-1] - 1), first)
    before = (first - 1).clamp(min=0)
    distances = distances.expand(occupancy.shape)
    value, value_before = occupancy.gather(-1, first), occupancy.gather(-1, before)
    position, position_before = distances.gather(-1, first), distances.gather(-1, before)
    weight = ((threshold - value_before) / (value - value_before).clamp(min=1e-6)).clamp(0, 1)
    crossing = torch.where((first > 0) & ~none, position_before + weight * (position - position_before), position)
    return crossing[..., 0], largest
