"""The rasterizer as equations: float64 torch, every splat at every pixel, gradients by autograd.

Memory grows with splats times pixels (about 200 bytes each with gradients): for tests and small scenes.
Letters: W rotation world to camera, J Jacobian of the projection, (a, b, c) the inverse [[a, b], [b, c]] of the
2D covariance, sigma = (a dx^2 + c dy^2) / 2 + b dx dy.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from gs_integration.formats.harmonics import SH_BAND_0, SH_BAND_1, SH_BAND_2, SH_BAND_3
from gs_integration.rasterization.constants import (
    ADDED_VARIANCE_PX2,
    FAR_PLANE,
    FRUSTUM_MARGIN,
    HIGHEST_ALPHA,
    LOWEST_ALPHA,
    LOWEST_TRANSMITTANCE,
    NEAR_PLANE,
)
from gs_integration.rasterization.viewpoints import Viewpoints
from gs_integration.splats import Splats


@dataclass(frozen=True)
class ProjectedSplats:
    """Splats in one picture, in the order of the splats.

    Args:
        means_px: [N, 2] pixels from the upper left corner.
        depths: [N] camera z.
        conics: [N, 3] a, b, c of the inverse 2D covariance, per px^2.
        opacities: [N] 0..1, compensated if antialiased.
        colours: [N, 3] sRGB, at least 0.
        visible: [N] between the near and far planes.
    """

    means_px: Float64[Tensor, "splats 2"]
    depths: Float64[Tensor, " splats"]
    conics: Float64[Tensor, "splats 3"]
    opacities: Float64[Tensor, " splats"]
    colours: Float64[Tensor, "splats 3"]
    visible: Bool[Tensor, " splats"]


def render_reference(
    splats: Splats,
    views: Viewpoints,
    background: Float[Tensor, "views 3"],
    *,
    antialiased: bool,
) -> tuple[
    Float[Tensor, "views 3 height width"], Float[Tensor, "views height width"], Float[Tensor, "views height width"]
]:
    """Render by the definition; computed in float64, returned in the precision of the splats.

    Args:
        splats: N splats.
        views: V cameras.
        background: sRGB, one a view.
        antialiased: scale opacities by the share of the area that the added variance adds.

    Returns:
        Colour [V, 3, H, W], alpha [V, H, W], and sum of weight times depth [V, H, W].
    """
    pictures = [
        _composite(project(splats, views, view, antialiased=antialiased), views, background[view].double())
        for view in range(len(views))
    ]
    colour, alpha, depth_sum = (torch.stack(channel).to(splats.dtype) for channel in zip(*pictures, strict=True))
    return colour, alpha, depth_sum


def project(splats: Splats, views: Viewpoints, view: int, *, antialiased: bool) -> ProjectedSplats:
    """Project splats into one picture (Zwicker et al., EWA Splatting, 2002), differentiably.

    Args:
        splats: N splats.
        views: cameras.
        view: which of them.
        antialiased: scale opacities by the share of the area that the added variance adds.
    """
    means = splats.means.double()
    rotation, translation = views.world_to_camera[view, :3, :3], views.world_to_camera[view, :3, 3]
    fx, fy, cx, cy = views.intrinsics[view].unbind()
    in_camera = means @ rotation.T + translation
    depths = in_camera[:, 2]
    visible = (depths >= NEAR_PLANE) & (depths <= FAR_PLANE)
    # Splats behind the camera take part in nothing; 1 keeps their arithmetic finite.
    z = torch.where(visible, depths, torch.ones_like(depths))
    slope_x, slope_y = in_camera[:, 0] / z, in_camera[:, 1] / z
    means_px = torch.stack([fx * slope_x + cx, fy * slope_y + cy], 1)

    # Far outside the picture the linearisation would blow splats up over all of it.
    margin_x, margin_y = FRUSTUM_MARGIN * views.width, FRUSTUM_MARGIN * views.height
    slope_x = slope_x.clamp(-(cx + margin_x) / fx, (views.width - cx + margin_x) / fx)
    slope_y = slope_y.clamp(-(cy + margin_y) / fy, (views.height - cy + margin_y) / fy)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * slope_x / z], 1), torch.stack([zero, fy / z, -fy * slope_y / z], 1)], 1
    )
    spread = rotation_matrices(splats.quaternions_wxyz.double()) * splats.log_scales.double().exp()[:, None, :]
    half = jacobian @ rotation @ spread
    covariances = half @ half.transpose(1, 2)
    xx, xy, yy = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    area_before = (xx * yy - xy * xy).clamp(min=0)
    xx, yy = xx + ADDED_VARIANCE_PX2, yy + ADDED_VARIANCE_PX2
    area_after = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], 1) / area_after[:, None]

    opacities = splats.opacity_logits.double().sigmoid()
    if antialiased:
        # The square root's slope at 0 is infinite; nothing thinner than this can be seen anyway.
        opacities = opacities * (area_before / area_after).clamp(min=1e-24).sqrt()
    directions = means - views.positions[view]
    directions = directions / directions.norm(dim=1, keepdim=True)
    basis = harmonic_basis(directions, splats.sh_degree)
    colours = (0.5 + (basis[:, :, None] * splats.harmonics.double()).sum(1)).clamp(min=0)
    return ProjectedSplats(means_px, z, conics, opacities, colours, visible)


def rotation_matrices(quaternions_wxyz: Float[Tensor, "splats 4"]) -> Float[Tensor, "splats 3 3"]:
    """Rotation matrices of quaternions of any length but zero.

    Args:
        quaternions_wxyz: [N, 4].
    """
    w, x, y, z = (quaternions_wxyz / quaternions_wxyz.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def harmonic_basis(directions: Float[Tensor, "splats 3"], degree: int) -> Float[Tensor, "splats coefficients"]:
    """Real spherical harmonics up to a degree, in the order and with the signs of splat files.

    Args:
        directions: [N, 3] unit vectors.
        degree: 0 to 3.

    Returns:
        [N, (degree + 1)^2].
    """
    x, y, z = directions.unbind(1)
    basis = [torch.full_like(x, SH_BAND_0)]
    if degree >= 1:
        basis += [-SH_BAND_1 * y, SH_BAND_1 * z, -SH_BAND_1 * x]
    if degree >= 2:
        k0, k1, k2 = SH_BAND_2
        basis += [k0 * x * y, -k0 * y * z, k1 * (2 * z * z - x * x - y * y), -k0 * x * z, k2 * (x * x - y * y)]
    if degree >= 3:
        k0, k1, k2, k3, k4 = SH_BAND_3
        basis += [
            -k0 * y * (3 * x * x - y * y),
            k1 * x * y * z,
            -k2 * y * (4 * z * z - x * x - y * y),
            k3 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -k2 * x * (4 * z * z - x * x - y * y),
            k4 * z * (x * x - y * y),
            -k0 * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, 1)


def _composite(projected: ProjectedSplats, views: Viewpoints, background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Blend front to back at every pixel; equal depths in the order of the splats."""
    rows = projected.visible.nonzero()[:, 0]
    rows = rows[torch.argsort(projected.depths[rows], stable=True)]
    pixel_y, pixel_x = torch.meshgrid(
        torch.arange(views.height, device=background.device, dtype=torch.float64) + 0.5,
        torch.arange(views.width, device=background.device, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    dx = projected.means_px[rows, 0, None] - pixel_x.reshape(1, -1)
    dy = projected.means_px[rows, 1, None] - pixel_y.reshape(1, -1)
    a, b, c = projected.conics[rows, :, None].unbind(1)
    sigma = (a * dx * dx + c * dy * dy) / 2 + b * dx * dy
    alpha = (projected.opacities[rows, None] * torch.exp(-sigma)).clamp(max=HIGHEST_ALPHA)
    alpha = torch.where((sigma >= 0) & (alpha >= LOWEST_ALPHA), alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)
    open_ = after > LOWEST_TRANSMITTANCE
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(open_, before * alpha, torch.zeros_like(alpha))
    total = weights.sum(0)
    colour = projected.colours[rows].T @ weights + background[:, None] * (1 - total)
    depth_sum = projected.depths[rows] @ weights
    shape = (views.height, views.width)
    return colour.reshape(3, *shape), total.reshape(shape), depth_sum.reshape(shape)
