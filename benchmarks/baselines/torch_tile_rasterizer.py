"""What the CPU rasterizer is measured against: the same pictures from vectorised torch, gradients by autograd.

Splats are projected as tensors, sorted once by depth and listed for tiles of 16 x 16 pixels; a loop over the tiles
blends [splats of the tile, 256 pixels] at a time, in float32. This is how the formulas are written down in torch where
no kernel is to be had. Colour of degree 0 only. A pixel may close one splat sooner or later than in the kernels, so
that pictures differ by up to 2e-4.
"""

import torch
from torch import Tensor

from gs_integration.rasterization.constants import (
    ADDED_VARIANCE_PX2,
    HIGHEST_ALPHA,
    LOWEST_ALPHA,
    LOWEST_TRANSMITTANCE,
    NEAR_PLANE,
)
from gs_integration.rasterization.reference import rotation_matrices
from gs_integration.rasterization.viewpoints import Viewpoints
from gs_integration.splats import Splats

TILE = 16


def render_tiles(splats: Splats, views: Viewpoints, view: int, background: Tensor) -> tuple[Tensor, Tensor]:
    """Render one view.

    Args:
        splats: N splats, float32, on the CPU.
        views: cameras.
        view: which of them.
        background: [3] sRGB.

    Returns:
        Colour [3, H, W] and alpha [H, W].
    """
    means_px, depths, conics, opacities, radii = _project(splats, views, view)
    colours = splats.base_colours.clamp(min=0)
    splats_of_tile, tile_ends = _bin(means_px.detach(), depths.detach(), radii, views)
    across = -(-views.width // TILE)
    down = -(-views.height // TILE)
    centres = torch.arange(TILE, dtype=torch.float32) + 0.5
    pixel_y, pixel_x = (grid.reshape(1, -1) for grid in torch.meshgrid(centres, centres, indexing="ij"))
    tiles, start = [], 0
    for tile, end in enumerate(tile_ends):
        rows = splats_of_tile[start:end]
        start = end
        corner = means_px.new_tensor([(tile % across) * TILE, (tile // across) * TILE])
        tiles.append(
            _blend(means_px[rows] - corner, conics[rows], opacities[rows], colours[rows], pixel_x, pixel_y, background)
        )
    picture = torch.stack(tiles).reshape(down, across, 4, TILE, TILE).permute(2, 0, 3, 1, 4)
    picture = picture.reshape(4, down * TILE, across * TILE)[:, : views.height, : views.width]
    return picture[:3], picture[3]


def _project(splats: Splats, views: Viewpoints, view: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    pose = views.world_to_camera[view].float()
    fx, fy, cx, cy = views.intrinsics[view].float().unbind()
    in_camera = splats.means @ pose[:3, :3].T + pose[:3, 3]
    x, y, z = in_camera.unbind(1)
    z = z.clamp(min=NEAR_PLANE)
    means_px = torch.stack([fx * x / z + cx, fy * y / z + cy], 1)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * x / z**2, zero, fy / z, -fy * y / z**2], 1).reshape(-1, 2, 3)
    half = jacobian @ pose[:3, :3] @ (rotation_matrices(splats.quaternions_wxyz) * splats.scales[:, None, :])
    covariances = half @ half.transpose(1, 2)
    xx, xy, yy = (
        covariances[:, 0, 0] + ADDED_VARIANCE_PX2,
        covariances[:, 0, 1],
        covariances[:, 1, 1] + ADDED_VARIANCE_PX2,
    )
    determinants = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], 1) / determinants[:, None]
    opacities = splats.opacities
    with torch.no_grad():
        reach = (2 * (opacities / LOWEST_ALPHA).log().clamp(min=0)).sqrt()
        radii = torch.stack([reach * xx.sqrt(), reach * yy.sqrt()], 1) * (in_camera[:, 2:] > NEAR_PLANE)
    return means_px, z, conics, opacities, radii


@torch.no_grad()
def _bin(means_px: Tensor, depths: Tensor, radii: Tensor, views: Viewpoints) -> tuple[Tensor, list[int]]:
    """Splats of every tile one after another, front to back, and where each tile's end."""
    limits = torch.tensor([-(-views.width // TILE), -(-views.height // TILE)])
    first = (((means_px - radii) / TILE).floor().long()).clamp(min=0).minimum(limits)
    last = (((means_px + radii) / TILE).floor().long() + 1).clamp(min=0).minimum(limits)
    extent = (last - first).clamp(min=0) * (radii[:, :1] > 0)
    order = depths.argsort()
    counts = (extent[:, 0] * extent[:, 1])[order]
    rows = order.repeat_interleave(counts)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    tile = (first[rows, 1] + place // extent[rows, 0]) * limits[0] + first[rows, 0] + place % extent[rows, 0]
    by_tile = tile.argsort(stable=True)
    ends = torch.bincount(tile, minlength=int(limits.prod())).cumsum(0)
    return rows[by_tile], ends.tolist()


def _blend(
    means_px: Tensor,
    conics: Tensor,
    opacities: Tensor,
    colours: Tensor,
    pixel_x: Tensor,
    pixel_y: Tensor,
    background: Tensor,
) -> Tensor:
    """Colour and alpha [4, 256] of one tile."""
    dx, dy = means_px[:, :1] - pixel_x, means_px[:, 1:] - pixel_y
    a, b, c = conics[:, 0:1], conics[:, 1:2], conics[:, 2:3]
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacities[:, None] * torch.exp(-sigma)).clamp(max=HIGHEST_ALPHA)
    alpha = torch.where(alpha < LOWEST_ALPHA, 0.0, alpha)
    # Sums of logarithms, since the gradient of a running product is far slower.
    logarithms = torch.log1p(-alpha)
    after = logarithms.cumsum(0)
    weights = alpha * torch.exp(after - logarithms) * (after.detach().exp() > LOWEST_TRANSMITTANCE)
    total = weights.sum(0, keepdim=True)
    return torch.cat([colours.T @ weights + background[:, None] * (1 - total), total])
