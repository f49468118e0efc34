import numpy as np
import pytest
import torch

from gs_integration.fitting.losses import LossWeights, PictureLoss, gaussian_window, picture_loss

WEIGHTS = LossWeights(robust_width=0.03, structure=0.2, silhouette=0.5)


def pictures(height: int = 23, width: int = 37) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    shapes = [(3, height, width), (height, width), (4, height, width), (3,)]
    colour, alpha, target, background = (generator.random(shape, np.float32) for shape in shapes)
    target[:3] *= target[3:]
    return colour, alpha, target, background


@pytest.mark.parametrize("structure", [0.0, 0.2])
@pytest.mark.parametrize("robust_width", [0.002, 0.3])
def test_kernels_equal_torch_in_float64(structure, robust_width):
    weights = LossWeights(robust_width, structure, 0.5)
    colour, alpha, target, background = pictures()
    value, by_colour, by_alpha = PictureLoss(23, 37, weights)(colour, alpha, target, background)
    leaves = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in (colour, alpha)]
    given = [torch.tensor(part, dtype=torch.float64) for part in (target, background)]
    loss = picture_loss(leaves[0], leaves[1], given[0], given[1], weights)
    loss.backward()
    # float32 sums over 11 x 11 taps, and variances as differences of means of squares: 100 roundings of 6e-8.
    assert value == pytest.approx(loss.item(), rel=1e-5)
    for ours, leaf in zip((by_colour, by_alpha), leaves, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(ours, leaf.grad.numpy(), atol=1e-5 * leaf.grad.abs().max().item())


def test_structure_is_that_of_scikit_image_away_from_the_border():
    metrics = pytest.importorskip("skimage.metrics")
    colour, alpha, target, background = pictures(40, 40)
    truth = target[:3] + (1 - target[3]) * background[:, None, None]
    # Pictures that are equal in a frame of 10 pixels have SSIM 1 there, zero padding or not.
    truth[:, :10], truth[:, -10:], truth[:, :, :10], truth[:, :, -10:] = (
        colour[:, :10],
        colour[:, -10:],
        colour[:, :, :10],
        colour[:, :, -10:],
    )
    opaque = np.concatenate([truth, np.ones_like(truth[:1])])
    # scikit-image leaves a frame of 5 pixels out of its mean, and in that frame our windows reach equal pixels only.
    _, their_map = metrics.structural_similarity(
        colour, truth, channel_axis=0, data_range=1.0, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    their_mean = (their_map[:, 5:-5, 5:-5].sum() + 3 * (40 * 40 - 30 * 30)) / colour.size
    loss = PictureLoss(40, 40, LossWeights(0.1, 0.999999, 0.0))
    value, _, _ = loss(colour, np.ones_like(alpha), opaque, background)
    assert 1 - value == pytest.approx(their_mean, abs=2e-5)


def test_the_window_sums_to_one_and_is_symmetric():
    window = gaussian_window()
    assert window.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(window, window[::-1])


def test_equal_pictures_have_no_loss_and_no_gradient():
    colour, _, target, background = pictures()
    colour[:] = target[:3] + (1 - target[3]) * background[:, None, None]
    value, by_colour, by_alpha = PictureLoss(23, 37, WEIGHTS)(colour, target[3], target, background)
    # The largest gradient that one value can have is its share of the mean.
    assert value == pytest.approx(0, abs=1e-6)
    assert np.abs(by_colour).max() < 1e-4 / colour.size
    assert np.abs(by_alpha).max() == 0


def test_a_value_that_is_not_finite_stops_the_fit():
    colour, alpha, target, background = pictures()
    colour[0, 3, 4] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        PictureLoss(23, 37, WEIGHTS)(colour, alpha, target, background)
