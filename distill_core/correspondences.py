"""Where a surface point that one view shows lies in other views."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distill_core.rays import CameraTensors, pixel_rays, project_points

_TOLERANCE = 0.05
"""A point this share of its depth behind what a view shows is hidden from it."""


@dataclass(frozen=True)
class Correspondences:
    """For every pixel of B views the corresponding points in N neighbours of each.

    Args:
        neighbours: [B, N] indices of views, 0..B - 1.
        positions: [B, N, h, w, 2] column and row in the neighbour, pixels of the same size, the centre of the first
            pixel at (0.5, 0.5).
        visible: [B, N, h, w] whether the neighbour shows that point; positions elsewhere mean nothing.
    """

    neighbours: Int[Tensor, "batch neighbours"]
    positions: Float[Tensor, "batch neighbours h w 2"]
    visible: Bool[Tensor, "batch neighbours h w"]


def other_views_of_set(num_sets: int, views_per_set: int) -> Int[Tensor, "batch neighbours"]:
    """Return for every view all others of its set, [S V, V - 1].

    Args:
        num_sets: S.
        views_per_set: V.
    """
    views = torch.arange(views_per_set)
    others = torch.stack([views[views != view] for view in views])
    return (torch.arange(num_sets)[:, None, None] * views_per_set + others).flatten(0, 1)


def correspondences_from_depth(
    cameras: CameraTensors,
    depth: Float[Tensor, "batch h w"],
    neighbours: Int[Tensor, "batch neighbours"],
    *,
    tolerance: float = _TOLERANCE,
) -> Correspondences:
    """Return where the surface that each view shows lies in its neighbours.

    Args:
        cameras: B cameras of the size of `depth`.
        depth: z-depth in world units; 0 where nothing is.
        neighbours: indices of the views to look in.
        tolerance: share of the depth by which a point may lie behind what the neighbour shows at its nearest pixel.
    """
    batch, height, width = depth.shape
    count = neighbours.shape[1]
    origins, directions = pixel_rays(cameras)
    forward = torch.einsum("bi,bihw->bhw", cameras.camera_to_world[:, :3, 2], directions)
    points = origins + directions * (depth / forward)[:, None]
    # Each neighbour's camera is asked about the points of the view whose neighbour it is.
    asked = points.flatten(2).transpose(1, 2).repeat_interleave(count, 0)
    positions, there = project_points(asked, cameras.select(neighbours.flatten()))
    inside = (positions >= 0).all(-1) & (positions[..., 0] < width) & (positions[..., 1] < height)
    inside &= (there > 0) & (depth.flatten(1).repeat_interleave(count, 0) > 0)
    pixels = torch.where(inside[..., None], positions, torch.zeros_like(positions)).long()
    shown = depth[neighbours.flatten()].flatten(1).gather(1, pixels[..., 1] * width + pixels[..., 0])
    visible = inside & (shown > 0) & (there <= shown * (1 + tolerance))
    shape = (batch, count, height, width)
    return Correspondences(neighbours, positions.reshape(*shape, 2), visible.reshape(shape))
