"""Numba kernels: real spherical harmonics of the direction from a camera to a splat, and their derivatives.

Order and signs are those of splat files. x, y, z is the unit direction.
"""

import numba
import numpy as np

from gs_integration.formats.harmonics import SH_BAND_0, SH_BAND_1, SH_BAND_2, SH_BAND_3

# Compiled with sources 98c9850993f4 (see test_kernel_sources.py)
_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True, "fastmath": {"contract"}}
_K0 = np.float32(SH_BAND_0)
_K1 = np.float32(SH_BAND_1)
_K20, _K21, _K22 = (np.float32(factor) for factor in SH_BAND_2)
_K30, _K31, _K32, _K33, _K34 = (np.float32(factor) for factor in SH_BAND_3)


@numba.njit(**_OPTIONS, forceinline=True)
def _direction(means, position, index):
    x, y, z = means[index, 0] - position[0], means[index, 1] - position[1], means[index, 2] - position[2]
    inverse = np.float32(1) / np.sqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse


@numba.njit(**_OPTIONS, forceinline=True)
def harmonic_basis(means, position, index, num_coefficients, basis):
    """Fill the first `num_coefficients` of basis [16] for the splat at `index`."""
    basis[0] = _K0
    if num_coefficients > 1:
        x, y, z, _ = _direction(means, position, index)
        basis[1], basis[2], basis[3] = -_K1 * y, _K1 * z, -_K1 * x
        if num_coefficients > 4:
            _fill_band_2(x, y, z, basis)
        if num_coefficients > 9:
            _fill_band_3(x, y, z, basis)


@numba.njit(**_OPTIONS, forceinline=True)
def _fill_band_2(x, y, z, basis):
    basis[4] = _K20 * x * y
    basis[5] = -_K20 * y * z
    basis[6] = _K21 * (np.float32(2) * z * z - x * x - y * y)
    basis[7] = -_K20 * x * z
    basis[8] = _K22 * (x * x - y * y)


@numba.njit(**_OPTIONS, forceinline=True)
def _fill_band_3(x, y, z, basis):
    three, four = np.float32(3), np.float32(4)
    xx, yy, zz = x * x, y * y, z * z
    basis[9] = -_K30 * y * (three * xx - yy)
    basis[10] = _K31 * x * y * z
    basis[11] = -_K32 * y * (four * zz - xx - yy)
    basis[12] = _K33 * z * (np.float32(2) * zz - three * xx - three * yy)
    basis[13] = -_K32 * x * (four * zz - xx - yy)
    basis[14] = _K34 * z * (xx - yy)
    basis[15] = -_K30 * x * (xx - three * yy)


@numba.njit(**_OPTIONS, forceinline=True)
def direction_gradient(means, position, index, num_coefficients, weights):
    """dL/dmean through the direction of view, where weights [16] are dL/dbasis.

    The direction is normalised, so what points along it falls out.
    """
    if num_coefficients <= 1:
        return np.float32(0), np.float32(0), np.float32(0)
    x, y, z, inverse = _direction(means, position, index)
    gx, gy, gz = -_K1 * weights[3], -_K1 * weights[1], _K1 * weights[2]
    if num_coefficients > 4:
        hx, hy, hz = _band_2_gradient(x, y, z, weights)
        gx, gy, gz = gx + hx, gy + hy, gz + hz
    if num_coefficients > 9:
        hx, hy, hz = _band_3_gradient(x, y, z, weights)
        gx, gy, gz = gx + hx, gy + hy, gz + hz
    along = gx * x + gy * y + gz * z
    return (gx - along * x) * inverse, (gy - along * y) * inverse, (gz - along * z) * inverse


@numba.njit(**_OPTIONS, forceinline=True)
def _band_2_gradient(x, y, z, weights):
    w4, w5, w7 = _K20 * weights[4], -_K20 * weights[5], -_K20 * weights[7]
    w6, w8 = np.float32(2) * _K21 * weights[6], np.float32(2) * _K22 * weights[8]
    return (
        w4 * y - w6 * x + w7 * z + w8 * x,
        w4 * x + w5 * z - w6 * y - w8 * y,
        w5 * y + np.float32(2) * w6 * z + w7 * x,
    )


@numba.njit(**_OPTIONS, forceinline=True)
def _band_3_gradient(x, y, z, weights):
    two, three, six = np.float32(2), np.float32(3), np.float32(6)
    four, eight = np.float32(4), np.float32(8)
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    w9, w10, w11 = -_K30 * weights[9], _K31 * weights[10], -_K32 * weights[11]
    w12, w13 = _K33 * weights[12], -_K32 * weights[13]
    w14, w15 = _K34 * weights[14], -_K30 * weights[15]
    gx = w9 * six * xy + w10 * yz - w11 * two * xy - w12 * six * xz + w13 * (four * zz - three * xx - yy)
    gx += w14 * two * xz + w15 * three * (xx - yy)
    gy = w9 * three * (xx - yy) + w10 * xz + w11 * (four * zz - xx - three * yy) - w12 * six * yz - w13 * two * xy
    gy -= w14 * two * yz + w15 * six * xy
    gz = w10 * xy + w11 * eight * yz + w12 * (six * zz - three * xx - three * yy) + w13 * eight * xz + w14 * (xx - yy)
    return gx, gy, gz
