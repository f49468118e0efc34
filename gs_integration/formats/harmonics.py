"""Real spherical harmonics of splat files: their basis, and how coefficients turn with the world."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

COEFFICIENTS_BY_DEGREE = (1, 4, 9, 16)

SH_BAND_0 = 0.28209479177387814
"""The constant basis function, 1 / (2 sqrt(pi)): colour = 0.5 + SH_BAND_0 * harmonics[:, 0]."""

SH_BAND_1 = 0.4886025119029199
SH_BAND_2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
SH_BAND_3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)
"""Factors of bands 1, 2 and 3: sqrt(3/4pi); sqrt(15/4pi), sqrt(5/16pi), sqrt(15/16pi); sqrt(35/32pi),
sqrt(105/4pi), sqrt(21/32pi), sqrt(7/16pi), sqrt(105/16pi)."""

_NUM_SAMPLES = 64


def harmonic_basis(directions: npt.ArrayLike, degree: int) -> FloatArray:
    """Basis functions up to a degree, in the order and with the signs of splat files.

    Args:
        directions: [N, 3] unit vectors.
        degree: 0 to 3.

    Returns:
        [N, (degree + 1)^2].
    """
    x, y, z = np.asarray(directions, dtype=np.float64).T
    basis = [np.full_like(x, SH_BAND_0)]
    if degree >= 1:
        basis += [-SH_BAND_1 * y, SH_BAND_1 * z, -SH_BAND_1 * x]
    if degree >= 2:
        k0, k1, k2 = SH_BAND_2
        basis += [k0 * x * y, -k0 * y * z, k1 * (2 * z * z - x * x - y * y), -k0 * x * z, k2 * (x * x - y * y)]
    if degree >= 3:
        k0, k1, k2, k3, k4 = SH_BAND_3
        basis += [
            -k0 * y * (3 * x * x - y * y),
            k1 * x * y * z,
            -k2 * y * (4 * z * z - x * x - y * y),
            k3 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -k2 * x * (4 * z * z - x * x - y * y),
            k4 * z * (x * x - y * y),
            -k0 * x * (x * x - 3 * y * y),
        ]
    return np.stack(basis, axis=1)


def turned_harmonics(harmonics: npt.NDArray[np.float32], rotation: FloatArray) -> npt.NDArray[np.float32]:
    """Coefficients of the same colours after the world was turned.

    Args:
        harmonics: [N, K, 3] with K = 1, 4, 9 or 16.
        rotation: [3, 3] old to new world.

    Returns:
        [N, K, 3]: seen along R d they give what `harmonics` give along d.
    """
    turned = harmonics.copy()
    degree = COEFFICIENTS_BY_DEGREE.index(harmonics.shape[1])
    directions = _spread_directions()
    before, after = harmonic_basis(directions @ rotation, degree), harmonic_basis(directions, degree)
    for band in range(1, degree + 1):
        columns = slice(band * band, (band + 1) ** 2)
        # A band's functions turn into each other alone, so the equations are solved without remainder.
        turn = np.linalg.lstsq(after[:, columns], before[:, columns], rcond=None)[0]
        turned[:, columns] = np.einsum("ij,njc->nic", turn, harmonics[:, columns].astype(np.float64))
    return turned


def _spread_directions() -> FloatArray:
    """Unit vectors all around, on a golden spiral."""
    place = np.arange(_NUM_SAMPLES) + 0.5
    z = 1 - 2 * place / _NUM_SAMPLES
    angle = place * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
