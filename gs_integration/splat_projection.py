"""Splats and the views of them, tied together by one sparse matrix: shape and opacity stay, colours are what is sought.

Letters: W the rasterizer's blending weights, [pixels, splats], c the colours, a = W 1 the alpha of the pixels.

A rasterizer blends linearly: its picture over black is W c. Views hold straight colours, W c / a, as those of textures
do, so that both directions map a constant to itself, and only whoever composites them knows of alpha. Back, a splat's
colour is the mean of the pixels that show it, by how much each of them shows: c_k = sum_p W_pk I_p / sum_p W_pk.

A pixel blends several splats (many to one), so noise projected like colours would be too weak, and that of a canonical
state is: its views have less noise than a denoiser is told. A state a view (`instance-clean`) never projects noise.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.progress import Progress, SilentProgress
from distill_core.synchronization.projections import Votes
from gs_integration.rasterization.cpu import blending_weights
from gs_integration.rasterization.viewpoints import viewpoints
from gs_integration.sparse_maps import SparseMap
from gs_integration.splats import Splats, harmonics_from_colours


class SplatProjection:
    """Projection between the colours [C, N] of splats and V views [V, C, h, w] of straight colours.

    The weights are computed once. Their entries number the splats that pixels blend, some dozens a pixel, so memory
    grows with pixels plus splats and not with their product.

    Args:
        splats: N splats; their colours do not matter.
        cameras: V >= 1 cameras of one picture size.
        channels: C of the colours or latents.
        antialiased: as for `rasterize`.
        progress: hears of the stage "views of the splats", one step a view.

    Raises:
        ValueError: no camera, or several picture sizes.
        Cancelled: the caller asked to stop.
    """

    def __init__(
        self,
        splats: Splats,
        cameras: Sequence[Camera],
        channels: int = 3,
        *,
        antialiased: bool = False,
        progress: Progress | None = None,
    ) -> None:
        progress = progress or SilentProgress()
        progress.stage("views of the splats", len(cameras))
        views = viewpoints(cameras, torch.device("cpu"))
        parts = []
        for view in range(len(views)):
            parts.append(blending_weights(splats, views, view, antialiased=antialiased))
            progress.advance()
        self.cameras = list(cameras)
        self.canonical_shape = (channels, len(splats))
        self.instances_shape = (len(views), channels, views.height, views.width)
        self._splats = splats.detach()
        self._weights = SparseMap(csr_matrix(vstack(parts, format="csr")))
        matrix = self._weights.matrix
        num_pixels = self._weights.shape[0]
        rows = np.repeat(np.arange(num_pixels), np.diff(matrix.indptr))
        self._alpha, self._noise_power = (
            torch.from_numpy(np.bincount(rows, values, num_pixels).astype(np.float32))
            for values in (matrix.data, matrix.data**2)
        )
        self._weight, self._squared_weight = (
            torch.from_numpy(np.bincount(matrix.indices, values, len(splats)).astype(np.float32))[None]
            for values in (matrix.data, matrix.data**2)
        )

    def project(self, canonical: Float[Tensor, "channels splats"]) -> Float[Tensor, "views channels height width"]:
        """Show colours in all views, straight; 0 where no splat is, not mixed with it: `alpha` says what is covered.

        Args:
            canonical: colours of the splats.
        """
        return self._as_views(self._shown(canonical, self._alpha))

    def unproject(self, instances: Float[Tensor, "views channels height width"]) -> Votes:
        """Gather views on the splats; a pixel's vote weighs as much as the pixel shows of the splat.

        Args:
            instances: straight colours or latents.
        """
        values = instances.permute(0, 2, 3, 1).reshape(-1, instances.shape[1])
        weights = (self._weight.to(instances), self._squared_weight.to(instances))
        return Votes(self._weights.back(values).T.contiguous(), *weights)

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "channels splats"]:
        """Return standard normal noise of the splats."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "views channels height width"]:
        """Return the views of standard normal noise on the splats, of unit variance in every pixel.

        Blended noise is divided by the root of its pixels' squared weights, W e / |W|. Neighbouring pixels that show
        the same splats are correlated: the noise is white where splats are no wider than pixels. Where no splat is, it
        is independent.
        """
        on_splats = self._shown(self.canonical_noise(generator), self._noise_power.sqrt())
        beside = torch.randn(on_splats.shape, generator=generator, device=generator.device)
        covered = (self._alpha > 0).to(generator.device)
        return self._as_views(torch.where(covered[:, None], on_splats, beside))

    @property
    def alpha(self) -> Float[Tensor, "views 1 height width"]:
        """How much of each pixel the splats cover, 0..1."""
        views, _, height, width = self.instances_shape
        return self._alpha.reshape(views, 1, height, width)

    @property
    def num_bytes(self) -> int:
        """Memory of the matrix."""
        return self._weights.num_bytes

    def coloured(self, colours: Float[Tensor, "3 splats"]) -> Splats:
        """Return the splats in these colours, the same from all sides; those that no view shows keep their own.

        Args:
            colours: sRGB, 0..1.
        """
        seen = (self._weight[0] > 0).to(self._splats.device)[:, None]
        kept = torch.where(seen, colours.detach().T.to(self._splats.means), self._splats.base_colours)
        return Splats(**{**self._splats.tensors(), "harmonics": harmonics_from_colours(kept)})

    def _shown(self, canonical: Tensor, divisor: Tensor) -> Tensor:
        """[pixels of all views, C]: W c over a divisor, 0 where nothing is shown."""
        divisor = torch.where(divisor > 0, divisor, 1).to(canonical)
        return self._weights(canonical.T.contiguous()) / divisor[:, None]

    def _as_views(self, values: Tensor) -> Tensor:
        views, channels, height, width = self.instances_shape
        return values.reshape(views, height, width, channels).permute(0, 3, 1, 2).contiguous()
