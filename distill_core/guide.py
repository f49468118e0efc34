"""What is already known of a target view before anything is generated.

From a picture alone the guide is a predicted `Solid` (occupancy along the rays of the source picture, one shape for
all views) rendered into the target, with the source's pixels lifted to its first surface. From a mesh it is the
mesh's own depth and normals, with the source's pixels carried over by the same function. Each part can be dropped.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from distill_core import guide_kernels as kernels
from distill_core.rays import CameraTensors, pixel_rays, project_points

RADIUS = 1.0
"""Objects lie in the ball of this radius about the origin (world units)."""

_SEEN_TOLERANCE = 0.08
"""A point this far (world units) behind the source's first surface counts as half hidden."""


@dataclass(frozen=True)
class Guide:
    """Parts of what is known of B target views; every value is neutral (0) where its part is absent.

    Args:
        colour: [B, 3, H, W] sRGB colour of the source pixel that shows the same point, 0..1.
        seen: [B, 1, H, W] how surely the source sees the point, 0..1.
        mask: [B, 1, H, W] how surely the object covers the pixel, 0..1.
        depth: [B, 1, H, W] z-depth minus the camera's distance to the origin, world units, 0 outside the mask.
        normals: [B, 3, H, W] unit normals in target camera axes.
        present: [B, 3] 1 where colour and seen / mask and depth / normals are given.
    """

    colour: Float[Tensor, "batch 3 height width"]
    seen: Float[Tensor, "batch 1 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch 1 height width"]
    normals: Float[Tensor, "batch 3 height width"]
    present: Float[Tensor, "batch 3"]

    def channels(self) -> Float[Tensor, "batch 9 height width"]:
        """All parts stacked, as a network reads them."""
        return torch.cat([self.colour * self.seen, self.seen, self.mask, self.depth, self.normals], 1)

    def picture(self) -> Float[Tensor, "batch 4 height width"]:
        """The guide as a premultiplied RGBA picture in -1..1: source colours on the mask."""
        return torch.cat([self.colour * self.mask, self.mask], 1) * 2 - 1

    def select(self, index: Tensor) -> "Guide":
        """The guide of the views at `index` [N]."""
        return Guide(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def dropped(self, parts: Bool[Tensor, "batch 3"]) -> "Guide":
        """The guide without some parts.

        Args:
            parts: [B, 3] True drops colour / mask and depth / normals of a view.

        Returns:
            The same views with those parts neutral and marked absent.
        """
        keep = (~parts).to(self.colour.dtype)[:, :, None, None]
        return replace(
            self,
            colour=self.colour * keep[:, 0:1],
            seen=self.seen * keep[:, 0:1],
            mask=self.mask * keep[:, 1:2],
            depth=self.depth * keep[:, 1:2],
            normals=self.normals * keep[:, 2:3],
            present=self.present * keep[:, :, 0, 0],
        )


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
) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]]:
    """March the rays of target cameras through a solid.

    Args:
        solid: S solids.
        sets: [B] which solid each target shows.
        targets: B cameras; their picture size is that of the result.
        samples: Points a ray inside the ball.

    Returns:
        Mask [B, 1, H, W], the largest occupancy on the ray, and the z-depth [B, 1, H, W] of the first surface
        (meaningless where the mask is near 0).
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
    return mask[:, None], (first.unflatten(1, size) * cosine)[:, None]


def lift_source(
    source: Float[Tensor, "sets 4 height width"],
    source_depth: Float[Tensor, "sets 1 h w"],
    source_cameras: CameraTensors,
    sets: Tensor,
    targets: CameraTensors,
    target_depth: Float[Tensor, "batch 1 rows columns"],
    *,
    tolerance: float = _SEEN_TOLERANCE,
) -> tuple[Float[Tensor, "batch 3 rows columns"], Float[Tensor, "batch 1 rows columns"]]:
    """Carry the source's pixels to the surface points that target pixels show.

    Args:
        source: [S, 4, H, W] premultiplied RGBA, 0..1.
        source_depth: [S, 1, h, w] z-depth of the source's first surface, any resolution.
        source_cameras: S cameras (any picture size; they are scaled to the picture's).
        sets: [B] the source of each target.
        targets: B cameras of the size of `target_depth`.
        target_depth: [B, 1, rows, columns] z-depth of the surface that the target shows.
        tolerance: World units behind the source's surface at which a point counts as half hidden.

    Returns:
        Straight colour [B, 3, rows, columns] of the source pixel at each point (also where the point is hidden from
        the source), and [B, 1, rows, columns] how surely the source sees the point.
    """
    if source.device.type == "cpu" and not torch.is_grad_enabled():
        return _lift_on_cpu(source, source_depth, source_cameras, sets, targets, target_depth, tolerance)
    origins, directions = pixel_rays(targets)
    cosine = torch.einsum("bchw,bc->bhw", directions, targets.camera_to_world[:, :3, 2])[:, None]
    points = (origins + directions * (target_depth / cosine)).flatten(2).transpose(1, 2)
    cameras = source_cameras.select(sets)
    pixels, depth = project_points(points, cameras)
    grid = torch.stack([pixels[..., 0] / cameras.width * 2 - 1, pixels[..., 1] / cameras.height * 2 - 1], -1)[:, None]
    looked_up = functional.grid_sample(source[sets], grid, padding_mode="zeros", align_corners=False)[:, :, 0]
    front = functional.grid_sample(source_depth[sets], grid, padding_mode="border", align_corners=False)[:, 0, 0]
    alpha = looked_up[:, 3:]
    inside = (grid.abs() <= 1 - grid.new_tensor([1 / source.shape[3], 1 / source.shape[2]])).all(-1) & (
        depth[:, None] > 0
    )
    alpha = alpha * inside
    hidden = ((depth - front) / tolerance).clamp(0, 8)
    seen = torch.exp2(-hidden.square())[:, None] * alpha
    colour = (looked_up[:, :3] / alpha.clamp(min=1 / 255)).clamp(0, 1) * (alpha > 1 / 255)
    size = target_depth.shape[2:]
    return colour.unflatten(2, size), seen.unflatten(2, size)


def _poses(cameras: CameraTensors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intrinsics [B, 4], camera-to-world [B, 3, 4] and world-to-camera [B, 3, 4], float64."""
    intrinsics = cameras.intrinsics.double().numpy()
    to_world = cameras.camera_to_world.double().numpy()
    return intrinsics, to_world[:, :3], np.linalg.inv(to_world)[:, :3]


def _march_on_cpu(solid: Solid, sets: Tensor, targets: CameraTensors, samples: int) -> tuple[Tensor, Tensor]:
    source_intrinsics, _, to_source = _poses(solid.cameras)
    intrinsics, to_world, _ = _poses(targets)
    volumes, nearest = solid.occupancy.float().contiguous().numpy(), solid.nearest_depth.numpy()
    mask = np.zeros((len(targets), 1, targets.height, targets.width), np.float32)
    depth = np.zeros_like(mask)
    for target, index in enumerate(sets.tolist()):
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
        )
    return torch.from_numpy(mask), torch.from_numpy(depth)


def _lift_on_cpu(
    source: Tensor,
    source_depth: Tensor,
    source_cameras: CameraTensors,
    sets: Tensor,
    targets: CameraTensors,
    target_depth: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    source_intrinsics, _, to_source = _poses(source_cameras.resized(source.shape[3], source.shape[2]))
    intrinsics, to_world, _ = _poses(targets)
    pictures, fronts = source.float().contiguous().numpy(), source_depth.float().contiguous().numpy()
    depths = target_depth.float().contiguous().numpy()
    colour = np.zeros((len(targets), 3, *target_depth.shape[2:]), np.float32)
    seen = np.zeros((len(targets), 1, *target_depth.shape[2:]), np.float32)
    for target, index in enumerate(sets.tolist()):
        kernels.lift(
            pictures[index],
            fronts[index, 0],
            source_intrinsics[index],
            to_source[index],
            intrinsics[target],
            to_world[target],
            depths[target, 0],
            tolerance,
            colour[target],
            seen[target, 0],
        )
    return torch.from_numpy(colour), torch.from_numpy(seen)


def guide_from_solid(
    solid: Solid, source: Float[Tensor, "sets 4 height width"], sets: Tensor, targets: CameraTensors
) -> Guide:
    """The guide of a picture alone: the predicted solid rendered, the source's pixels lifted to it.

    Args:
        solid: S solids.
        source: [S, 4, H, W] premultiplied RGBA, 0..1; its cameras are the solid's.
        sets: [B] the source of each target.
        targets: B cameras of the size of the pictures that are to be generated.

    Returns:
        The guide, without normals.
    """
    coarse = targets.resized(solid.cameras.width, solid.cameras.height)
    mask, depth = render_solid(solid, sets, coarse)
    size = (targets.height, targets.width)
    mask = functional.interpolate(mask, size, mode="bilinear", align_corners=False)
    depth = functional.interpolate(depth, size, mode="bilinear", align_corners=False)
    colour, seen = lift_source(source, solid.front_depth(), solid.cameras, sets, targets, depth)
    known = (mask > _EMPTY).to(mask.dtype)
    return _guide(targets, colour * known, seen * mask, mask, depth, None)


def guide_from_surface(
    source: Float[Tensor, "sets 4 height width"],
    source_depth: Float[Tensor, "sets 1 h w"],
    source_cameras: CameraTensors,
    sets: Tensor,
    targets: CameraTensors,
    target_depth: Float[Tensor, "batch 1 rows columns"],
    target_normals: Float[Tensor, "batch 3 rows columns"] | None,
) -> Guide:
    """The guide where the shape is known: its own depth and normals, the source's pixels carried over.

    Args:
        source: [S, 4, H, W] premultiplied RGBA, 0..1.
        source_depth: [S, 1, h, w] z-depth of the shape in the source, 0 where empty.
        source_cameras: S cameras.
        sets: [B] the source of each target.
        targets: B cameras of the size of `target_depth`.
        target_depth: [B, 1, rows, columns] z-depth of the shape in the target, 0 where empty.
        target_normals: [B, 3, rows, columns] unit normals in the world, or None.

    Returns:
        The guide with every part that was given.
    """
    mask = (target_depth > 0).to(target_depth.dtype)
    far = targets.positions.norm(dim=1)[:, None, None, None] + RADIUS
    depth = torch.where(target_depth > 0, target_depth, far)
    source_far = source_cameras.positions.norm(dim=1)[:, None, None, None] + RADIUS
    front = torch.where(source_depth > 0, source_depth, source_far)
    colour, seen = lift_source(source, front, source_cameras, sets, targets, depth, tolerance=_SEEN_TOLERANCE / 2)
    normals = None
    if target_normals is not None:
        normals = torch.einsum("bji,bjhw->bihw", targets.camera_to_world[:, :3, :3], target_normals)
    return _guide(targets, colour * mask, seen * mask, mask, depth, normals)


_EMPTY = 0.02
"""Mask values below this are taken as certainly empty."""


def _guide(
    targets: CameraTensors, colour: Tensor, seen: Tensor, mask: Tensor, depth: Tensor, normals: Tensor | None
) -> Guide:
    centred = (depth - targets.positions.norm(dim=1)[:, None, None, None]).clamp(-RADIUS, RADIUS)
    present = torch.ones(len(targets), 3, device=mask.device, dtype=mask.dtype)
    if normals is None:
        normals = torch.zeros_like(colour)
        present[:, 2] = 0
    return Guide(colour, seen, mask, centred * (mask > _EMPTY), normals, present)


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
