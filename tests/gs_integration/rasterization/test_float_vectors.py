"""The vectors of the kernels, lane by lane, against numpy."""

import numba
import numpy as np
import numpy.typing as npt
import pytest

from gs_integration.rasterization import float_vectors as vectors

LANES = vectors.LANES


@numba.njit(error_model="numpy")
def apply_all(rows, results):
    a, b = vectors.load(rows, 0, 0, 1), vectors.load(rows, 0, 1, 1)
    vectors.store(results, 0, 0, 1, a + b)
    vectors.store(results, 0, 1, 1, a - b)
    vectors.store(results, 0, 2, 1, a * b)
    vectors.store(results, 0, 3, 1, a / b)
    vectors.store(results, 0, 4, 1, vectors.fused(a, b, vectors.splat(np.float32(0.5))))
    vectors.store(results, 0, 5, 1, vectors.where_greater(a, b, a, vectors.lane_numbers()))
    vectors.store(results, 0, 6, 1, vectors.minus_magnitude(a))
    return vectors.lane_sum(a)


@numba.njit(error_model="numpy")
def powers_of_two(exponents, results):
    for column in range(0, exponents.shape[2], LANES):
        vectors.store(results, 0, 0, column, vectors.exp2(vectors.load(exponents, 0, 0, column)))


@pytest.fixture
def rows() -> npt.NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal((1, 2, LANES + 3)).astype(np.float32)


def test_operators_are_numpys(rows: npt.NDArray[np.float32]) -> None:
    results = np.zeros((1, 7, LANES + 3), np.float32)
    total = apply_all(rows, results)
    a, b = rows[0, :, 1 : LANES + 1]
    expected = [a + b, a - b, a * b, a / b, None, np.where(a > b, a, np.arange(LANES)), -np.abs(a)]
    for row, wanted in enumerate(expected):
        if wanted is not None:
            np.testing.assert_array_equal(results[0, row, 1 : LANES + 1], wanted.astype(np.float32))
    exact = a.astype(np.float64) * b + 0.5
    # Rounded once or twice, as the processor has it.
    np.testing.assert_allclose(results[0, 4, 1 : LANES + 1], exact, rtol=2.4e-7, atol=1.2e-7)
    assert total == pytest.approx(float(a.astype(np.float64).sum()), abs=1e-6)
    assert not results[0, :, 0].any()
    assert not results[0, :, LANES + 1 :].any()


def test_not_a_number_is_never_greater(rows: npt.NDArray[np.float32]) -> None:
    rows[0, 0, 2], rows[0, 1, 3] = np.nan, np.nan
    results = np.zeros((1, 7, LANES + 3), np.float32)
    apply_all(rows, results)
    assert results[0, 5, 2] == 1
    assert results[0, 5, 3] == 2


def test_exp2_errs_by_two_units_in_the_last_place() -> None:
    exponents = np.linspace(-20, 3, 8000 * LANES, dtype=np.float32)[None, None]
    results = np.zeros_like(exponents)
    powers_of_two(exponents, results)
    relative = np.abs(results / np.exp2(exponents.astype(np.float64)) - 1)
    assert relative.max() < 2 * 2.0**-23
