"""A stack of pictures, each the middle of the one before, magnified (Generative Powers of Ten, Wang et al., CVPR 2024).

Letters: L_0 .. the layers of the canonical stack, L_0 the widest; p the magnification from one to the next; D the mean
over blocks of p x p pixels, U its repetition over such blocks.

A view is its layer with the next view in its middle, reduced: f_i = L_i, its middle replaced by D f_(i+1). Noise is
seen the same way with p D, which keeps its variance 1, since D is a mean of p^2 values.

What the views say of a layer is blended by averaging Laplacian pyramids with D and U. Bands finer than what a wider
view shows come from the views that show them: band k (between blocks of p^k and p^(k+1) pixels) of L_i is the mean over
the views i - k .. i, and the band that holds the rest is the mean over all that remain. D U is the identity, so levels
that agree come back unchanged.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.synchronization.projections import Votes


class ZoomStack:
    """Views of a zoom.

    Args:
        levels: number of pictures, at least 1.
        channels: C.
        side: of every picture in pixels.
        magnification: p, from one picture to the next.

    Raises:
        ValueError: a side that cannot be divided by the magnification with as much left on either side of the middle.
    """

    def __init__(self, levels: int, channels: int, side: int, magnification: int) -> None:
        if levels < 1 or magnification < 2:
            raise ValueError(f"expected at least 1 level and a magnification of 2, got {levels} and {magnification}")
        if not self._is_middle(side, magnification):
            raise ValueError(
                f"expected a side of which a {magnification}th part is whole and lies in the middle, got {side}"
            )
        self.instances_shape = (levels, channels, side, side)
        self.canonical_shape = self.instances_shape
        self.magnification = magnification
        part = side // magnification
        self._middle = slice((side - part) // 2, (side + part) // 2)

    def project(
        self, canonical: Float[Tensor, "levels channels side side"]
    ) -> Float[Tensor, "levels channels side side"]:
        """Return the views of a stack."""
        return self._rendered(canonical, 1.0)

    def unproject(self, instances: Float[Tensor, "levels channels side side"]) -> Votes:
        """Return the blended layers, each with weight 1 and the share of variance that blending leaves."""
        layers = torch.stack([self._blended(instances, level) for level in range(len(instances))])
        ones = torch.ones_like(layers[:, :1])
        kept = [self._kept_variance(self._depth(level)) for level in range(len(instances))]
        return Votes(layers, ones, ones * torch.tensor(kept).to(layers)[:, None, None, None])

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "levels channels side side"]:
        """Return standard normal noise of the stack."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "levels channels side side"]:
        """Return the views of noise, of unit variance: the middle of each is the next one's p D."""
        return self._rendered(self.canonical_noise(generator), float(self.magnification))

    def _rendered(self, layers: Tensor, scale: float) -> Tensor:
        views = [layers[-1]]
        for layer in layers[:-1].flip(0):
            view = layer.clone()
            view[:, self._middle, self._middle] = scale * self._reduced(views[-1])
            views.append(view)
        return torch.stack(views[::-1])

    def _blended(self, views: Tensor, level: int) -> Tensor:
        """One layer [C, side, side] from the views that show all of it."""
        depth = self._depth(level)
        # What view level - m shows of the layer, in blocks of p^m; reduced further where a coarser band needs it.
        shown = [self._middle_part(views[level - m], m) for m in range(depth + 1)]
        means = []
        for band in range(depth + 1):
            if band:
                shown = [self._reduced(part) if m < band else part for m, part in enumerate(shown)]
            means.append(sum(shown[: band + 1]) / (band + 1))
        blended = means[depth]
        for band in range(depth - 1, -1, -1):
            # The mean of bands is the band of the mean.
            blended = self._repeated(blended) + means[band] - self._repeated(self._reduced(means[band]))
        return blended

    def _depth(self, level: int) -> int:
        """How many wider views say something of a layer: those whose part of it is whole and lies in the middle."""
        side, depth = self.instances_shape[-1], 0
        while depth < level and self._is_middle(side, self.magnification ** (depth + 1)):
            depth += 1
        return depth

    def _kept_variance(self, depth: int) -> float:
        """Variance of a blended layer if the views were independent noise: the sum over its bands."""
        smaller = 1 / self.magnification**2
        # Variance of the mean of view level - m, reduced to blocks of p^band, over m = 0 .. band.
        of_means = [sum(smaller ** (band - m) for m in range(band + 1)) / (band + 1) ** 2 for band in range(depth + 1)]
        return of_means[depth] + (1 - smaller) * sum(of_means[:depth])

    def _middle_part(self, view: Tensor, levels_in: int) -> Tensor:
        side = view.shape[-1]
        part = side // self.magnification**levels_in
        inside = slice((side - part) // 2, (side + part) // 2)
        return view[:, inside, inside]

    @staticmethod
    def _is_middle(side: int, divisor: int) -> bool:
        return side % divisor == 0 and (side - side // divisor) % 2 == 0

    def _reduced(self, picture: Tensor) -> Tensor:
        channels, height, width = picture.shape
        p = self.magnification
        return picture.reshape(channels, height // p, p, width // p, p).mean(dim=(2, 4))

    def _repeated(self, picture: Tensor) -> Tensor:
        return picture.repeat_interleave(self.magnification, 1).repeat_interleave(self.magnification, 2)
