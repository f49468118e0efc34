"""Other proportions for a model: stretched, tapered and bulged, so that few models teach many shapes.

With x to the right, y to the back and z up, a point goes to

    x' = x exp(a(z) + b(y)),   y' = y exp(c(z) + d(x)),   z' = s z,

each of a, b, c, d a constant and one slow wave, b and d even. So what was symmetric about x = 0 or y = 0 still is, and
what stood upright does. Texture and light move with the surface.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from renderers.mesh_rendering import RenderableMesh

_STRETCH, _LARGEST_STRETCH = 0.22, 0.5
_WAVE_ALONG_HEIGHT, _WAVE_ALONG_GROUND = 0.12, 0.06


@dataclass(frozen=True)
class _Wave:
    """offset + amplitude cos(frequency u + phase), with its derivative."""

    offset: float
    amplitude: float
    frequency: float
    phase: float

    def at(self, u: np.ndarray) -> np.ndarray:
        return self.offset + self.amplitude * np.cos(self.frequency * u + self.phase)

    def slope(self, u: np.ndarray) -> np.ndarray:
        return -self.amplitude * self.frequency * np.sin(self.frequency * u + self.phase)


@dataclass(frozen=True)
class ShapeVariation:
    """One change of proportions.

    Args:
        right_by_height: a, logarithm of what x is multiplied with.
        right_by_depth: b.
        back_by_height: c, of what y is multiplied with.
        back_by_width: d.
        height: s, what z is multiplied with.
    """

    right_by_height: _Wave
    right_by_depth: _Wave
    back_by_height: _Wave
    back_by_width: _Wave
    height: float

    @staticmethod
    def drawn(generator: np.random.Generator) -> "ShapeVariation":
        """A random one: each side stretched by 22 % or so; in half of them profiles that swell and shrink by 12 %."""
        straight = generator.random() < 0.5

        def stretch() -> float:
            return float(np.clip(generator.normal(scale=_STRETCH), -_LARGEST_STRETCH, _LARGEST_STRETCH))

        def wave(offset: float, amplitude: float, *, even: bool = False) -> _Wave:
            frequency = generator.uniform(0.5, 1.5) * np.pi
            phase = 0.0 if even else generator.uniform(0, 2 * np.pi)
            return _Wave(offset, 0.0 if straight else amplitude * float(generator.normal()), frequency, phase)

        return ShapeVariation(
            wave(stretch(), _WAVE_ALONG_HEIGHT),
            wave(0.0, _WAVE_ALONG_GROUND, even=True),
            wave(stretch(), _WAVE_ALONG_HEIGHT),
            wave(0.0, _WAVE_ALONG_GROUND, even=True),
            float(np.exp(stretch())),
        )

    def moved(self, points: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
        """Where points go."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        right, back = self._factors(x, y, z)
        return np.stack([x * right, y * back, z * self.height], -1)

    def turned(
        self, normals: Float[np.ndarray, "*shape 3"], points: Float[np.ndarray, "*shape 3"]
    ) -> Float[np.ndarray, "*shape 3"]:
        """Unit normals at points as they are after the change: by the cofactors of the Jacobian matrix."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        right, back = self._factors(x, y, z)
        right_y, right_z = x * right * self.right_by_depth.slope(y), x * right * self.right_by_height.slope(z)
        back_x, back_z = y * back * self.back_by_width.slope(x), y * back * self.back_by_height.slope(z)
        nx, ny, nz = normals[..., 0], normals[..., 1], normals[..., 2]
        changed = np.stack(
            [
                self.height * (back * nx - back_x * ny),
                self.height * (right * ny - right_y * nx),
                (right_y * back_z - right_z * back) * nx
                + (right_z * back_x - right * back_z) * ny
                + (right * back - right_y * back_x) * nz,
            ],
            -1,
        )
        return changed / np.maximum(np.linalg.norm(changed, axis=-1, keepdims=True), 1e-12)

    def _factors(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        right = np.exp(self.right_by_height.at(z) + self.right_by_depth.at(y))
        back = np.exp(self.back_by_height.at(z) + self.back_by_width.at(x))
        return right, back


def varied(mesh: RenderableMesh, variation: ShapeVariation, *, with_normals: bool = True) -> RenderableMesh:
    """A mesh with other proportions, in the unit ball again.

    Args:
        mesh: In the unit ball.
        variation: Where its points go.
        with_normals: False leaves the normals as they were, for pictures that show none.

    Returns:
        The mesh, the centre of its bounding box at the origin, its farthest corner at distance 1.
    """
    points = mesh.corners.reshape(-1, 3)
    moved = variation.moved(points)
    moved -= (moved.min(0) + moved.max(0)) / 2
    moved /= np.sqrt(np.einsum("pi,pi->p", moved, moved).max())
    normals = mesh.corner_normals
    if with_normals:
        turned = variation.turned(normals.reshape(-1, 3), points.astype(np.float32))
        normals = np.ascontiguousarray(turned.reshape(normals.shape), dtype=np.float32)
    return replace(mesh, corners=np.ascontiguousarray(moved.reshape(mesh.corners.shape)), corner_normals=normals)
