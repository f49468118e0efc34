"""3D Gaussian splats as numpy arrays with their axes, and the similarities that move them."""

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .harmonics import COEFFICIENTS_BY_DEGREE, turned_harmonics

Axes = Literal["y-down", "y-up", "z-up"]
"""Where up is: x points right; then "y-down" has z forward, "y-up" z back, "z-up" y forward. All are right-handed."""

AXES: tuple[Axes, ...] = get_args(Axes)

FloatArray = npt.NDArray[np.float32]

_TO_Z_UP = {
    "y-down": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
    "y-up": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "z-up": np.eye(3),
}

# A matrix that was written with six digits is still a similarity.
_SIMILARITY_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class SplatArrays:
    """N Gaussians as files hold them, float32.

    Args:
        means: [N, 3] centres.
        quaternions_wxyz: [N, 4] rotations, any length but zero.
        log_scales: [N, 3] natural logarithms of the standard deviations.
        opacity_logits: [N] opacity before the logistic function.
        harmonics: [N, K, 3] coefficients for red, green, blue, K = 1, 4, 9 or 16.
        axes: where up is.
        antialiased: made for a renderer that scales opacities by the share of area that its pixel filter adds.

    Raises:
        ValueError: shapes that do not belong together.
    """

    means: FloatArray
    quaternions_wxyz: FloatArray
    log_scales: FloatArray
    opacity_logits: FloatArray
    harmonics: FloatArray
    axes: Axes
    antialiased: bool = False

    def __post_init__(self) -> None:
        count, coefficients = len(self.means), self.harmonics.shape[1] if self.harmonics.ndim == 3 else 0
        expected = ((count, 3), (count, 4), (count, 3), (count,), (count, coefficients, 3))
        for name, shape in zip(ARRAY_NAMES, expected, strict=True):
            if getattr(self, name).shape != shape:
                raise ValueError(f"SplatArrays.{name}: expected shape {shape}, got {getattr(self, name).shape}")
        if coefficients not in COEFFICIENTS_BY_DEGREE:
            raise ValueError(f"SplatArrays.harmonics: expected 1, 4, 9 or 16 coefficients, got {coefficients}")

    def __len__(self) -> int:
        """Return the number of splats."""
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return COEFFICIENTS_BY_DEGREE.index(self.harmonics.shape[1])

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> "SplatArrays":
        """Return some of the splats, by mask or by index."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ARRAY_NAMES})

    def transformed(self, old_to_new: npt.ArrayLike) -> "SplatArrays":
        """Move the splats by a rotation, one scale for all directions, and a translation.

        Args:
            old_to_new: [4, 4].

        Returns:
            The moved splats; the axes are as they were.

        Raises:
            ValueError: the matrix mirrors, shears or scales unevenly.
        """
        matrix = np.asarray(old_to_new, dtype=np.float64)
        scale, rotation = _scale_and_rotation(matrix)
        means = self.means.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        return replace(
            self,
            means=means.astype(np.float32),
            quaternions_wxyz=_turned_quaternions(self.quaternions_wxyz, rotation),
            log_scales=(self.log_scales + np.float32(np.log(scale))).astype(np.float32),
            harmonics=turned_harmonics(self.harmonics, rotation),
        )

    def in_axes(self, axes: Axes) -> "SplatArrays":
        """Return the same splats, turned into other axes."""
        if axes == self.axes:
            return self
        matrix = np.eye(4)
        matrix[:3, :3] = axes_rotation(self.axes, axes)
        return replace(self.transformed(matrix), axes=axes)


ARRAY_NAMES = tuple(field.name for field in fields(SplatArrays))[:5]


def axes_rotation(source: Axes, target: Axes) -> npt.NDArray[np.float64]:
    """The rotation [3, 3] that takes coordinates in one set of axes to another."""
    return _TO_Z_UP[target].T @ _TO_Z_UP[source]


def _scale_and_rotation(matrix: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-9:
        raise ValueError(f"expected a finite 4 x 4 matrix whose last row is 0 0 0 1, got {matrix.tolist()}")
    determinant = np.linalg.det(matrix[:3, :3])
    scale = float(np.cbrt(determinant))
    if scale <= 0:
        raise ValueError(f"expected a rotation, scale and translation, got determinant {determinant:g}")
    rotation = matrix[:3, :3] / scale
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _SIMILARITY_TOLERANCE:
        raise ValueError("expected a rotation, scale and translation, got a matrix that shears or scales unevenly")
    return scale, rotation


def _turned_quaternions(quaternions_wxyz: FloatArray, rotation: npt.NDArray[np.float64]) -> FloatArray:
    """Quaternions of the same Gaussians after the world was turned: the rotation's, times each."""
    w, x, y, z = rotation_quaternion(rotation)
    times = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return (quaternions_wxyz.astype(np.float64) @ times.T).astype(np.float32)


def rotation_quaternion(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The unit quaternion [4], w x y z with w >= 0, of a rotation [3, 3] (Bar-Itzhack, 2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, yx + xy, xz + zx],
            [xz - zx, yx + xy, yy - xx - zz, yz + zy],
            [yx - xy, xz + zx, yz + zy, zz - xx - yy],
        ]
    )
    # The eigenvector of the largest eigenvalue: no case distinction, and the nearest rotation if rounded.
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion
