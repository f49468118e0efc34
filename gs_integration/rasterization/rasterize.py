"""One function from splats to pictures, whichever backend computes them."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.rays import CameraTensors
from gs_integration.rasterization.viewpoints import Viewpoints, viewpoints
from gs_integration.splats import Splats

Backend = Literal["reference", "cpu", "cuda", "auto"]


@dataclass(frozen=True)
class Rasterized:
    """Pictures of splats.

    Args:
        colour: [V, 3, H, W] sRGB over the background; may leave 0..1 where harmonics do.
        alpha: [V, H, W] 0..1.
        depth_sum: [V, H, W] sum of weight times camera z, world units; divided by alpha it is the mean depth.
    """

    colour: Float[Tensor, "views 3 height width"]
    alpha: Float[Tensor, "views height width"]
    depth_sum: Float[Tensor, "views height width"]


def rasterize(
    splats: Splats,
    cameras: Sequence[Camera] | CameraTensors,
    background: Float[Tensor, "3"] | Float[Tensor, "views 3"],
    *,
    backend: Backend = "auto",
    antialiased: bool = False,
) -> Rasterized:
    """Render splats front to back, differentiably in their five tensors and the background.

    The rules are those of gsplat 1.5: 0.3 px^2 added to the projected variance, alpha capped at 0.999 and cut
    below 1/255, a pixel closed where its transmittance would fall to 1e-4, near plane 0.01.

    Args:
        splats: N splats; harmonics are evaluated to their degree.
        cameras: V >= 1 cameras of one picture size.
        background: sRGB, one for all views or one a view.
        backend: "reference" (dense float64 torch: small scenes), "cpu" (numba, float32), "cuda" (gsplat), or "auto":
            "cuda" for splats on a CUDA device, otherwise "cpu".
        antialiased: scale opacities by the share of the projected area that the 0.3 px^2 add (Yu et al.,
            Mip-Splatting, 2024). Splats optimised one way look wrong rendered the other way.

    Returns:
        Pictures in the precision of the splats, on their device.

    Raises:
        UserError: the backend cannot run here.
        ValueError: no camera, several picture sizes, or tensors on a device that the backend cannot use.
    """
    views = viewpoints(cameras, splats.device)
    background = background.to(splats.means)
    if background.shape not in ((3,), (len(views), 3)):
        raise ValueError(f"background: expected shape (3,) or ({len(views)}, 3), got {tuple(background.shape)}")
    background = background.expand(len(views), 3)
    colour, alpha, depth_sum = _render(splats, views, background, resolved_backend(backend, splats.device), antialiased)
    return Rasterized(colour, alpha, depth_sum)


def resolved_backend(backend: Backend, device: torch.device) -> Literal["reference", "cpu", "cuda"]:
    """Return the backend that "auto" means for a device, and refuse one that cannot run.

    Args:
        backend: what was asked for.
        device: where the splats are.

    Raises:
        UserError: "cuda" without gsplat.
        ValueError: a backend that cannot read that device's memory.
    """
    if backend == "auto":
        backend = "cuda" if device.type == "cuda" else "cpu"
    if backend == "cuda" and importlib.util.find_spec("gsplat") is None:
        raise UserError(
            "The cuda rasterizer needs gsplat, which is not installed: install the extra 'gpu' "
            "(pip install onestep3d[gpu]) or choose the device cpu."
        )
    if (backend == "cuda" and device.type != "cuda") or (backend == "cpu" and device.type != "cpu"):
        raise ValueError(f"rasterizer backend {backend!r} cannot render splats on the device {device}")
    return backend


def _render(
    splats: Splats,
    views: Viewpoints,
    background: Tensor,
    backend: Literal["reference", "cpu", "cuda"],
    antialiased: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    # Backends are imported when used: numba and gsplat take seconds to load.
    match backend:
        case "reference":
            from gs_integration.rasterization.reference import render_reference

            return render_reference(splats, views, background, antialiased=antialiased)
        case "cpu":
            from gs_integration.rasterization.cpu import render_cpu

            return render_cpu(splats, views, background, antialiased=antialiased)
        case "cuda":
            from gs_integration.rasterization.cuda import render_cuda

            return render_cuda(splats, views, background, antialiased=antialiased)
        case _:
            assert_never(backend)
