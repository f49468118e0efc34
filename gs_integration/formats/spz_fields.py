"""The quantised fields of an .spz file (nianticlabs/spz): bytes to values and back.

Every field is an array of N rows of whole bytes: positions in 24-bit fixed point, opacities, base colours, logarithms
of scales, rotations, and harmonics in the order coefficient, then red, green, blue.
"""

import numpy as np
import numpy.typing as npt

from .harmonics import COEFFICIENTS_BY_DEGREE

Bytes = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

FIELD_NAMES = ("positions", "opacities", "colours", "scales", "rotations", "harmonics")
"""In the order of the file."""

LONGEST_POSITION = 2**23 - 1
FINEST_FRACTIONAL_BITS = 20
"""An object in the unit ball then has 1,048,576 steps to the unit; the usual 12 bits give it 4,096."""

_COLOUR_STEP = 0.15
_SCALE_STEPS, _SCALE_OFFSET = 16.0, 10.0
_ROTATION_STEPS = 511
# Widths that the reference library writes: 5 bits in the first band, 4 in the others, which compress better than 8.
_BUCKET_BAND_1, _BUCKET_OTHERS = 8, 16


def field_widths(degree: int, *, smallest_three: bool) -> dict[str, int]:
    """Bytes that a splat takes in each field.

    Args:
        degree: of the spherical harmonics as stored, 0 to 4.
        smallest_three: rotations as in versions 3 and 4, not 2.
    """
    widths = (9, 1, 3, 3, 4 if smallest_three else 3, 3 * ((degree + 1) ** 2 - 1))
    return dict(zip(FIELD_NAMES, widths, strict=True))


def fractional_bits(means: FloatArray) -> int | None:
    """The finest fixed point that holds all coordinates; None if whole numbers of 24 bits do not.

    Args:
        means: [N, 3].
    """
    largest = float(np.abs(means).max(initial=0.0))
    fitting = [bits for bits in range(FINEST_FRACTIONAL_BITS + 1) if round(largest * 2**bits) <= LONGEST_POSITION]
    return max(fitting, default=None)


def encode_positions(means: FloatArray, bits: int) -> Bytes:
    """[N, 9] three 24-bit numbers, lowest byte first, in steps of 2^-bits.

    Args:
        means: [N, 3].
        bits: as `fractional_bits` says.
    """
    steps = np.rint(means.astype(np.float64) * 2.0**bits).astype("<i4")
    return np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 3, 4)[:, :, :3].reshape(-1, 9)


def decode_positions(content: Bytes, bits: int) -> FloatArray:
    """[N, 3] of [N, 9]; the 24th bit is the sign.

    Args:
        content: the field.
        bits: as the header says.
    """
    parts = content.reshape(-1, 3, 3).astype(np.int32)
    steps = parts[..., 0] | parts[..., 1] << 8 | parts[..., 2] << 16
    steps = np.where(steps >= 2**23, steps - 2**24, steps)
    return (steps / 2.0**bits).astype(np.float32)


def encode_colours(base: FloatArray) -> Bytes:
    """[N, 3] coefficients of band 0 in steps of 1/38.25, cut off beyond 3.3.

    Args:
        base: [N, 3].
    """
    return _in_bytes(_colour_steps(base))


def colours_cut(base: FloatArray) -> npt.NDArray[np.bool_]:
    """[N] which splats have colours that `encode_colours` cuts off.

    Args:
        base: [N, 3].
    """
    return _beyond_bytes(_colour_steps(base))


def _colour_steps(base: FloatArray) -> npt.NDArray[np.float64]:
    return np.rint(255 * (_COLOUR_STEP * base.astype(np.float64) + 0.5))


def decode_colours(content: Bytes) -> FloatArray:
    """[N, 3] coefficients of band 0.

    Args:
        content: the field.
    """
    return ((content / 255 - 0.5) / _COLOUR_STEP).astype(np.float32)


def encode_scales(log_scales: FloatArray) -> Bytes:
    """[N, 3] logarithms in steps of 1/16 from -10 to 5.9, cut off beyond.

    Args:
        log_scales: [N, 3].
    """
    return _in_bytes(_scale_steps(log_scales))


def scales_cut(log_scales: FloatArray) -> npt.NDArray[np.bool_]:
    """[N] which splats have sizes that `encode_scales` cuts off.

    Args:
        log_scales: [N, 3].
    """
    return _beyond_bytes(_scale_steps(log_scales))


def _scale_steps(log_scales: FloatArray) -> npt.NDArray[np.float64]:
    return np.rint(_SCALE_STEPS * (log_scales.astype(np.float64) + _SCALE_OFFSET))


def decode_scales(content: Bytes) -> FloatArray:
    """[N, 3] logarithms.

    Args:
        content: the field.
    """
    return (content / _SCALE_STEPS - _SCALE_OFFSET).astype(np.float32)


def encode_rotations(quaternions_wxyz: FloatArray) -> Bytes:
    """[N, 4] the largest of x y z w by its place, the others by sign and nine bits ("smallest three").

    Args:
        quaternions_wxyz: [N, 4] of any length but zero.
    """
    xyzw = np.roll(quaternions_wxyz.astype(np.float64), -1, axis=1)
    xyzw /= np.linalg.norm(xyzw, axis=1, keepdims=True)
    rows = np.arange(len(xyzw))
    largest = np.abs(xyzw).argmax(axis=1)
    xyzw *= np.where(xyzw[rows, largest] < 0, -1.0, 1.0)[:, None]
    packed = largest.astype(np.uint32)
    for place in range(4):
        value = xyzw[:, place]
        magnitude = np.rint(np.abs(value) * np.sqrt(2) * _ROTATION_STEPS).astype(np.uint32)
        longer = packed << 10 | np.where(value < 0, 512, 0).astype(np.uint32) | np.minimum(magnitude, _ROTATION_STEPS)
        packed = np.where(largest == place, packed, longer).astype("<u4")
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def decode_rotations(content: Bytes) -> FloatArray:
    """[N, 4] unit quaternions w x y z of smallest three, or of x y z in three bytes as version 2 has them.

    Args:
        content: the field, [N, 4] or [N, 3].
    """
    if content.shape[1] == 3:
        xyz = content / 127.5 - 1
        w = np.sqrt(np.maximum(0, 1 - (xyz**2).sum(axis=1, keepdims=True)))
        return np.concatenate([w, xyz], axis=1).astype(np.float32)
    packed = np.ascontiguousarray(content).view("<u4")[:, 0].astype(np.uint32)
    largest = packed >> 30
    xyzw = np.zeros((len(packed), 4))
    for place in (3, 2, 1, 0):
        other = largest != place
        magnitude = (packed & 511) / (_ROTATION_STEPS * np.sqrt(2))
        xyzw[:, place] = np.where(other, np.where(packed & 512, -magnitude, magnitude), 0)
        packed = np.where(other, packed >> 10, packed)
    squares = (xyzw**2).sum(axis=1)
    xyzw[np.arange(len(xyzw)), largest] = np.sqrt(np.maximum(0, 1 - squares))
    return np.roll(xyzw, 1, axis=1).astype(np.float32)


def encode_harmonics(harmonics: FloatArray) -> Bytes:
    """[N, 3 (K - 1)] coefficients above band 0 in -1..1, 5 bits in band 1 and 4 in the others.

    Args:
        harmonics: [N, K, 3], band 0 included.
    """
    steps = np.rint(harmonics[:, 1:].astype(np.float64) * 128) + 128
    bucket = np.where(np.arange(1, harmonics.shape[1]) < COEFFICIENTS_BY_DEGREE[1], _BUCKET_BAND_1, _BUCKET_OTHERS)
    bucket = bucket[:, None]
    steps = np.floor((steps + bucket // 2) / bucket) * bucket
    return np.clip(steps, 0, 255).astype(np.uint8).reshape(len(harmonics), -1)


def harmonics_cut(harmonics: FloatArray) -> npt.NDArray[np.bool_]:
    """[N] which splats have coefficients above band 0 that `encode_harmonics` cuts off.

    Args:
        harmonics: [N, K, 3], band 0 included.
    """
    return np.any(np.abs(harmonics[:, 1:]) > 1, axis=(1, 2))


def decode_harmonics(content: Bytes) -> FloatArray:
    """[N, K - 1, 3] coefficients above band 0.

    Args:
        content: the field, [N, 3 (K - 1)].
    """
    return ((content - 128.0) / 128).astype(np.float32).reshape(len(content), -1, 3)


def _in_bytes(steps: npt.NDArray[np.float64]) -> Bytes:
    return np.clip(steps, 0, 255).astype(np.uint8)


def _beyond_bytes(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """[N] which rows of [N, C] have a value that `_in_bytes` cuts off."""
    return np.any((steps < 0) | (steps > 255), axis=1)
