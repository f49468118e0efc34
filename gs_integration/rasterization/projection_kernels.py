"""Numba kernels: splats projected into one picture.

Letters of the whole file: W rotation world to camera; p mean in camera axes; R rotation of the splat, s its scales,
M = R diag(s); J Jacobian of the projection, B = J W M (2 x 3), C = B B^T + e I with e the added variance, K = C^-1
= [[a, b], [b, c]]; rho = sqrt(det(B B^T) / det C). Shapes: N splats, K coefficients of harmonics.
"""

import math

import numba
import numpy as np

from gs_integration.rasterization.blending_kernels import (
    DEPTH,
    L1,
    L2,
    L3,
    LOG2_OPACITY,
    RADIUS_X,
    RADIUS_Y,
    RED,
    U,
    V,
)
from gs_integration.rasterization.constants import (
    ADDED_VARIANCE_PX2,
    FAR_PLANE,
    FRUSTUM_MARGIN,
    LOWEST_ALPHA,
    NEAR_PLANE,
)
from gs_integration.rasterization.harmonics_kernels import harmonic_basis

# Compiled with sources 33650855d9c5 (see test_kernel_sources.py)
_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True, "fastmath": {"contract"}}
SPLATS_A_CHUNK = 256
INVISIBLE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""The key of a splat that does not touch the picture."""

ADDED_VARIANCE = np.float32(ADDED_VARIANCE_PX2)
_LOG2_E = np.float32(math.log2(math.e))
HALF_LOG2_E = np.float32(math.log2(math.e) / 2)
ROOT_HALF_LOG2_E = np.float32(math.sqrt(math.log2(math.e) / 2))
_HIGHEST_RADIUS_PX = np.float32(1e6)
_RADIUS_SLACK_PX = np.float32(0.01)
"""The bound of 1/255 is met exactly at the radius: rounding must not cut a pixel that is still inside."""


@numba.njit(**_OPTIONS, forceinline=True)
def camera_mean(means, index, pose):
    """Return p."""
    x, y, z = means[index, 0], means[index, 1], means[index, 2]
    return (
        pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3],
        pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3],
        pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3],
    )


@numba.njit(**_OPTIONS, forceinline=True)
def unit_quaternion(quaternions, index):
    """Return w, x, y, z of length 1, and the inverse of the length before."""
    w, x, y, z = quaternions[index, 0], quaternions[index, 1], quaternions[index, 2], quaternions[index, 3]
    inverse = np.float32(1) / np.sqrt(w * w + x * x + y * y + z * z)
    return w * inverse, x * inverse, y * inverse, z * inverse, inverse


@numba.njit(**_OPTIONS, forceinline=True)
def rotation_matrix(w, x, y, z):
    """Return R, row by row, of a unit quaternion."""
    one, two = np.float32(1), np.float32(2)
    return (
        one - two * (y * y + z * z),
        two * (x * y - w * z),
        two * (x * z + w * y),
        two * (x * y + w * z),
        one - two * (x * x + z * z),
        two * (y * z - w * x),
        two * (x * z - w * y),
        two * (y * z + w * x),
        one - two * (x * x + y * y),
    )


@numba.njit(**_OPTIONS, forceinline=True)
def clamped_slopes(px, py, pz, lens, width, height):
    """Slopes at which the projection is linearised."""
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    margin_x, margin_y = np.float32(FRUSTUM_MARGIN) * np.float32(width), np.float32(FRUSTUM_MARGIN) * np.float32(height)
    slope_x = min(max(px / pz, -(cx + margin_x) / fx), (np.float32(width) - cx + margin_x) / fx)
    slope_y = min(max(py / pz, -(cy + margin_y) / fy), (np.float32(height) - cy + margin_y) / fy)
    return slope_x, slope_y


@numba.njit(**_OPTIONS, forceinline=True)
def image_axes(pose, j00, j02, j11, j12):
    """The rows of J W: how the picture's x and y move with the world."""
    return (
        (
            j00 * pose[0, 0] + j02 * pose[2, 0],
            j00 * pose[0, 1] + j02 * pose[2, 1],
            j00 * pose[0, 2] + j02 * pose[2, 2],
        ),
        (
            j11 * pose[1, 0] + j12 * pose[2, 0],
            j11 * pose[1, 1] + j12 * pose[2, 1],
            j11 * pose[1, 2] + j12 * pose[2, 2],
        ),
    )


@numba.njit(**_OPTIONS, forceinline=True)
def projected_axes(jx, jy, rotation, scales):
    """B, row by row: where the picture shows the ends of the splat's three axes."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    s0, s1, s2 = scales
    return (
        (jx[0] * r00 + jx[1] * r10 + jx[2] * r20) * s0,
        (jx[0] * r01 + jx[1] * r11 + jx[2] * r21) * s1,
        (jx[0] * r02 + jx[1] * r12 + jx[2] * r22) * s2,
        (jy[0] * r00 + jy[1] * r10 + jy[2] * r20) * s0,
        (jy[0] * r01 + jy[1] * r11 + jy[2] * r21) * s1,
        (jy[0] * r02 + jy[1] * r12 + jy[2] * r22) * s2,
    )


@numba.njit(**_OPTIONS, forceinline=True)
def covariance(axes):
    """C'xx, C'xy, C'yy, its determinant, and the determinant before the variance was added.

    Minors squared cannot cancel, as xx yy - xy xy does for a needle.
    """
    a0, a1, a2, b0, b1, b2 = axes
    xx, xy, yy = a0 * a0 + a1 * a1 + a2 * a2, a0 * b0 + a1 * b1 + a2 * b2, b0 * b0 + b1 * b1 + b2 * b2
    m0, m1, m2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
    before = m0 * m0 + m1 * m1 + m2 * m2
    after = before + ADDED_VARIANCE * (xx + yy) + ADDED_VARIANCE * ADDED_VARIANCE
    return xx + ADDED_VARIANCE, xy, yy + ADDED_VARIANCE, after, before


@numba.njit(**_OPTIONS, parallel=True)
def project(
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
    keys,
):
    """Project splats into a picture.

    Args:
        means: [N, 3].
        quaternions: [N, 4] wxyz.
        log_scales: [N, 3].
        opacity_logits: [N].
        harmonics: [N, K, 3].
        pose: [4, 4] world to camera.
        position: [3] camera centre.
        lens: [4] fx fy cx cy in pixels.
        width: of the picture.
        height: of the picture.
        antialiased: multiply opacities by rho.
        projected: [N, 12]; filled where visible (columns: see `blending_kernels`).
        keys: [N] uint64; filled with depth and index, to be sorted, or with the highest number where invisible.
    """
    num_splats, num_coefficients = harmonics.shape[0], harmonics.shape[1]
    for chunk in numba.prange((num_splats + SPLATS_A_CHUNK - 1) // SPLATS_A_CHUNK):
        basis = np.zeros(16, np.float32)
        for index in range(chunk * SPLATS_A_CHUNK, min(num_splats, (chunk + 1) * SPLATS_A_CHUNK)):
            keys[index] = INVISIBLE
            visible = _project_shape(
                means,
                quaternions,
                log_scales,
                opacity_logits,
                pose,
                lens,
                width,
                height,
                antialiased,
                projected,
                index,
            )
            if not visible:
                continue
            harmonic_basis(means, position, index, num_coefficients, basis)
            for channel in range(3):
                value = np.float32(0.5)
                for k in range(num_coefficients):
                    value += basis[k] * harmonics[index, k, channel]
                projected[index, RED + channel] = max(value, np.float32(0))
            # The bits of positive floats are in the order of their values.
            depth_bits = np.float32(projected[index, DEPTH]).view(np.uint32)
            keys[index] = (np.uint64(depth_bits) << np.uint64(32)) | np.uint64(index)


@numba.njit(**_OPTIONS, forceinline=True)
def _project_shape(
    means, quaternions, log_scales, opacity_logits, pose, lens, width, height, antialiased, projected, index
):
    """Fill all columns but the colour; tell whether the splat touches the picture."""
    px, py, pz = camera_mean(means, index, pose)
    # Written so that NaN is refused too.
    if not (pz >= np.float32(NEAR_PLANE) and pz <= np.float32(FAR_PLANE)):
        return False
    fx, fy = lens[0], lens[1]
    slope_x, slope_y = clamped_slopes(px, py, pz, lens, width, height)
    w, x, y, z, _ = unit_quaternion(quaternions, index)
    scales = (math.exp(log_scales[index, 0]), math.exp(log_scales[index, 1]), math.exp(log_scales[index, 2]))
    jx, jy = image_axes(pose, fx / pz, -fx * slope_x / pz, fy / pz, -fy * slope_y / pz)
    axes = projected_axes(jx, jy, rotation_matrix(w, x, y, z), scales)
    xx, xy, yy, determinant, before = covariance(axes)
    if not (determinant < np.float32(np.inf) and xx * yy < np.float32(np.inf)):
        return False
    opacity = np.float32(1) / (np.float32(1) + math.exp(-opacity_logits[index]))
    if antialiased:
        opacity *= np.sqrt(before / determinant)
    if not opacity >= np.float32(LOWEST_ALPHA):
        return False
    reach = np.sqrt(np.float32(2) * np.log(opacity * np.float32(1 / LOWEST_ALPHA)))
    radius_x, radius_y = reach * np.sqrt(xx) + _RADIUS_SLACK_PX, reach * np.sqrt(yy) + _RADIUS_SLACK_PX
    u, v = fx * px / pz + lens[2], fy * py / pz + lens[3]
    half = np.float32(0.5)
    left = max(np.float32(0), np.ceil(u - half - radius_x))
    right = min(np.float32(width - 1), np.floor(u - half + radius_x))
    top = max(np.float32(0), np.ceil(v - half - radius_y))
    bottom = min(np.float32(height - 1), np.floor(v - half + radius_y))
    if not (left <= right and top <= bottom):
        return False
    row = projected[index]
    row[U], row[V], row[DEPTH] = u, v, pz
    # Cholesky factor of K: a = yy / det, b = -xy / det, c - b^2 / a = 1 / yy.
    root = ROOT_HALF_LOG2_E / np.sqrt(determinant * yy)
    row[L1], row[L2], row[L3] = root * yy, -root * xy, ROOT_HALF_LOG2_E / np.sqrt(yy)
    row[LOG2_OPACITY] = np.log(opacity) * _LOG2_E
    row[RADIUS_X], row[RADIUS_Y] = min(radius_x, _HIGHEST_RADIUS_PX), min(radius_y, _HIGHEST_RADIUS_PX)
    return True
