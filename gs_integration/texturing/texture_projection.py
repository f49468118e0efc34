"""A texture and the views of a mesh that wears it, tied together by fixed sparse matrices.

`TextureProjection` is that of diffusion synchronization for any number of channels (`ChanneledTexture` fixes it):
`project` takes the canonical texture to the views, `unproject` takes views to weighted sums over texels. Visibility is
found once; afterwards each direction is one product with a sparse matrix. Entries number a few a pixel one way, four
for each texel and view that sees it the other, so memory grows with texels and pixels and not with their product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.progress import Progress, SilentProgress
from distill_core.synchronization.projections import Votes
from gs_integration.sparse_maps import SparseMap
from gs_integration.texturing.texture_filling import TextureFilling, fill_texture
from gs_integration.texturing.texture_views import (
    SeenTexels,
    ShownTexels,
    least_samples,
    noise_weights,
    samples_for,
    seen_texels,
    shown_texels,
    texels_a_narrow_pixel,
    texels_a_pixel,
)
from renderers.mesh_rendering import RenderableMesh, prepare
from renderers.meshes import TexturedMesh
from renderers.texture_space.texel_surface import TexelSurface, texel_surface

_LARGEST_TEXTURE = 8192


@dataclass(frozen=True)
class TextureCoverage:
    """How much of a texture comes from the views.

    Attributes:
        surface_share: share of the surface's texels that at least one view sees.
        filled_share: share that was filled in from the surroundings; the rest of one.
        view_share: share of what the views show of the object that has texels which are seen.
    """

    surface_share: float
    filled_share: float
    view_share: float


class TextureProjection:
    """Projection between a square texture [C, S, S] (row 0 on top, v = 1) and V views [V, C, h, w]; any C.

    Texels weigh a view by the cosine of its slant, to a power. Pixels at silhouettes and jumps in depth count only
    where no other pixel shows a texel. A texel that no view sees is read as the nearest one on the surface that is.

    Args:
        mesh: repaired, in the unit ball, with texture coordinates in 0..1 that do not overlap.
        cameras: V cameras of one picture size outside the mesh.
        texture_size: texels along a side, 1 to 8192.
        cosine_power: larger lets the views that look straight at a place win over slanted ones; 0 weighs all alike.
        progress: hears of the stage, one step a view.
        stage: what to call it.

    Raises:
        UserError: a texture size out of range, no cameras, or a camera inside the object.
        Cancelled: the caller asked to stop.
    """

    def __init__(
        self,
        mesh: TexturedMesh,
        cameras: Sequence[Camera],
        texture_size: int,
        *,
        cosine_power: float = 4.0,
        progress: Progress | None = None,
        stage: str = "views on the mesh",
    ) -> None:
        if not 1 <= texture_size <= _LARGEST_TEXTURE:
            raise UserError(f"Texture size: expected 1 to {_LARGEST_TEXTURE} texels along a side, got {texture_size}.")
        if not cameras:
            raise UserError("Expected at least one view to texture from, got none; choose some cameras.")
        progress = progress or SilentProgress()
        progress.stage(stage, len(cameras))
        self.texture_size = texture_size
        self._mesh = mesh
        self._renderable: RenderableMesh = prepare(mesh)
        self.surface: TexelSurface = texel_surface(mesh, texture_size)
        self._look(cameras, progress)
        self._weigh(cosine_power)

    def with_cosine_power(self, cosine_power: float) -> "TextureProjection":
        """The same projection with other weights; what is seen is not computed again.

        Args:
            cosine_power: as in the class.
        """
        other = object.__new__(TextureProjection)
        other.__dict__.update(self.__dict__)
        other._weigh(cosine_power)
        return other

    def finer(self, progress: Progress | None = None) -> "TextureProjection":
        """The same texture and views of more pixels, up to four for each along a side, none narrower than a texel.

        What a pixel is the mean of, see `texture_gathering`; itself, where pixels are no wider than texels.

        Args:
            progress: hears of each view, in the stage that it is in.

        Raises:
            Cancelled: the caller asked to stop.
        """
        samples = samples_for(self._texels_a_pixel)
        if samples == 1:
            return self
        other = object.__new__(TextureProjection)
        for name in ("texture_size", "_mesh", "_renderable", "surface"):
            setattr(other, name, getattr(self, name))
        width, height = (samples * side for side in (self.cameras[0].width, self.cameras[0].height))
        other._look([camera.resized(width, height) for camera in self.cameras], progress or SilentProgress())
        other._weigh(self.cosine_power)
        other._filling = self._filling  # what stands for unseen texels is one for all; it takes long to find
        return other

    def _look(self, cameras: Sequence[Camera], progress: Progress) -> None:
        self.cameras = list(cameras)
        self._texels_a_pixel = texels_a_pixel(self._renderable, self.surface, self.cameras)
        parts = samples_for(1 / self._texels_a_pixel)
        fine = self.surface if parts == 1 else texel_surface(self._mesh, self.texture_size * parts)
        self._seen = seen_texels(self._renderable, self.surface, fine, self.cameras, progress)

    def _weigh(self, cosine_power: float) -> None:
        self.cosine_power = cosine_power
        weights = _weighed(self._seen, cosine_power)
        self._to_texture = SparseMap(weights)
        size = (1, self.texture_size, self.texture_size)
        ones = np.ones(self._to_texture.shape[1], np.float32)
        self._weight = torch.from_numpy((weights @ ones).reshape(size))
        self._squared_weight = torch.from_numpy((weights.multiply(weights) @ ones).astype(np.float32).reshape(size))

    # --- the contract of synchronization -----------------------------------------------------------------------------

    def project(self, canonical: Float[Tensor, "channels size size"]) -> Float[Tensor, "views channels height width"]:
        """Show a texture in all views; 0 beside the object, not mixed with it: `alpha` says what is covered.

        Args:
            canonical: the texture.
        """
        return self._as_views(self._to_views(_flat(canonical)))

    def unproject(self, instances: Float[Tensor, "views channels height width"]) -> Votes:
        """Gather views on the texture.

        Args:
            instances: one picture or latent a view.

        Returns:
            The weighted sum over all pixels that show a texel, the sum of their weights (0 where no view sees it), and
            the sum of their squared weights (what independent noise of unit variance has in the weighted sum).
        """
        channels = instances.shape[1]
        values = instances.permute(0, 2, 3, 1).reshape(-1, channels)
        summed = self._to_texture(values).T.reshape(channels, self.texture_size, self.texture_size)
        return Votes(summed, self._weight.to(instances.device), self._squared_weight.to(instances.device))

    def initial_noise(
        self, generator: torch.Generator, channels: int = 3
    ) -> Float[Tensor, "views channels height width"]:
        """White noise of unit variance in every view, the same on the surface in all of them.

        Beside the object it is independent. In a picture whose pixels are wider than the parts of the surface that the
        noise lives on, neighbours are uncorrelated; see `texture_views.noise_weights`.

        Args:
            generator: draws on its own device.
            channels: of the pictures or latents.
        """
        on_surface = torch.randn(self._noise.shape[1], channels, generator=generator, device=generator.device)
        beside = torch.randn(self._noise.shape[0], channels, generator=generator, device=generator.device)
        covered = torch.from_numpy(np.diff(self._noise.matrix.indptr) > 0).to(generator.device)
        return self._as_views(torch.where(covered[:, None], self._noise(on_surface), beside))

    def project_noise(
        self, canonical: Float[Tensor, "channels size size"]
    ) -> Float[Tensor, "views channels height width"]:
        """Show white noise that lives on texels: as `project`, scaled so that every pixel keeps unit variance.

        Args:
            canonical: independent numbers of variance 1.
        """
        matrix = self._to_views.matrix
        squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()
        scale = torch.from_numpy(1 / np.sqrt(np.where(squares > 0, squares, 1)).astype(np.float32))
        return self._as_views(self._to_views(_flat(canonical)) * scale.to(canonical)[:, None])

    # --- textures ----------------------------------------------------------------------------------------------------

    def texture(self, instances: Float[Tensor, "views channels height width"]) -> Float[Tensor, "channels size size"]:
        """The texture that views make: the weighted mean where they see it, filled everywhere else.

        Args:
            instances: one picture or latent a view.
        """
        summed, weight, _ = self.unproject(instances)
        return self.completed(summed / weight.clamp(min=torch.finfo(weight.dtype).tiny))

    def completed(self, canonical: Float[Tensor, "channels size size"]) -> Float[Tensor, "channels size size"]:
        """The texture with unseen texels taken from the nearest seen surface, and chart edges carried on outwards.

        Args:
            canonical: the texture; what it holds at texels that no view sees does not matter.
        """
        return self._fill(_flat(canonical)).T.reshape(canonical.shape)

    @property
    def seen(self) -> Bool[Tensor, "size size"]:
        """Which texels at least one view sees."""
        return self._weight[0] > 0

    @property
    def alpha(self) -> Float[Tensor, "views 1 height width"]:
        """Share of each pixel that the object covers, 0..1."""
        return torch.from_numpy(self._shown.shares.astype(np.float32))[:, None]

    @property
    def texels_a_narrow_pixel(self) -> float:
        """How many texels fit along the side of the narrowest pixel, that of what lies nearest to a camera."""
        return texels_a_narrow_pixel(self._renderable, self.surface, self.cameras)

    @property
    def coverage(self) -> TextureCoverage:
        """How much of the texture comes from the views."""
        size = self.texture_size
        itself = self._filling.stands_for == np.arange(size * size).reshape(size, size)
        owned = np.where(self.surface.owner >= 0, np.arange(size * size).reshape(size, size), -1)
        owned_texels = shown_texels(self._renderable, self.cameras, owned, 1).weights
        seen_part = owned_texels @ itself.ravel().astype(np.float32)
        filled = self._filling.filled_share
        return TextureCoverage(1 - filled, filled, float(seen_part.sum() / max(float(owned_texels.sum()), 1e-30)))

    @property
    def num_bytes(self) -> int:
        """Memory of the matrices in use so far."""
        maps = [self.__dict__.get(name) for name in ("_to_texture", "_to_views", "_noise", "_fill")]
        seen = (self._seen.weights, self._seen.cosines)
        return sum(one.num_bytes for one in maps if one is not None) + sum(SparseMap(one).num_bytes for one in seen)

    # --- made when first needed --------------------------------------------------------------------------------------

    @cached_property
    def _filling(self) -> TextureFilling:
        return fill_texture(self.surface, self.seen.numpy())

    @cached_property
    def _fill(self) -> SparseMap:
        return SparseMap(self._filling.weights)

    @cached_property
    def _shown(self) -> ShownTexels:
        samples = max(samples_for(self._texels_a_pixel), least_samples(self.cameras))
        return shown_texels(self._renderable, self.cameras, self._filling.stands_for, samples)

    @cached_property
    def _to_views(self) -> SparseMap:
        return SparseMap(self._shown.weights)

    @cached_property
    def _noise(self) -> SparseMap:
        ratio = self._texels_a_pixel
        return SparseMap(noise_weights(self._renderable, self.cameras, size=self.texture_size, texels_a_pixel=ratio))

    def _as_views(self, values: Tensor) -> Tensor:
        height, width = self.cameras[0].height, self.cameras[0].width
        return values.reshape(len(self.cameras), height, width, -1).permute(0, 3, 1, 2).contiguous()


def _flat(canonical: Tensor) -> Tensor:
    """A texture [C, S, S] as one row a texel."""
    return canonical.reshape(len(canonical), -1).T.contiguous()


def _weighed(seen: SeenTexels, cosine_power: float) -> csr_matrix:
    weights = seen.weights.copy()
    cosines = seen.cosines.data / np.maximum(seen.weights.data, 1e-30)
    weights.data = (weights.data * cosines**cosine_power).astype(np.float32)
    return weights
