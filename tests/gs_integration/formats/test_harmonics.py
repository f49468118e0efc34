import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from gs_integration.formats.harmonics import harmonic_basis, turned_harmonics


def directions(count: int = 40) -> np.ndarray:
    drawn = np.random.default_rng(1).standard_normal((count, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_basis_is_scipys() -> None:
    x, y, z = directions().T
    inclination, azimuth = np.arccos(z), np.arctan2(y, x)
    expected = []
    for band in range(4):
        for order in range(-band, band + 1):
            values = sph_harm_y(band, abs(order), inclination, azimuth)
            # Real harmonics from complex ones that carry the Condon-Shortley sign (-1)^m, which splat files keep.
            expected.append(values.real if order == 0 else np.sqrt(2) * (values.real if order > 0 else values.imag))
    np.testing.assert_allclose(harmonic_basis(directions(), 3), np.stack(expected, 1), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours_turn_with_the_world(degree: int) -> None:
    generator = np.random.default_rng(2)
    rotation = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    harmonics = generator.standard_normal((5, (degree + 1) ** 2, 3)).astype(np.float32)
    turned = turned_harmonics(harmonics, rotation)
    before = np.einsum("dk,nkc->dnc", harmonic_basis(directions(), degree), harmonics.astype(np.float64))
    after = np.einsum("dk,nkc->dnc", harmonic_basis(directions() @ rotation.T, degree), turned.astype(np.float64))
    # Up to 16 coefficients of about 1, each rounded to float32.
    np.testing.assert_allclose(after, before, atol=2e-6)


def test_signs_between_y_down_and_y_up_are_those_of_the_spz_specification() -> None:
    # Bands of x right, y down, z forward against x right, y up, z back, as the reference library has them.
    signs = [1, *(-1, -1, 1), *(-1, 1, 1, -1, 1), *(-1, 1, -1, -1, 1, -1, 1)]
    harmonics = np.random.default_rng(4).standard_normal((3, 16, 3)).astype(np.float32)
    turned = turned_harmonics(harmonics, np.diag([1.0, -1.0, -1.0]))
    np.testing.assert_allclose(turned, harmonics * np.array(signs)[None, :, None], atol=1e-6)
