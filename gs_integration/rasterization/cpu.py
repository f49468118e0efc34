"""The cpu backend: numba kernels behind a torch function with a hand-written backward pass, float32.

Order: project (splats in parallel), sort the visible once by depth and index, scatter them in that order to tiles,
blend (tiles in parallel). Backward: blend front to back again, each tile writing each of its splats' sums to a row
of its own, then sum a splat's rows and go back through the projection. Nothing is added to by two threads, so the
bits do not depend on their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill_core.errors import UserError
from gs_integration.rasterization import (
    binning_kernels,
    blending_kernels,
    projection_gradient_kernels,
    projection_kernels,
    weight_kernels,
)
from gs_integration.rasterization.viewpoints import Viewpoints
from gs_integration.splats import Splats
from gs_integration.threads import numba_threads_as_torch

FloatArray = npt.NDArray[np.float32]
FiveArrays = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]


def render_cpu(
    splats: Splats,
    views: Viewpoints,
    background: Float[Tensor, "views 3"],
    *,
    antialiased: bool,
) -> tuple[
    Float[Tensor, "views 3 height width"], Float[Tensor, "views height width"], Float[Tensor, "views height width"]
]:
    """Render on the processor; computed in float32, returned in the precision of the splats.

    Uses as many threads as torch does (`torch.set_num_threads`), if numba has as many.

    Args:
        splats: N splats on the CPU.
        views: V cameras.
        background: sRGB, one a view.
        antialiased: scale opacities by the share of the area that the added variance adds.

    Returns:
        Colour [V, 3, H, W], alpha [V, H, W], and sum of weight times depth [V, H, W].
    """
    parameters = [tensor.float().contiguous() for tensor in splats.tensors().values()]
    colour, transmittance, depth_sum = _Blended.apply(views, antialiased, *parameters)
    colour = torch.addcmul(colour, transmittance[:, None], background.float()[:, :, None, None])
    return colour.to(splats.dtype), (1 - transmittance).to(splats.dtype), depth_sum.to(splats.dtype)


def blending_weights(splats: Splats, views: Viewpoints, view: int, *, antialiased: bool) -> csr_matrix:
    """Return what `render_cpu` multiplies the splats' colours with in one view, as a sparse matrix.

    Entries number the splats that pixels blend until they are closed, whatever the number of splats.

    Args:
        splats: N splats, on any device; their colours do not matter.
        views: cameras, on the CPU.
        view: which of them.
        antialiased: scale opacities by the share of the area that the added variance adds.

    Returns:
        [H W, N] float32, pixels in rows; a row sums to the pixel's alpha.
    """
    arrays = _arrays([tensor.detach().float().cpu().contiguous() for tensor in splats.tensors().values()])
    with numba_threads_as_torch():
        prepared = _prepare(arrays, views, view, antialiased)
        tiles = (prepared.projected, prepared.tile_starts, prepared.tile_splats, views.width, views.height)
        starts = np.zeros(views.width * views.height + 1, np.int64)
        weight_kernels.count_weights(*tiles, starts[1:])
        starts = np.cumsum(starts)
        columns, weights = np.zeros(starts[-1], np.int32), np.zeros(starts[-1], np.float32)
        weight_kernels.fill_weights(*tiles, starts, columns, weights)
    return csr_matrix((weights, columns, starts), shape=(views.width * views.height, len(splats)))


@dataclass(frozen=True)
class _ViewPass:
    """What the backward pass of one view needs of the forward pass."""

    pose: FloatArray
    position: FloatArray
    lens: FloatArray
    projected: FloatArray
    pair_starts: npt.NDArray[np.int64]
    tile_starts: npt.NDArray[np.int32]
    tile_splats: npt.NDArray[np.int32]
    tile_pairs: npt.NDArray[np.int32]


class _Blended(torch.autograd.Function):
    """Colour without background [V, 3, H, W], transmittance [V, H, W] and depth sum [V, H, W] of splats."""

    @staticmethod
    def forward(ctx, views: Viewpoints, antialiased: bool, *parameters: Tensor):
        arrays = _arrays(parameters)
        count, height, width = len(views), views.height, views.width
        colour = np.zeros((count, 3, height, width), np.float32)
        transmittance = np.zeros((count, height, width), np.float32)
        depth_sum = np.zeros((count, height, width), np.float32)
        passes = []
        with numba_threads_as_torch():
            for view in range(count):
                view_pass = _prepare(arrays, views, view, antialiased)
                blending_kernels.blend(
                    view_pass.projected,
                    view_pass.tile_starts,
                    view_pass.tile_splats,
                    width,
                    height,
                    colour[view],
                    transmittance[view],
                    depth_sum[view],
                )
                passes.append(view_pass)
        pictures = tuple(torch.from_numpy(array) for array in (colour, transmittance, depth_sum))
        ctx.save_for_backward(*parameters, *pictures)
        ctx.passes, ctx.size, ctx.antialiased = passes, (width, height), antialiased
        return pictures

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients_given: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator
        colour_gradient, transmittance_gradient, depth_gradient = gradients_given
        *parameters, colour, transmittance, depth_sum = ctx.saved_tensors
        arrays = _arrays(parameters)
        gradients = _zeros_like(arrays)
        # What a pixel's splats and what lies behind them are worth, before the first splat.
        behind = (colour * colour_gradient).sum(1)
        behind += depth_sum * depth_gradient + transmittance * transmittance_gradient
        behind, colour_gradient, depth_gradient = (
            tensor.contiguous().numpy() for tensor in (behind, colour_gradient, depth_gradient)
        )
        with numba_threads_as_torch():
            for view, view_pass in enumerate(ctx.passes):
                given = (behind[view], colour_gradient[view], depth_gradient[view])
                _add_gradients(arrays, view_pass, ctx.size, ctx.antialiased, given, gradients)
        return None, None, *(torch.from_numpy(gradient) for gradient in gradients)


def _arrays(tensors: Sequence[Tensor]) -> FiveArrays:
    """The memory of the five tensors of splats as arrays."""
    means, quaternions, log_scales, opacity_logits, harmonics = (tensor.detach().numpy() for tensor in tensors)
    return means, quaternions, log_scales, opacity_logits, harmonics


def _zeros_like(arrays: FiveArrays) -> FiveArrays:
    means, quaternions, log_scales, opacity_logits, harmonics = (np.zeros_like(array) for array in arrays)
    return means, quaternions, log_scales, opacity_logits, harmonics


def _prepare(arrays: FiveArrays, views: Viewpoints, view: int, antialiased: bool) -> _ViewPass:
    """Project, sort, and scatter to tiles."""
    pose, position, lens = (
        np.ascontiguousarray(tensor[view].numpy(), dtype=np.float32)
        for tensor in (views.world_to_camera, views.positions, views.intrinsics)
    )
    size = (views.width, views.height)
    num_splats = len(arrays[0])
    projected = np.zeros((num_splats, blending_kernels.PROJECTED_COLUMNS), np.float32)
    keys = np.zeros(num_splats, np.uint64)
    projection_kernels.project(*arrays, pose, position, lens, *size, antialiased, projected, keys)
    ranked = (np.sort(keys[keys != projection_kernels.INVISIBLE]) & 0xFFFFFFFF).astype(np.int32)
    tiles_across = -(-views.width // blending_kernels.TILE_WIDTH)
    tiles_down = -(-views.height // blending_kernels.TILE_HEIGHT)
    pair_starts = np.zeros(num_splats + 1, np.int64)
    tile_starts = np.zeros(tiles_across * tiles_down + 1, np.int32)
    binning_kernels.count_pairs(projected, keys, *size, pair_starts, tile_starts)
    if pair_starts[-1] > np.iinfo(np.int32).max:
        raise UserError(
            f"The splats cover {pair_starts[-1]} tiles of the picture, at most {np.iinfo(np.int32).max} can be drawn: "
            "expected fewer or smaller splats."
        )
    tile_splats, tile_pairs = np.zeros((2, pair_starts[-1]), np.int32)
    binning_kernels.fill_tiles(projected, ranked, *size, pair_starts, tile_starts, tile_splats, tile_pairs)
    return _ViewPass(pose, position, lens, projected, pair_starts, tile_starts, tile_splats, tile_pairs)


def _add_gradients(
    arrays: FiveArrays,
    view: _ViewPass,
    size: tuple[int, int],
    antialiased: bool,
    given: tuple[FloatArray, FloatArray, FloatArray],
    gradients: FiveArrays,
) -> None:
    """Add the gradients of one view to those of the five parameters."""
    pair_gradients = np.zeros((len(view.tile_pairs), blending_kernels.GRADIENT_COLUMNS), np.float32)
    blending_kernels.blend_gradients(
        view.projected, view.tile_starts, view.tile_splats, view.tile_pairs, *size, *given, pair_gradients
    )
    projection_gradient_kernels.project_gradients(
        *arrays,
        view.pose,
        view.position,
        view.lens,
        *size,
        antialiased,
        view.projected,
        view.pair_starts,
        pair_gradients,
        *gradients,
    )
