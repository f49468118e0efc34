import numpy as np
import pytest
from scipy import ndimage

from distill_core.cameras import orbit_rig
from gs_integration.fitting.view_corrections import ViewCorrections, weights_by_angle


def textured_disc(side: int = 128) -> np.ndarray:
    """Premultiplied RGBA with detail at many scales inside a soft disc."""
    generator = np.random.default_rng(0)
    noise = sum(ndimage.gaussian_filter(generator.standard_normal((3, side, side)), (0, s, s)) * s for s in (2, 4, 8))
    rows, columns = np.mgrid[:side, :side] - side / 2 + 0.5
    alpha = 1 / (1 + np.exp((np.hypot(rows, columns) - 0.35 * side) / 1.5))
    colour = np.clip(0.5 + 0.35 * np.asarray(noise), 0, 1)
    return np.concatenate([colour * alpha, alpha[None]]).astype(np.float32)


def test_gain_and_offset_are_found_and_undone():
    rendered = textured_disc()
    gain, offset = np.array([1.12, 0.9, 1.0], np.float32), np.array([-0.04, 0.02, 0.0], np.float32)
    truth = rendered.copy()
    truth[:3] = gain[:, None, None] * rendered[:3] + offset[:, None, None] * rendered[3]
    corrections = ViewCorrections(2, None, gains=True, flows=False)
    for _ in range(30):
        corrections.update(1, truth, rendered, move=False)
    # The pull to the identity against a variance of 0.02: a twentieth of the way back.
    assert corrections.gains[1] == pytest.approx(gain, abs=0.015)
    assert np.abs(corrections.target(1, truth) - rendered).max() < 0.01
    assert (corrections.gains[0] == 1).all()


def test_a_smooth_displacement_is_followed():
    rendered = textured_disc()
    rows, columns = np.mgrid[:128, :128].astype(float)
    shift = 1.2 * np.sin(columns / 40)
    truth = np.stack([ndimage.map_coordinates(part, [rows, columns + shift], order=1) for part in rendered])
    corrections = ViewCorrections(1, None, gains=False, flows=True)
    before = np.abs(truth - rendered).mean()
    for _ in range(40):
        corrections.update(0, truth, rendered, move=True)
    # The field decays at every visit, so that it stays behind by design.
    assert np.abs(corrections.target(0, truth) - rendered).mean() < 0.5 * before
    assert 0.5 < corrections.largest_flow() * 128 <= 2.0 + 1e-6


def test_views_that_agree_are_left_alone():
    rendered = textured_disc()
    corrections = ViewCorrections(1, None, gains=True, flows=True)
    for _ in range(5):
        corrections.update(0, rendered, rendered, move=True)
    np.testing.assert_allclose(corrections.target(0, rendered), rendered, atol=1e-5)


def test_the_source_is_never_corrected():
    corrections = ViewCorrections(2, 0, gains=True, flows=True)
    truth = textured_disc()
    corrections.update(0, truth, 0.5 * truth, move=True)
    assert corrections.target(0, truth) is truth
    assert (corrections.gains == 1).all()


def test_the_same_correction_at_half_the_resolution():
    truth = textured_disc(128)
    rendered = np.roll(truth, 1, axis=2)
    corrections = ViewCorrections(1, None, gains=False, flows=True)
    for _ in range(20):
        corrections.update(0, truth, rendered, move=True)
    half = truth.reshape(4, 64, 2, 64, 2).mean(axis=(2, 4))
    expected = corrections.target(0, truth).reshape(4, 64, 2, 64, 2).mean(axis=(2, 4))
    error = np.abs(corrections.target(0, half) - expected).mean()
    assert error < 0.25 * np.abs(half - expected).mean()


def test_weights_fall_with_the_angle_to_the_source():
    weights = weights_by_angle(orbit_rig(8, elevations_degrees=(0.0,)), 2)
    assert weights == pytest.approx([0.3, np.sqrt(0.5), 1, np.sqrt(0.5), 0.3, 0.3, 0.3, 0.3])
    assert (weights_by_angle(orbit_rig(8), None) == 1).all()
