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
from distill_core.parallel import for_each
from distill_core.rays import CameraTensors, pixel_rays, project_points
from distill_core.solids import RADIUS, Solid, render_solid

_SEEN_TOLERANCE = 0.08
"""A point this far (world units) behind the source's first surface counts as half hidden."""


_SURE_COVERAGE = 4.0
"""The colour of a pixel is taken as it is from a coverage of one in this many on."""


@dataclass(frozen=True)
class Guide:
    """Parts of what is known of B target views; every value is neutral (0) where its part is absent.

    Args:
        colour: [B, 3, H, W] sRGB colour of the source pixel that shows the same point, 0..1.
        seen: [B, 1, H, W] how surely the source sees the point, 0..1.
        mask: [B, 1, H, W] how surely the object covers the pixel, 0..1.
        depth: [B, 1, H, W] z-depth minus the camera's distance to the origin, world units, 0 outside the mask.
        normals: [B, 3, H, W] unit normals in target camera axes.
        thickness: [B, 1, H, W] expected length of the ray inside the object, world units; 0 where only a surface is
            known.
        present: [B, 3] 1 where colour and seen / mask, depth and thickness / normals are given.
    """

    colour: Float[Tensor, "batch 3 height width"]
    seen: Float[Tensor, "batch 1 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch 1 height width"]
    normals: Float[Tensor, "batch 3 height width"]
    thickness: Float[Tensor, "batch 1 height width"]
    present: Float[Tensor, "batch 3"]

    def channels(self) -> Float[Tensor, "batch 10 height width"]:
        """All parts stacked, as a network reads them."""
        return torch.cat([self.colour, self.seen, self.mask, self.depth, self.normals, self.thickness], 1)

    def picture(self) -> Float[Tensor, "batch 4 height width"]:
        """The guide as a premultiplied RGBA picture in -1..1: source colours on the mask."""
        return torch.cat([self.colour * self.mask, self.mask], 1) * 2 - 1

    def select(self, index: Tensor) -> "Guide":
        """The guide of the views at `index` [N]."""
        return Guide(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def dropped(self, parts: Bool[Tensor, "batch 3"]) -> "Guide":
        """The guide without some parts.

        Args:
            parts: [B, 3] True drops colour / mask, depth and thickness / normals of a view.

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
            thickness=self.thickness * keep[:, 1:2],
            normals=self.normals * keep[:, 2:3],
            present=self.present * keep[:, :, 0, 0],
        )


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
        target_depth: [B, 1, rows, columns] z-depth of the surface that the target shows, 0 where it shows none.
        tolerance: World units behind the source's surface at which a point counts as half hidden.

    Returns:
        Straight colour [B, 3, rows, columns] of the source pixel at each point (also where the point is hidden from
        the source; beside the source's silhouette the colour of its edge), and [B, 1, rows, columns] how surely the
        source sees the point; both are 0 where the target shows nothing.
    """
    if source.device.type == "cpu" and not torch.is_grad_enabled():
        return _lift_on_cpu(source, source_depth, source_cameras, sets, targets, target_depth, tolerance)
    origins, directions = pixel_rays(targets)
    cosine = torch.einsum("bchw,bc->bhw", directions, targets.camera_to_world[:, :3, 2])[:, None]
    points = (origins + directions * (target_depth / cosine)).flatten(2).transpose(1, 2)
    cameras = source_cameras.select(sets)
    pixels, depth = project_points(points, cameras)
    grid = torch.stack([pixels[..., 0] / cameras.width * 2 - 1, pixels[..., 1] / cameras.height * 2 - 1], -1)[:, None]
    colours = extended_colours(source)
    colour = functional.grid_sample(colours[sets], grid, padding_mode="border", align_corners=False)[:, :, 0]
    alpha = functional.grid_sample(source[sets, 3:], grid, padding_mode="zeros", align_corners=False)[:, :, 0]
    front = functional.grid_sample(source_depth[sets], grid, padding_mode="border", align_corners=False)[:, 0, 0]
    in_front = (depth[:, None] > 0) & (target_depth.flatten(2) > 0)
    inside = (grid.abs() <= 1 - grid.new_tensor([1 / source.shape[3], 1 / source.shape[2]])).all(-1) & in_front
    hidden = ((depth - front) / tolerance).clamp(0, 8)
    seen = torch.exp2(-hidden.square())[:, None] * alpha * inside
    colour = colour * in_front
    size = target_depth.shape[2:]
    return colour.unflatten(2, size), seen.unflatten(2, size)


def extended_colours(source: Float[Tensor, "sets 4 height width"]) -> Float[Tensor, "sets 3 height width"]:
    """Straight colours of a picture, those of its silhouette carried on into what is empty.

    Means over squares of 2, 4, 8, ... pixels are weighted by alpha; where a level knows too little, the next coarser
    one fills in (push-pull, Gortler et al., The Lumigraph, 1996).

    Args:
        source: [S, 4, H, W] premultiplied RGBA, 0..1.

    Returns:
        [S, 3, H, W] 0..1; 0 in a picture that is empty everywhere.
    """
    levels = [source]
    while max(levels[-1].shape[2:]) > 1:
        levels.append(functional.avg_pool2d(levels[-1], 2, ceil_mode=True))
    filled = levels[-1][:, :3] / levels[-1][:, 3:].clamp(min=1e-6)
    for level in reversed(levels[:-1]):
        coarse = functional.interpolate(filled, level.shape[2:], mode="bilinear", align_corners=False)
        alpha = level[:, 3:]
        known = (alpha * _SURE_COVERAGE).clamp(max=1)
        filled = known * level[:, :3] / alpha.clamp(min=1e-6) + (1 - known) * coarse
    return filled.clamp(0, 1)


def _lift_on_cpu(
    source: Tensor,
    source_depth: Tensor,
    source_cameras: CameraTensors,
    sets: Tensor,
    targets: CameraTensors,
    target_depth: Tensor,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    source_intrinsics, _, to_source = source_cameras.resized(source.shape[3], source.shape[2]).as_arrays()
    intrinsics, to_world, _ = targets.as_arrays()
    colours, alphas = extended_colours(source.float()).contiguous().numpy(), source[:, 3].float().contiguous().numpy()
    fronts = source_depth.float().contiguous().numpy()
    depths = target_depth.float().contiguous().numpy()
    colour = np.zeros((len(targets), 3, *target_depth.shape[2:]), np.float32)
    seen = np.zeros((len(targets), 1, *target_depth.shape[2:]), np.float32)
    indices = sets.tolist()

    def lift(target: int) -> None:
        index = indices[target]
        kernels.lift(
            colours[index],
            alphas[index],
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

    for_each(lift, len(indices))
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
    rendered = torch.cat(render_solid(solid, sets, coarse), 1)
    size = (targets.height, targets.width)
    mask, depth, thickness = functional.interpolate(rendered, size, mode="bilinear", align_corners=False).split(1, 1)
    shown = depth * (mask > 0)
    colour, seen = lift_source(source, solid.front_depth(), solid.cameras, sets, targets, shown)
    known = (mask > _EMPTY).to(mask.dtype)
    return _guide(targets, colour * known, seen * mask, mask, depth, None, thickness)


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
    colour, seen = lift_source(
        source, front, source_cameras, sets, targets, target_depth, tolerance=_SEEN_TOLERANCE / 2
    )
    normals = None
    if target_normals is not None:
        normals = torch.einsum("bji,bjhw->bihw", targets.camera_to_world[:, :3, :3], target_normals)
    return _guide(targets, colour * mask, seen * mask, mask, depth, normals, torch.zeros_like(mask))


_EMPTY = 0.02
"""Mask values below this are taken as certainly empty."""


def _guide(
    targets: CameraTensors,
    colour: Tensor,
    seen: Tensor,
    mask: Tensor,
    depth: Tensor,
    normals: Tensor | None,
    thickness: Tensor,
) -> Guide:
    centred = (depth - targets.positions.norm(dim=1)[:, None, None, None]).clamp(-RADIUS, RADIUS)
    present = torch.ones(len(targets), 3, device=mask.device, dtype=mask.dtype)
    if normals is None:
        normals = torch.zeros_like(colour)
        present[:, 2] = 0
    return Guide(colour, seen, mask, centred * (mask > _EMPTY), normals, thickness, present)
