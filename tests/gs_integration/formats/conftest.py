from collections.abc import Callable

import numpy as np
import pytest

from gs_integration.formats.arrays import Axes, SplatArrays


@pytest.fixture(scope="session")
def make_arrays() -> Callable[..., SplatArrays]:
    def make(count: int = 12, degree: int = 3, *, axes: Axes = "z-up", seed: int = 0) -> SplatArrays:
        """An asymmetric cloud."""
        generator = np.random.default_rng(seed)

        def normal(*shape: int) -> np.ndarray:
            return generator.standard_normal(shape).astype(np.float32)

        return SplatArrays(
            means=normal(count, 3) * np.array([1, 2, 3], np.float32) + np.array([5, 6, 7], np.float32),
            quaternions_wxyz=normal(count, 4),
            log_scales=normal(count, 3) - 3,
            opacity_logits=normal(count),
            harmonics=normal(count, (degree + 1) ** 2, 3),
            axes=axes,
        )

    return make
