import importlib.util

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, zoom
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from distill_core import metrics
from distill_core.errors import UserError


def blurred(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    return gaussian_filter(picture, (0, sigma_px, sigma_px), mode="wrap")


@pytest.fixture
def truth() -> np.ndarray:
    """Structure at every scale, in 0..1."""
    generator = np.random.default_rng(1)
    total = np.zeros((3, 64, 64))
    for step in (1, 2, 4, 16):
        total += np.asarray(zoom(generator.random((3, 64 // step, 64 // step)), (1, step, step), order=1))
    return (total / 4).astype(np.float32)


@pytest.fixture
def noisy(truth: np.ndarray) -> np.ndarray:
    return np.clip(truth + 0.1 * np.random.default_rng(2).standard_normal(truth.shape), 0, 1).astype(np.float32)


def test_psnr_of_a_constant_difference_is_its_closed_form() -> None:
    truth = torch.full((2, 3, 8, 8), 0.5)
    predicted = truth + torch.tensor([0.1, 0.01])[:, None, None, None]
    # 20 log10(1 / difference); 0.5 + 0.01 is rounded to 3e-8, a relative error of 3e-6 and so 3e-5 dB.
    torch.testing.assert_close(metrics.psnr(predicted, truth), torch.tensor([20.0, 40.0]), rtol=0, atol=1e-4)


def test_psnr_equals_scikit_image(truth: np.ndarray, noisy: np.ndarray) -> None:
    expected = peak_signal_noise_ratio(truth, noisy, data_range=1)
    assert float(metrics.psnr(noisy, truth)) == pytest.approx(expected, abs=1e-4)


def test_psnr_inside_a_mask_is_psnr_of_the_masked_pixels(truth: np.ndarray, noisy: np.ndarray) -> None:
    mask = np.random.default_rng(3).random(truth.shape[1:]) < 0.3
    expected = peak_signal_noise_ratio(truth[:, mask], noisy[:, mask], data_range=1)
    assert float(metrics.psnr(noisy, truth, mask=mask)) == pytest.approx(expected, abs=1e-4)


def test_psnr_of_equal_pictures_is_infinite_and_of_an_empty_mask_unknown(truth: np.ndarray) -> None:
    assert float(metrics.psnr(truth, truth)) == float("inf")
    assert np.isnan(float(metrics.psnr(truth, truth, mask=np.zeros(truth.shape[1:], bool))))


def test_ssim_equals_scikit_image(truth: np.ndarray, noisy: np.ndarray) -> None:
    for predicted in (noisy, blurred(truth, 1.0), 1 - truth):
        expected = structural_similarity(
            predicted.astype(np.float64),
            truth.astype(np.float64),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        # float32 moments of values near 1 are good to 1e-7, against the constant 9e-4 in the denominator.
        assert float(metrics.ssim(predicted, truth)) == pytest.approx(expected, abs=5e-4)
        assert float(metrics.ssim(predicted.astype(np.float64), truth.astype(np.float64))) == pytest.approx(
            expected, abs=1e-12
        )


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11"):
        metrics.ssim(torch.zeros(3, 10, 20), torch.zeros(3, 10, 20))


def test_a_batch_of_pictures_scores_as_each_alone(truth: np.ndarray, noisy: np.ndarray) -> None:
    predicted = torch.from_numpy(np.stack([noisy, truth * 0.9, blurred(truth, 1.0)])).reshape(3, 1, 3, 64, 64)
    true = torch.from_numpy(truth).expand_as(predicted)
    mask = torch.zeros(3, 1, 64, 64, dtype=torch.bool)
    mask[..., 10:50, 5:60] = True
    for together, alone in (
        (metrics.psnr(predicted, true, mask), [metrics.psnr(*row) for row in zip(predicted, true, mask, strict=True)]),
        (metrics.ssim(predicted, true), [metrics.ssim(*row) for row in zip(predicted, true, strict=True)]),
        (
            metrics.gradient_energy_ratio(predicted, true, mask),
            [metrics.gradient_energy_ratio(*row) for row in zip(predicted, true, mask, strict=True)],
        ),
        (
            metrics.high_frequency_correlation(predicted, true),
            [metrics.high_frequency_correlation(*row) for row in zip(predicted, true, strict=True)],
        ),
        (
            metrics.random_feature_distance(predicted, true),
            [metrics.random_feature_distance(*row) for row in zip(predicted, true, strict=True)],
        ),
    ):
        assert together.shape == (3, 1)
        # Convolutions of another batch size may sum in another order: a few units of float32.
        torch.testing.assert_close(together, torch.stack(list(alone)), rtol=1e-4, atol=1e-5)


def test_silhouette_iou_of_shifted_squares_is_its_closed_form() -> None:
    first, second = torch.zeros(20, 20), torch.zeros(20, 20)
    first[5:15, 5:15] = 0.9
    second[5:15, 8:18] = 0.6
    assert float(metrics.silhouette_iou(first, second)) == pytest.approx(70 / 130)
    assert float(metrics.silhouette_iou(first, second, threshold=0.7)) == 0
    assert float(metrics.silhouette_iou(torch.zeros(4, 4), torch.zeros(4, 4))) == 1


def test_gradient_energy_grows_with_the_square_of_contrast_and_ignores_the_silhouette(truth: np.ndarray) -> None:
    mask = np.zeros(truth.shape[1:], bool)
    mask[16:48, 16:48] = True
    assert float(metrics.gradient_energy_ratio(0.5 * truth, truth, mask)) == pytest.approx(0.25, rel=1e-5)
    beside = np.where(mask, truth, 0)
    assert float(metrics.gradient_energy_ratio(beside, truth, mask)) == pytest.approx(1, rel=1e-5)


def test_gradient_energy_of_a_sine_is_that_of_its_frequency() -> None:
    rows = np.arange(64)
    waves = [np.broadcast_to(np.sin(2 * np.pi * k * rows / 64)[None, None, :], (3, 64, 64)) for k in (4, 8)]
    mask = np.ones((64, 64), bool)
    # The forward difference of a sine has amplitude 2 sin(pi k / 64). 63 of 64 differences are seen; the missing
    # one changes either sum by less than 2 / 64.
    expected = (np.sin(np.pi * 4 / 64) / np.sin(np.pi * 8 / 64)) ** 2
    assert float(metrics.gradient_energy_ratio(waves[0], waves[1], mask)) == pytest.approx(expected, rel=0.04)


def test_blur_lowers_every_measure_of_sharpness_and_quality_step_by_step(truth: np.ndarray) -> None:
    mask = np.ones(truth.shape[1:], bool)
    steps = [truth, *(blurred(truth, sigma) for sigma in (0.5, 1.0, 2.0))]
    for measure, sign in (
        (lambda picture: metrics.gradient_energy_ratio(picture, truth, mask), 1),
        (lambda picture: metrics.ssim(picture, truth), 1),
        (lambda picture: metrics.psnr(picture, truth), 1),
        (lambda picture: metrics.random_feature_distance(picture, truth), -1),
    ):
        values = [sign * float(measure(picture)) for picture in steps]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == len(values)


def test_noise_raises_gradient_energy_and_lowers_high_frequency_correlation(
    truth: np.ndarray, noisy: np.ndarray
) -> None:
    mask = np.ones(truth.shape[1:], bool)
    assert float(metrics.gradient_energy_ratio(noisy, truth, mask)) > 1.1
    assert 0.2 < float(metrics.high_frequency_correlation(noisy, truth)) < 0.98


def test_high_frequency_correlation_sees_only_frequencies_above_half_nyquist(truth: np.ndarray) -> None:
    columns = np.arange(64)
    low = np.broadcast_to(0.3 * np.sin(2 * np.pi * 10 * columns / 64), truth.shape)
    assert float(metrics.high_frequency_correlation(truth, truth)) == pytest.approx(1, abs=1e-6)
    assert float(metrics.high_frequency_correlation(truth + low, truth)) == pytest.approx(1, abs=1e-5)
    assert float(metrics.high_frequency_correlation(1 - truth, truth)) == pytest.approx(-1, abs=1e-6)
    assert abs(float(metrics.high_frequency_correlation(np.roll(truth, 9, axis=2), truth))) < 0.1


def test_high_frequency_correlation_of_two_waves_is_the_cosine_of_their_phases() -> None:
    columns = np.arange(64)
    one, other = (
        np.broadcast_to(np.sin(2 * np.pi * 24 * columns / 64 + phase), (3, 64, 64)) for phase in (0.0, np.pi / 3)
    )
    assert float(metrics.high_frequency_correlation(one, other)) == pytest.approx(0.5, abs=1e-6)


def test_random_features_are_fixed_orthonormal_and_tell_shift_from_nothing(truth: np.ndarray) -> None:
    for filters in metrics._random_filters(3):
        rows = filters.double().flatten(1)
        smaller = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(smaller, torch.eye(len(smaller), dtype=torch.float64), rtol=0, atol=1e-6)
    assert float(metrics.random_feature_distance(truth, truth)) == 0
    distances = [float(metrics.random_feature_distance(np.roll(truth, shift, axis=2), truth)) for shift in (1, 2, 4)]
    assert 0 < distances[0] < distances[1] < distances[2] < 2


def test_random_features_are_differentiable(truth: np.ndarray) -> None:
    predicted = torch.from_numpy(blurred(truth, 1.0)).requires_grad_()
    metrics.random_feature_distance(predicted, torch.from_numpy(truth)).backward()
    assert predicted.grad is not None
    assert predicted.grad.abs().max() > 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked against annotations
        metrics.psnr(torch.zeros(3, 8, 8), torch.zeros(3, 8, 9))


def test_lpips_without_its_package_names_the_extra(truth: np.ndarray) -> None:
    if importlib.util.find_spec("lpips") is not None:
        pytest.skip("lpips is installed")
    with pytest.raises(UserError, match=r"onestep3d\[metrics\]"):
        metrics.lpips_distance(truth, truth)
