"""The exact denoiser of a Gaussian field with a picture's power spectrum: diffusion without any weights.

The field is stationary on the whole plane. Its covariance is the picture's autocovariance times a triangle that ends at
a `reach`: the picture's power spectrum smoothed as Blackman and Tukey do (1958). Unsmoothed it would be random phase
noise (Galerne, Gousseau and Morel, 2011), which repeats itself with the picture's period. Colours are correlated
frequency by frequency as they are in the picture. The denoiser sees a window, where no border meets another.

Letters: S the covariance inside the window, m the mean, a = alpha, s = sigma, x the noisy window; then
E[clean | x] = m + a S (a^2 S + s^2)^-1 (x - a m). Products with S are products in the frequencies of a torus on which a
window does not reach itself. The equation is solved by conjugate gradients, preconditioned with the circulant matrix
nearest to the left side, which is the expected periodogram of a window (T. Chan, "An optimal circulant preconditioner
for Toeplitz systems", 1988).
"""

from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from distill_core.diffusion.schedules import Schedule, VariancePreserving, per_sample

# Relative residual. The prediction errs by at most this share of the noisy window over alpha, which is less than a
# hundredth of the smallest step of an 8-bit picture.
_TOLERANCE = 2e-5
_MOST_ITERATIONS = 1000


class GaussianField:
    """Denoiser of windows of a Gaussian field; it takes no condition.

    Args:
        picture: [C, H, W] whose mean and smoothed power spectrum the field has; opposite borders are taken to meet.
        window: height and width of the samples, pixels.
        reach: pixels are uncorrelated from this distance in rows or columns; at most half of H and W, longer ones
            are cut (a picture of one row has no reach across rows).
        schedule: of the noisy samples.
        tolerance: relative residual of the equation that is solved.

    Attributes:
        mean: [C] of every pixel.

    Raises:
        ValueError: a reach or a window below 1.
    """

    def __init__(
        self,
        picture: Float[Tensor, "channels height width"],
        window: tuple[int, int],
        reach: int,
        *,
        schedule: Schedule | None = None,
        tolerance: float = _TOLERANCE,
    ) -> None:
        if reach < 1 or min(window) < 1:
            raise ValueError(f"expected a reach and a window of at least 1 pixel, got {reach} and {window}")
        self.schedule: Schedule = VariancePreserving() if schedule is None else schedule
        self.sample_shape = (len(picture), *window)
        self._tolerance = tolerance
        self.mean = picture.double().mean(dim=(1, 2))
        self._reaches = tuple(max(min(reach, side // 2), 1) for side in picture.shape[1:])
        self._covariance = _tapered_autocovariance(picture.double(), self._reaches)
        self._torus = tuple(_fast_length(own + far) for own, far in zip(window, self._reaches, strict=True))
        self._spectrum = self._spectrum_on(self._torus, tapered=False)
        powers, self._colours = torch.linalg.eigh(self._spectrum_on(window, tapered=True))
        self._powers = powers.clamp(min=0)

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        """Return the expected clean windows [B, C, h, w], given noisy ones at `time` [B]."""
        alpha, sigma = (
            per_sample(factor(time.double()), noisy) for factor in (self.schedule.alpha, self.schedule.sigma)
        )
        mean = self.mean.to(noisy.device)[:, None, None]
        solution = self._solve(noisy.double() - alpha * mean, alpha, sigma)
        return (mean + alpha * self.apply_covariance(solution)).to(noisy.dtype)

    def covariance(self, down: int, right: int) -> Float[Tensor, "channels channels"]:
        """Return the covariance of channel c here with channel d at an offset of pixels."""
        far_down, far_right = self._reaches
        if abs(down) >= far_down or abs(right) >= far_right:
            return torch.zeros(len(self.mean), len(self.mean), dtype=torch.float64)
        return self._covariance[:, :, far_down - 1 + down, far_right - 1 + right]

    def apply_covariance(self, values: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Multiply windows by their covariance S."""
        # Zeros around the window on the torus, and the window cut out again: S is a block of the torus' covariance.
        spread = torch.fft.rfft2(values, s=self._torus)
        product = torch.einsum("yxcd,bdyx->bcyx", self._spectrum.to(values.device), spread)
        _, height, width = self.sample_shape
        return torch.fft.irfft2(product, s=self._torus)[..., :height, :width]

    def _spectrum_on(self, torus: tuple[int, ...], *, tapered: bool) -> Complex[Tensor, "rows half channels channels"]:
        """The transform of the covariance folded onto a torus; tapered, the mean periodogram of windows of its size."""
        rows, columns = (_folding(period, far, tapered) for period, far in zip(torus, self._reaches, strict=True))
        folded = torch.einsum("cdyx,hy,wx->cdhw", self._covariance, rows, columns)
        # Entry (c, d) is E[F_c F_d*]: the transform of the covariance of d here with c at the offset.
        return torch.fft.rfft2(folded).permute(2, 3, 1, 0).contiguous()

    def _solve(self, target: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """(a^2 S + s^2)^-1 target for every window, by conjugate gradients."""
        inverse = self._inverse_preconditioner(alpha, sigma)
        largest = _dot(target, target)
        solution, residual = torch.zeros_like(target), target
        searched, before = torch.zeros_like(target), torch.ones_like(largest)
        for _ in range(_MOST_ITERATIONS):
            if bool((_dot(residual, residual) <= self._tolerance**2 * largest).all()):
                return solution
            improved = torch.fft.irfft2(
                torch.einsum("byxcd,bdyx->bcyx", inverse, torch.fft.rfft2(residual)), s=self.sample_shape[1:]
            )
            product = _dot(residual, improved)
            searched = improved + product / before.clamp(min=1e-300) * searched
            spread = alpha.square() * self.apply_covariance(searched) + sigma.square() * searched
            # Windows that are solved to the last bit have a zero here.
            length = product / _dot(searched, spread).clamp(min=1e-300)
            solution, residual, before = solution + length * searched, residual - length * spread, product
        raise ArithmeticError(
            f"expected conjugate gradients to end within {_MOST_ITERATIONS} steps; the noise is too weak for this "
            f"field (sigma {float(sigma.min()):.2g})"
        )

    def _inverse_preconditioner(
        self, alpha: Tensor, sigma: Tensor
    ) -> Complex[Tensor, "batch rows half channels channels"]:
        powers, colours = self._powers.to(alpha.device), self._colours.to(alpha.device)
        return (colours / (alpha.square() * powers + sigma.square())[..., None, :]) @ colours.mH


def periodic_component(picture: Float[Tensor, "channels height width"]) -> Float[Tensor, "channels height width"]:
    """Return the part of a picture that has no jump where opposite borders meet on the torus.

    The rest is as smooth as a border's jumps allow (Moisan, "Periodic plus smooth image decomposition", 2011); left in,
    the jumps would put a cross into the spectrum, and lines into the field.

    Args:
        picture: [C, H, W].
    """
    _, height, width = picture.shape
    jumps = torch.zeros_like(picture)
    rows, columns = picture[:, -1] - picture[:, 0], picture[:, :, -1] - picture[:, :, 0]
    jumps[:, 0] += rows
    jumps[:, -1] -= rows
    jumps[:, :, 0] += columns
    jumps[:, :, -1] -= columns
    cosines = (
        torch.cos(2 * torch.pi * torch.fft.fftfreq(height, dtype=picture.dtype))[:, None]
        + torch.cos(2 * torch.pi * torch.fft.rfftfreq(width, dtype=picture.dtype))[None]
    ).to(picture.device)
    divisor = 2 * cosines - 4
    divisor[0, 0] = 1  # the mean belongs to the periodic part
    smooth = torch.fft.rfft2(jumps) / divisor
    smooth[:, 0, 0] = 0
    return picture - torch.fft.irfft2(smooth, s=(height, width))


def _tapered_autocovariance(
    picture: Float[Tensor, "channels height width"], reaches: tuple[int, ...]
) -> Float[Tensor, "channels channels rows columns"]:
    """Covariances of c here with d at offsets 1 - reach .. reach - 1, under the triangles."""
    height, width = picture.shape[1:]
    spread = torch.fft.rfft2(picture - picture.mean(dim=(1, 2), keepdim=True))
    periodic = torch.fft.irfft2(spread.conj()[:, None] * spread[None], s=(height, width)) / (height * width)
    down, right = (torch.arange(1 - far, far) for far in reaches)
    triangles = [1 - offset.abs().double() / far for offset, far in zip((down, right), reaches, strict=True)]
    return periodic[:, :, down % height][..., right % width] * triangles[0][:, None] * triangles[1]


def _folding(period: int, reach: int, tapered: bool) -> Float[Tensor, "period offsets"]:
    """Adds offsets 1 - reach .. reach - 1 up modulo a period, perhaps under the triangle of the period's length."""
    offsets = torch.arange(1 - reach, reach)
    weights = (1 - offsets.double().abs() / period).clamp(min=0) if tapered else torch.ones(len(offsets)).double()
    folding = torch.zeros(period, len(offsets), dtype=torch.float64)
    folding[offsets % period, torch.arange(len(offsets))] = weights
    return folding


def _fast_length(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5, which transforms are quick for."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """[B, 1, 1, 1] products of windows."""
    return (first * second).sum(dim=(1, 2, 3), keepdim=True)
