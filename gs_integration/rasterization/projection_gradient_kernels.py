"""Numba kernels: from the gradients of projected splats to those of the splats.

Letters as in `projection_kernels`; g before a name is dL/d of it, and the camera is fixed.
"""

import math

import numba
import numpy as np

from gs_integration.rasterization.blending_kernels import (
    G_DEPTH,
    G_RED,
    GRADIENT_COLUMNS,
    L1,
    L2,
    L3,
    RED,
    SQ,
    SQQ,
    SQR,
    SR,
    SRR,
    S,
)
from gs_integration.rasterization.harmonics_kernels import direction_gradient, harmonic_basis
from gs_integration.rasterization.projection_kernels import (
    HALF_LOG2_E,
    ROOT_HALF_LOG2_E,
    SPLATS_A_CHUNK,
    camera_mean,
    clamped_slopes,
    image_axes,
    projected_axes,
    rotation_matrix,
    unit_quaternion,
)

# Compiled with sources 76aedbfcf99c (see test_kernel_sources.py)
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
    pair_gradients,
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
        pair_gradients: [pairs, 10] (columns: see `blending_kernels`); a splat's rows are summed in their order.
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
        given = np.zeros(GRADIENT_COLUMNS, np.float32)
        for index in range(chunk * SPLATS_A_CHUNK, min(num_splats, (chunk + 1) * SPLATS_A_CHUNK)):
            if pair_starts[index + 1] == pair_starts[index]:
                continue
            for column in range(GRADIENT_COLUMNS):
                given[column] = np.float32(0)
            for pair in range(pair_starts[index], pair_starts[index + 1]):
                for column in range(GRADIENT_COLUMNS):
                    given[column] += pair_gradients[pair, column]
            _shape_gradients(
                means,
                quaternions,
                log_scales,
                pose,
                lens,
                width,
                height,
                antialiased,
                projected[index],
                given,
                index,
                mean_gradients,
                quaternion_gradients,
                scale_gradients,
            )
            logit_gradients[index] -= given[S] / (np.float32(1) + math.exp(opacity_logits[index]))
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
def _axes_gradient(axes, l1, l2, l3, given, antialiased):
    """dL/dB, and where antialiased what opacity adds through rho.

    With K = L L^T, dL/dC = -L Q L^T / 2 where Q holds the sums of s (q, r)^T (q, r), and dL/dB = 2 dL/dC B. L^T B comes
    first: its entries are at most 1, while K of a needle times its length would cancel.
    """
    a0, a1, a2, b0, b1, b2 = axes
    qq, qr, rr = given[SQQ] / HALF_LOG2_E, given[SQR] / HALF_LOG2_E, given[SRR] / HALF_LOG2_E
    p0, p1, p2 = l1 * a0 + l2 * b0, l1 * a1 + l2 * b1, l1 * a2 + l2 * b2
    r0, r1, r2 = l3 * b0, l3 * b1, l3 * b2
    if antialiased:
        # log rho = (log det(B B^T) - log det C) / 2; the second part has the derivative K B = L (L^T B).
        qq, rr = qq - given[S], rr - given[S]
    t0, t1, t2 = -(qq * p0 + qr * r0), -(qq * p1 + qr * r1), -(qq * p2 + qr * r2)
    v0, v1, v2 = -(qr * p0 + rr * r0), -(qr * p1 + rr * r1), -(qr * p2 + rr * r2)
    ga0, ga1, ga2 = l1 * t0, l1 * t1, l1 * t2
    gb0, gb1, gb2 = l2 * t0 + l3 * v0, l2 * t1 + l3 * v1, l2 * t2 + l3 * v2
    if antialiased:
        # det(B B^T) = |m|^2 with m the cross product of B's rows. Opacity above 1/255 keeps it away from 0.
        m0, m1, m2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
        share = given[S] / (m0 * m0 + m1 * m1 + m2 * m2)
        ga0 -= share * (b1 * m2 - b2 * m1)
        ga1 -= share * (b2 * m0 - b0 * m2)
        ga2 -= share * (b0 * m1 - b1 * m0)
        gb0 -= share * (m1 * a2 - m2 * a1)
        gb1 -= share * (m2 * a0 - m0 * a2)
        gb2 -= share * (m0 * a1 - m1 * a0)
    return ga0, ga1, ga2, gb0, gb1, gb2


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
    row,
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
    l1, l2, l3 = row[L1] / ROOT_HALF_LOG2_E, row[L2] / ROOT_HALF_LOG2_E, row[L3] / ROOT_HALF_LOG2_E
    ga0, ga1, ga2, gb0, gb1, gb2 = _axes_gradient(axes, l1, l2, l3, given, antialiased)
    a0, a1, a2, b0, b1, b2 = axes
    two = np.float32(2)

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
    gu, gv = -l1 * given[SQ] / ROOT_HALF_LOG2_E, -(l2 * given[SQ] + l3 * given[SR]) / ROOT_HALF_LOG2_E
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
