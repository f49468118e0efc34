"""The cuda backend: gsplat's rasterizer, given what it expects.

gsplat (Ye et al., 2024; version 1.5) keeps the rules that the other backends follow. It is imported when called: it
belongs to the extra `gpu` and compiles its kernels at the first call.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gs_integration.rasterization.constants import ADDED_VARIANCE_PX2, FAR_PLANE, NEAR_PLANE
from gs_integration.rasterization.viewpoints import Viewpoints
from gs_integration.splats import Splats


def render_cuda(
    splats: Splats,
    views: Viewpoints,
    background: Float[Tensor, "views 3"],
    *,
    antialiased: bool,
) -> tuple[
    Float[Tensor, "views 3 height width"], Float[Tensor, "views height width"], Float[Tensor, "views height width"]
]:
    """Render with gsplat; computed in float32, returned in the precision of the splats.

    Args:
        splats: N splats on a CUDA device.
        views: V cameras.
        background: sRGB, one a view.
        antialiased: scale opacities by the share of the area that the added variance adds.

    Returns:
        Colour [V, 3, H, W], alpha [V, H, W], and sum of weight times depth [V, H, W].
    """
    from gsplat import rasterization  # pyright: ignore[reportMissingImports] - an extra

    colour_and_depth, alpha, _ = rasterization(
        means=splats.means.float(),
        quats=splats.quaternions_wxyz.float(),
        scales=splats.scales.float(),
        opacities=splats.opacities.float(),
        colors=splats.harmonics.float(),
        viewmats=views.world_to_camera.float(),
        Ks=_intrinsic_matrices(views),
        width=views.width,
        height=views.height,
        near_plane=NEAR_PLANE,
        far_plane=FAR_PLANE,
        eps2d=ADDED_VARIANCE_PX2,
        sh_degree=splats.sh_degree,
        # Packing saves memory for scenes of which a view sees little; an object is seen whole.
        packed=False,
        backgrounds=background.float(),
        render_mode="RGB+D",
        rasterize_mode="antialiased" if antialiased else "classic",
    )
    pictures = colour_and_depth.permute(0, 3, 1, 2).to(splats.dtype)
    return pictures[:, :3], alpha[..., 0].to(splats.dtype), pictures[:, 3]


def _intrinsic_matrices(views: Viewpoints) -> Float[Tensor, "views 3 3"]:
    fx, fy, cx, cy = views.intrinsics.float().unbind(1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], 1).reshape(-1, 3, 3)
