"""Soft light that stands still in the world, baked into a mesh's corners.

The light is a distant environment without colour: a sky that is brighter than the ground, a broad key light from
above, front and left, a weak fill from the right. A corner receives the cosine-weighted mean of what it sees of it
(ambient occlusion included, one bounce excluded). The same light stands in every view, as in a photograph session.
"""

from dataclasses import dataclass

import numpy as np

from renderers.meshes import TexturedMesh
from renderers.ray_casting import RayCaster
from renderers.subdivision import subdivided

_SURFACE_OFFSET = 2e-3
"""World units by which a shadow ray starts off the surface, so that the surface does not shade itself."""


@dataclass(frozen=True)
class Lobe:
    """A distant light around a direction.

    Args:
        direction: Unit vector towards the light.
        strength: Radiance in its middle.
        sharpness: Its radiance falls as exp(sharpness (cos angle - 1)).
    """

    direction: tuple[float, float, float]
    strength: float
    sharpness: float


@dataclass(frozen=True)
class StudioLight:
    """The light of the training views: radiance of a direction w with height w_z.

    sky + gradient w_z + lobes. Strengths are such that white is 0.4 in the shade below and 1 towards the key.
    """

    sky: float = 0.435
    gradient: float = 0.255
    lobes: tuple[Lobe, ...] = (
        Lobe((-0.539, -0.602, 0.589), 2.166, 10.1),
        Lobe((0.713, -0.52, 0.471), 0.162, 2.53),
    )

    def radiance(self, directions: np.ndarray) -> np.ndarray:
        """Radiance [K] from unit directions [K, 3]."""
        total = self.sky + self.gradient * directions[:, 2]
        for lobe in self.lobes:
            towards = np.asarray(lobe.direction) / np.linalg.norm(lobe.direction)
            total = total + lobe.strength * np.exp(lobe.sharpness * (directions @ towards - 1))
        return total


def bake_light(
    mesh: TexturedMesh, light: StudioLight, *, num_directions: int = 96, max_edge: float = 0.1
) -> tuple[TexturedMesh, np.ndarray]:
    """Cut a mesh finely enough and find the light at every corner.

    Args:
        mesh: In the unit ball.
        light: What shines.
        num_directions: Directions over the sphere.
        max_edge: Longest edge after cutting, world units.

    Returns:
        The cut mesh and its corner light [F, 3, 3], linear, the same in all three channels.
    """
    fine = subdivided(mesh, max_edge=max_edge)
    assert fine.corner_normals is not None
    corners = np.concatenate([fine.vertices[fine.faces], fine.corner_normals], -1).reshape(-1, 6)
    unique, inverse = np.unique(np.round(corners, 4), axis=0, return_inverse=True)
    directions = sphere_directions(num_directions)
    normals = unique[:, 3:]
    cosines = np.maximum(normals @ directions.T, 0)
    caster = RayCaster(mesh, num_threads=1)
    hidden = caster.occluded(unique[:, :3] + normals * _SURFACE_OFFSET, directions, offset=0.0)
    # Mean over the hemisphere: (1/pi) sum L cos (4 pi / K).
    received = (cosines * ~hidden) @ light.radiance(directions) * (4 / num_directions)
    corner_light = received[inverse.reshape(-1)].reshape(-1, 3, 1).repeat(3, axis=2)
    return fine, corner_light.astype(np.float32)


def sphere_directions(count: int) -> np.ndarray:
    """Unit vectors [count, 3] spread evenly over the sphere (Fibonacci spiral)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    azimuth = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height * height)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], -1)
