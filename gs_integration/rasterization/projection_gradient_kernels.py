"""Numba kernels: from the gradients of projected splats to those of the splats.

Letters as in `projection_kernels`; g before a name is dL/d of it, and the camera is fixed.
"""

import math

import numba
import numpy as np

from gs_integration.rasterization.blending_kernels import G_DEPTH, G_RED, M0, MX, MXX, MXY, MY, MYY, RED
from gs_integration.rasterization.harmonics_kernels import direction_gradient, harmonic_basis
from gs_integration.rasterization.projection_kernels import (
    ADDED_VARIANCE,
    SPLATS_A_CHUNK,
    camera_mean,
    clamped_slopes,
    covariance,
    image_axes,
    projected_axes,
    rotation_matrix,
    unit_quaternion,
)

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True, "fastmath": {"contract"}}


@numba.njit(**_OPTIONS, parallel=True)
def project_gradients(
    means,
    quaternions,
    log_scales,
    opacity_logits,
    harmonics,
    pose,
    position,
    lens,
    width,
    height,
    antialiased,
    projected,
    pair_starts,
    splat_gradients,
    mean_gradients,
    quaternion_gradients,
    scale_gradients,
    logit_gradients,
    harmonic_gradients,
):
    """Take gradients of projected splats back to the splats; the last five are added to.

    Args:
        means: as in `project`, and so are all up to `projected`.
        quaternions: [N, 4] wxyz.
        log_scales: [N, 3].
        opacity_logits: [N].
        harmonics: [N, K, 3].
        pose: [4, 4].
        position: [3].
        lens: [4].
        width: of the picture.
        height: of the picture.
        antialiased: multiply opacities by rho.
        projected: [N, 12] from `project`.
        pair_starts: [N + 1]; a splat without pairs has no gradient.
        splat_gradients: [N, 10] (columns: see `blending_kernels`).
        mean_gradients: [N, 3].
        quaternion_gradients: [N, 4].
        scale_gradients: [N, 3].
        logit_gradients: [N].
        harmonic_gradients: [N, K, 3].
    """
    num_splats, num_coefficients = harmonics.shape[0], harmonics.shape[1]
    for chunk in numba.prange((num_splats + SPLATS_A_CHUNK - 1) // SPLATS_A_CHUNK):
        basis = np.zeros(16, np.float32)
        weights = np.zeros(16, np.float32)
        for index in range(chunk * SPLATS_A_CHUNK, min(num_splats, (chunk + 1) * SPLATS_A_CHUNK)):
            if pair_starts[index + 1] == pair_starts[index]:
                continue
            given = splat_gradients[index]
            _shape_gradients(
                means,
                quaternions,
                log_scales,
                pose,
                lens,
                width,
                height,
                antialiased,
                given,
                index,
                mean_gradients,
                quaternion_gradients,
                scale_gradients,
            )
            logit_gradients[index] -= given[M0] / (np.float32(1) + math.exp(opacity_logits[index]))
            harmonic_basis(means, position, index, num_coefficients, basis)
            for k in range(num_coefficients):
                weights[k] = np.float32(0)
                for channel in range(3):
                    # A colour below 0 was raised to it and moves no more.
                    if projected[index, RED + channel] > np.float32(0):
                        weights[k] += given[G_RED + channel] * harmonics[index, k, channel]
                        harmonic_gradients[index, k, channel] += given[G_RED + channel] * basis[k]
            x, y, z = direction_gradient(means, position, index, num_coefficients, weights)
            mean_gradients[index, 0] += x
            mean_gradients[index, 1] += y
            mean_gradients[index, 2] += z


@numba.njit(**_OPTIONS, forceinline=True)
def _covariance_gradient(xx, xy, yy, determinant, before, antialiased, given):
    """dL/dC as xx, xy, yy of a symmetric matrix: -K G K, and what opacities get through rho."""
    a, b, c = yy / determinant, -xy / determinant, xx / determinant
    half = np.float32(0.5)
    ga, gb, gc = half * given[MXX], half * given[MXY], half * given[MYY]
    # G K, then -K (G K).
    p00, p01, p10, p11 = ga * a + gb * b, ga * b + gb * c, gb * a + gc * b, gb * b + gc * c
    gxx, gxy, gyy = -(a * p00 + b * p10), -(a * p01 + b * p11), -(b * p01 + c * p11)
    if antialiased:
        # Opacity above 1/255 keeps rho, and with it the determinant before, away from 0.
        share = half * given[M0]
        gxx -= share * ((yy - ADDED_VARIANCE) / before - a)
        gxy -= share * (-xy / before - b)
        gyy -= share * ((xx - ADDED_VARIANCE) / before - c)
    return gxx, gxy, gyy


@numba.njit(**_OPTIONS, forceinline=True)
def _shape_gradients(
    means,
    quaternions,
    log_scales,
    pose,
    lens,
    width,
    height,
    antialiased,
    given,
    index,
    mean_gradients,
    quaternion_gradients,
    scale_gradients,
):
    """Add the gradients of one splat's mean, quaternion and scales, but for the colour's."""
    px, py, pz = camera_mean(means, index, pose)
    fx, fy = lens[0], lens[1]
    slope_x, slope_y = clamped_slopes(px, py, pz, lens, width, height)
    w, x, y, z, inverse = unit_quaternion(quaternions, index)
    rotation = rotation_matrix(w, x, y, z)
    s0, s1, s2 = math.exp(log_scales[index, 0]), math.exp(log_scales[index, 1]), math.exp(log_scales[index, 2])
    jx, jy = image_axes(pose, fx / pz, -fx * slope_x / pz, fy / pz, -fy * slope_y / pz)
    axes = projected_axes(jx, jy, rotation, (s0, s1, s2))
    xx, xy, yy, determinant, before = covariance(axes)
    gxx, gxy, gyy = _covariance_gradient(xx, xy, yy, determinant, before, antialiased, given)
    # dL/dB = 2 dL/dC B.
    two = np.float32(2)
    a0, a1, a2, b0, b1, b2 = axes
    ga0, ga1, ga2 = two * (gxx * a0 + gxy * b0), two * (gxx * a1 + gxy * b1), two * (gxx * a2 + gxy * b2)
    gb0, gb1, gb2 = two * (gxy * a0 + gyy * b0), two * (gxy * a1 + gyy * b1), two * (gxy * a2 + gyy * b2)

    # Through B = (J W) R diag(s) to the scales: R^T (J W)^T dL/dB needs only what B / s already holds.
    scale_gradients[index, 0] += ga0 * a0 + gb0 * b0
    scale_gradients[index, 1] += ga1 * a1 + gb1 * b1
    scale_gradients[index, 2] += ga2 * a2 + gb2 * b2
    # To the rotation: dL/dR = (J W)^T dL/dB diag(s).
    ga0, ga1, ga2, gb0, gb1, gb2 = ga0 * s0, ga1 * s1, ga2 * s2, gb0 * s0, gb1 * s1, gb2 * s2
    d00, d01, d02 = jx[0] * ga0 + jy[0] * gb0, jx[0] * ga1 + jy[0] * gb1, jx[0] * ga2 + jy[0] * gb2
    d10, d11, d12 = jx[1] * ga0 + jy[1] * gb0, jx[1] * ga1 + jy[1] * gb1, jx[1] * ga2 + jy[1] * gb2
    d20, d21, d22 = jx[2] * ga0 + jy[2] * gb0, jx[2] * ga1 + jy[2] * gb1, jx[2] * ga2 + jy[2] * gb2
    gw = two * (z * (d10 - d01) + y * (d02 - d20) + x * (d21 - d12))
    gx = two * (y * (d01 + d10) + z * (d02 + d20) + w * (d21 - d12) - two * x * (d11 + d22))
    gy = two * (x * (d01 + d10) + z * (d12 + d21) + w * (d02 - d20) - two * y * (d00 + d22))
    gz = two * (x * (d02 + d20) + y * (d12 + d21) + w * (d10 - d01) - two * z * (d00 + d11))
    # The length of the quaternion does not matter.
    along = gw * w + gx * x + gy * y + gz * z
    quaternion_gradients[index, 0] += (gw - along * w) * inverse
    quaternion_gradients[index, 1] += (gx - along * x) * inverse
    quaternion_gradients[index, 2] += (gy - along * y) * inverse
    quaternion_gradients[index, 3] += (gz - along * z) * inverse

    # To J W, whose gradient is dL/dB M^T, and by W^T to the entries of J.
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    x0, x1, x2 = ga0 * r00 + ga1 * r01 + ga2 * r02, ga0 * r10 + ga1 * r11 + ga2 * r12, ga0 * r20 + ga1 * r21 + ga2 * r22
    y0, y1, y2 = gb0 * r00 + gb1 * r01 + gb2 * r02, gb0 * r10 + gb1 * r11 + gb2 * r12, gb0 * r20 + gb1 * r21 + gb2 * r22
    g00 = x0 * pose[0, 0] + x1 * pose[0, 1] + x2 * pose[0, 2]
    g02 = x0 * pose[2, 0] + x1 * pose[2, 1] + x2 * pose[2, 2]
    g11 = y0 * pose[1, 0] + y1 * pose[1, 1] + y2 * pose[1, 2]
    g12 = y0 * pose[2, 0] + y1 * pose[2, 1] + y2 * pose[2, 2]
    a, b, c = yy / determinant, -xy / determinant, xx / determinant
    gu, gv = -(a * given[MX] + b * given[MY]), -(b * given[MX] + c * given[MY])
    _add_mean_gradient(
        px, py, pz, slope_x, slope_y, lens, pose, (gu, gv), (g00, g02, g11, g12), given, index, mean_gradients
    )


@numba.njit(**_OPTIONS, forceinline=True)
def _add_mean_gradient(px, py, pz, slope_x, slope_y, lens, pose, to_mean_px, to_jacobian, given, index, mean_gradients):
    """Add what comes through u, v, depth and J (whose slopes stand still where they are clamped)."""
    fx, fy = lens[0], lens[1]
    gu, gv = to_mean_px
    g00, g02, g11, g12 = to_jacobian
    per_z = np.float32(1) / pz
    fx_zz, fy_zz = fx * per_z * per_z, fy * per_z * per_z
    gx, gy = fx * per_z * gu, fy * per_z * gv
    gz = given[G_DEPTH] - fx_zz * (px * gu + g00) - fy_zz * (py * gv + g11)
    gz += fx_zz * slope_x * g02 + fy_zz * slope_y * g12
    if slope_x == px / pz:
        gx -= fx_zz * g02
        gz += fx_zz * slope_x * g02
    if slope_y == py / pz:
        gy -= fy_zz * g12
        gz += fy_zz * slope_y * g12
    for axis in range(3):
        mean_gradients[index, axis] += pose[0, axis] * gx + pose[1, axis] * gy + pose[2, axis] * gz
