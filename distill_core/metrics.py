"""How near a picture comes to the true one: one figure a picture.

Pictures are [..., channels, height, width] in 0..1, as tensors or as NumPy arrays; results are tensors of the leading
axes. Over which background a picture with alpha is laid is the caller's choice, made before.
"""

import importlib
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from distill_core.errors import UserError

Pictures = Float[Tensor, "*batch channels height width"] | Float[np.ndarray, "*batch channels height width"]
Planes = Float[Tensor, "*batch height width"] | Float[np.ndarray, "*batch height width"]
Masks = Bool[Tensor, "*batch height width"] | Bool[np.ndarray, "*batch height width"]

# Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
SSIM_WINDOW_PX = 11
_SSIM_SIGMA_PX = 1.5
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03

_FEATURE_SEED = 20_210
_FEATURE_CHANNELS = (32, 64, 64, 64)


def psnr(predicted: Pictures, truth: Pictures, mask: Masks | None = None) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio in dB for values in 0..1.

    Args:
        predicted: pictures.
        truth: pictures of the same shape.
        mask: which pixels count; all, if not given.

    Returns:
        dB; infinite for equal pictures, NaN where the mask is empty.
    """
    first, second = _tensors(predicted, truth)
    squared = (first - second).square().mean(dim=-3)
    if mask is None:
        error = squared.mean(dim=(-2, -1))
    else:
        inside = _tensor(mask).to(squared.device)
        error = (squared * inside).sum(dim=(-2, -1)) / inside.sum(dim=(-2, -1))
    return -10 * torch.log10(error)


def ssim(predicted: Pictures, truth: Pictures) -> Float[Tensor, "*batch"]:
    """Structural similarity with a Gaussian window of 11 x 11 pixels and sigma 1.5, mean over channels.

    Windows that reach beyond the picture are left out, as scikit-image's `structural_similarity` does with
    `gaussian_weights=True, use_sample_covariance=False, data_range=1`.

    Args:
        predicted: pictures of at least 11 x 11 pixels.
        truth: pictures of the same shape.

    Raises:
        ValueError: a picture smaller than the window.
    """
    first, second = _tensors(predicted, truth)
    if min(first.shape[-2:]) < SSIM_WINDOW_PX:
        raise ValueError(f"SSIM: expected at least {SSIM_WINDOW_PX} pixels a side, got {tuple(first.shape[-2:])}")
    batch, size = first.shape[:-3], first.shape[-3:]
    first, second = first.reshape(-1, 1, *size[1:]), second.reshape(-1, 1, *size[1:])
    moments = _gaussian_means(torch.cat([first, second, first * first, second * second, first * second], dim=1))
    mean_1, mean_2, square_1, square_2, product = moments.unbind(dim=1)
    variance_1, variance_2 = square_1 - mean_1.square(), square_2 - mean_2.square()
    covariance = product - mean_1 * mean_2
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    similarity = ((2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)) / (
        (mean_1.square() + mean_2.square() + c1) * (variance_1 + variance_2 + c2)
    )
    return similarity.mean(dim=(-2, -1)).reshape(*batch, size[0]).mean(dim=-1)


def silhouette_iou(predicted_alpha: Planes, true_alpha: Planes, threshold: float = 0.5) -> Float[Tensor, "*batch"]:
    """Intersection over union of two silhouettes; 1 where both are empty.

    Args:
        predicted_alpha: in 0..1.
        true_alpha: of the same shape.
        threshold: a pixel belongs to the object where its alpha exceeds this.
    """
    first, second = (alpha > threshold for alpha in _tensors(predicted_alpha, true_alpha))
    intersection = (first & second).sum(dim=(-2, -1)).float()
    union = (first | second).sum(dim=(-2, -1)).float()
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def gradient_energy_ratio(predicted: Pictures, truth: Pictures, mask: Masks) -> Float[Tensor, "*batch"]:
    """Sharpness: the energy of the gradient inside the object over that of the truth.

    The gradient is the difference of neighbours, and counts where both lie in the mask: the silhouette's edge is not
    sharpness of the surface.

    Args:
        predicted: pictures.
        truth: pictures of the same shape.
        mask: the true mask of the object.

    Returns:
        1 for the truth's own sharpness, less for blur, more for noise; NaN where the truth has no gradient at all.
    """
    return gradient_energy(predicted, mask) / gradient_energy(truth, mask)


def gradient_energy(pictures: Pictures, mask: Masks) -> Float[Tensor, "*batch"]:
    """Sum of the squared differences of neighbours that both lie in the mask, over all channels.

    Args:
        pictures: pictures.
        mask: which pixels count.
    """
    values = _tensor(pictures)
    inside = _tensor(mask).to(values.device)[..., None, :, :]
    across = (values[..., :, 1:] - values[..., :, :-1]).square() * (inside[..., :, 1:] & inside[..., :, :-1])
    along = (values[..., 1:, :] - values[..., :-1, :]).square() * (inside[..., 1:, :] & inside[..., :-1, :])
    return across.sum(dim=(-3, -2, -1)) + along.sum(dim=(-3, -2, -1))


def high_frequency_correlation(predicted: Pictures, truth: Pictures) -> Float[Tensor, "*batch"]:
    """Sharpness in its right place: correlation with the truth above half the Nyquist frequency.

    Args:
        predicted: pictures; their frequencies above 1/4 cycle a pixel, in any direction, are compared.
        truth: pictures of the same shape.

    Returns:
        -1..1, over all channels together; 0 for a prediction without high frequencies, NaN for such a truth.
    """
    first, second = (torch.fft.fft2(picture) for picture in _tensors(predicted, truth))
    height, width = first.shape[-2:]
    rows = torch.fft.fftfreq(height, device=first.device)[:, None]
    columns = torch.fft.fftfreq(width, device=first.device)[None, :]
    high = torch.hypot(rows, columns) > 0.25
    # Parseval: sums over frequencies are sums over pixels; the mean is no high frequency, so it is 0 already.
    axes = (-3, -2, -1)
    product = ((first * second.conj()).real * high).sum(dim=axes)
    energy_1, energy_2 = ((picture.abs().square() * high).sum(dim=axes) for picture in (first, second))
    return torch.where(energy_1 > 0, product / (energy_1 * energy_2).clamp(min=0).sqrt(), energy_2 * 0 / energy_2)


def random_feature_distance(predicted: Pictures, truth: Pictures) -> Float[Tensor, "*batch"]:
    """A stand-in for a learned perceptual distance: features of a frozen random network.

    Four convolutions with orthonormal filters from a fixed seed, each followed by a ramp and a halving of the size; at
    each the features of a place are brought to unit length, and squared differences are averaged. Random features
    already tell blur, shifts and noise apart better than squared error does (Zhang et al. 2018, "The unreasonable
    effectiveness of deep features", table 5), but are no LPIPS: compare these figures only with one another.

    Args:
        predicted: RGB pictures of at least 16 x 16 pixels.
        truth: pictures of the same shape.

    Returns:
        0 for equal pictures; at most 2.
    """
    first, second = _tensors(predicted, truth)
    batch = first.shape[:-3]
    features_1, features_2 = (2 * picture.reshape(-1, *picture.shape[-3:]) - 1 for picture in (first, second))
    total = torch.zeros(len(features_1), dtype=first.dtype, device=first.device)
    for filters in _random_filters(features_1.shape[1]):
        weight = filters.to(first)
        features_1, features_2 = (
            functional.relu(functional.conv2d(functional.pad(one, (1, 1, 1, 1), mode="reflect"), weight))
            for one in (features_1, features_2)
        )
        difference = functional.normalize(features_1, dim=1) - functional.normalize(features_2, dim=1)
        total = total + difference.square().sum(dim=1).mean(dim=(-2, -1))
        features_1, features_2 = functional.avg_pool2d(features_1, 2), functional.avg_pool2d(features_2, 2)
    return (total / len(_FEATURE_CHANNELS)).reshape(batch)


def lpips_distance(predicted: Pictures, truth: Pictures) -> Float[Tensor, "*batch"]:
    """Learned perceptual distance (LPIPS with AlexNet, Zhang et al. 2018), differentiable in both pictures.

    Args:
        predicted: RGB pictures of at least 64 x 64 pixels.
        truth: pictures of the same shape.

    Raises:
        UserError: the package is not installed.
    """
    first, second = _tensors(predicted, truth)
    network = _lpips_network().to(first.device)
    distance = network(
        first.reshape(-1, *first.shape[-3:]).float(), second.reshape(-1, *second.shape[-3:]).float(), normalize=True
    )
    return distance.reshape(first.shape[:-3])


def _tensor(values: Tensor | np.ndarray) -> Tensor:
    """As a tensor; torch takes no array that is read-only or counts backwards."""
    return values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _tensors(first: Pictures | Planes, second: Pictures | Planes) -> tuple[Tensor, Tensor]:
    one, other = _tensor(first), _tensor(second)
    if one.shape != other.shape:
        raise ValueError(f"expected two pictures of one shape, got {tuple(one.shape)} and {tuple(other.shape)}")
    return one, other


def _gaussian_means(planes: Float[Tensor, "batch channels height width"]) -> Tensor:
    """Means over SSIM's window, where it lies within the picture."""
    offsets = torch.arange(SSIM_WINDOW_PX, dtype=planes.dtype, device=planes.device) - SSIM_WINDOW_PX // 2
    weights = torch.exp(-0.5 * (offsets / _SSIM_SIGMA_PX).square())
    weights = (weights / weights.sum()).expand(planes.shape[1], 1, 1, SSIM_WINDOW_PX)
    across = functional.conv2d(planes, weights, groups=planes.shape[1])
    return functional.conv2d(across, weights.transpose(2, 3), groups=planes.shape[1])


@lru_cache(maxsize=4)
def _random_filters(in_channels: int) -> tuple[Tensor, ...]:
    """Filters [out, in, 3, 3] with orthonormal rows (or columns, where there are more rows), from a fixed seed."""
    # NumPy's bit generator, whose stream is the same in every version.
    generator = np.random.Generator(np.random.PCG64(_FEATURE_SEED))
    filters = []
    for out_channels in _FEATURE_CHANNELS:
        values = torch.from_numpy(generator.standard_normal((out_channels, in_channels * 9)))
        tall = values if out_channels >= in_channels * 9 else values.T
        orthonormal, upper = torch.linalg.qr(tall)
        orthonormal = orthonormal * torch.sign(torch.diagonal(upper))  # QR leaves signs to the library
        rows = orthonormal if out_channels >= in_channels * 9 else orthonormal.T
        filters.append(rows.reshape(out_channels, in_channels, 3, 3).float())
        in_channels = out_channels
    return tuple(filters)


@lru_cache(maxsize=1)
def _lpips_network() -> torch.nn.Module:
    try:
        lpips = importlib.import_module("lpips")  # not resolved where the extra is not installed
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that belongs to another torch
        raise UserError(
            f"LPIPS: expected the packages lpips and torchvision, got: {error}; install them with "
            "pip install 'onestep3d[metrics]', or use random_feature_distance."
        ) from error
    return lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(requires_grad=False)
