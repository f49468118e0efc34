"""Clouds of splats that every format can hold, and what is compared of them."""

import numpy as np
from scipy.spatial.transform import Rotation

from gs_integration.formats.arrays import Axes, SplatArrays


def asymmetric_cloud(count: int = 40, degree: int = 3, *, axes: Axes = "z-up", seed: int = 0) -> SplatArrays:
    """Splats with colours in 0..1 and coefficients in -0.9..0.9; no mirror or turn leaves them as they are."""
    generator = np.random.default_rng(seed)
    harmonics = np.clip(generator.standard_normal((count, (degree + 1) ** 2, 3)) * 0.2, -0.9, 0.9)
    harmonics[:, 0] = generator.uniform(-1.7, 1.7, (count, 3))
    return SplatArrays(
        means=(generator.standard_normal((count, 3)) * (0.1, 0.2, 0.3) + (0.1, 0.2, 0.3)).astype(np.float32),
        quaternions_wxyz=generator.standard_normal((count, 4)).astype(np.float32),
        log_scales=generator.uniform(-5, -1.5, (count, 3)).astype(np.float32),
        opacity_logits=generator.uniform(-3, 3, count).astype(np.float32),
        harmonics=harmonics.astype(np.float32),
        axes=axes,
    )


def orientations(splats: SplatArrays) -> np.ndarray:
    """[N, 3, 3] rotation matrices whose columns are the splats' own axes."""
    return Rotation.from_quat(splats.quaternions_wxyz.astype(np.float64), scalar_first=True).as_matrix()


def turns_between(one: SplatArrays, other: SplatArrays) -> np.ndarray:
    """[N] angles in radians between the splats' axes, whose signs do not matter."""
    cosines = np.abs(np.einsum("nij,nij->nj", orientations(one), orientations(other)))
    return np.arccos(np.clip(cosines, 0, 1)).max(axis=1)


def opacities(splats: SplatArrays) -> np.ndarray:
    return 1 / (1 + np.exp(-splats.opacity_logits.astype(np.float64)))
