"""Rays against a mesh: first hits, what a camera sees, what shades a point (Open3D, Embree)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from renderers.meshes import TexturedMesh

_RAYS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class RayHits:
    """Where N rays first meet the mesh.

    Attributes:
        distances: [N] float32 in lengths of the ray's direction, infinite where nothing is met.
        faces: [N] int64, -1 where nothing is met.
        barycentric: [N, 3] float32 weights of the face's corners, zero where nothing is met.
    """

    distances: Float32[np.ndarray, " rays"]
    faces: Int64[np.ndarray, " rays"]
    barycentric: Float32[np.ndarray, "rays 3"]


class RayCaster:
    """A mesh made ready for rays. Both sides of a face stop a ray; holes cut by a picture's alpha do not count.

    Args:
        mesh: best of about unit size: Embree computes in single precision.
        num_threads: 0 uses all cores.
    """

    def __init__(self, mesh: TexturedMesh, *, num_threads: int = 0) -> None:
        import open3d  # takes seconds to import

        self._open3d = open3d
        self._num_threads = num_threads
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=num_threads)
        self._scene.add_triangles(
            open3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
            open3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.uint32)),
        )

    def closest_hits(self, origins: Float[np.ndarray, "*_ 3"], directions: Float[np.ndarray, "rays 3"]) -> RayHits:
        """First hits of rays.

        Args:
            origins: [N, 3] in world units; [3] for all rays.
            directions: [N, 3] of any length.
        """
        rays = self._rays(origins, directions)
        answer = self._scene.cast_rays(rays, nthreads=self._num_threads)
        distances = answer["t_hit"].numpy()
        met = np.isfinite(distances)
        weights = answer["primitive_uvs"].numpy()
        barycentric = np.concatenate([1 - weights.sum(axis=1, keepdims=True), weights], axis=1)
        return RayHits(
            distances=distances,
            faces=np.where(met, answer["primitive_ids"].numpy().astype(np.int64), -1),
            barycentric=np.where(met[:, None], barycentric, 0).astype(np.float32),
        )

    def visible(
        self, points: Float[np.ndarray, "points 3"], eye: Float[np.ndarray, " 3"], *, tolerance: float = 1e-3
    ) -> Bool[np.ndarray, " points"]:
        """Which points [N, 3] on the surface an eye [3] sees.

        Args:
            points: in world units.
            eye: in world units.
            tolerance: surfaces in front of a point by less than this, in world units, do not hide it.

        Returns:
            [N] bool.
        """
        towards = np.asarray(points, np.float64) - eye
        distance = np.linalg.norm(towards, axis=1)
        hits = self.closest_hits(np.asarray(eye), towards / np.maximum(distance, 1e-12)[:, None])
        return hits.distances >= distance - tolerance

    def occluded(
        self, points: Float[np.ndarray, "points 3"], directions: Float[np.ndarray, "lights 3"], *, offset: float = 1e-3
    ) -> Bool[np.ndarray, "points lights"]:
        """Which directions are blocked as seen from points.

        Args:
            points: [N, 3] in world units, best moved off their surface a little along its normal.
            directions: [K, 3] unit, towards the lights.
            offset: surfaces nearer than this to the point do not count, in world units.

        Returns:
            [N, K] bool.
        """
        points = np.asarray(points, np.float32)
        directions = np.asarray(directions, np.float32)
        blocked = np.zeros((len(points), len(directions)), bool)
        step = max(1, _RAYS_AT_ONCE // max(1, len(directions)))
        for start in range(0, len(points), step):
            some = points[start : start + step]
            shape = (len(some), len(directions), 3)
            rays = self._rays(np.broadcast_to(some[:, None], shape), np.broadcast_to(directions, shape))
            answer = self._scene.test_occlusions(rays, tnear=offset, nthreads=self._num_threads)
            blocked[start : start + step] = answer.numpy()
        return blocked

    def _rays(self, origins: np.ndarray, directions: np.ndarray) -> Any:
        directions = np.asarray(directions, np.float32)
        origins = np.broadcast_to(np.asarray(origins, np.float32), directions.shape)
        return self._open3d.core.Tensor.from_numpy(np.concatenate([origins, directions], axis=-1))
