"""What rays meet: visibility and occlusion through Open3D's Embree scenes."""

import numpy as np

from renderers.meshes import TexturedMesh


class RayCaster:
    """Rays against one mesh.

    Args:
        mesh: Its vertices and faces alone are used.
        threads: Threads of Embree, 0 for all cores.
    """

    def __init__(self, mesh: TexturedMesh, *, threads: int = 1) -> None:
        import open3d  # takes 2.6 s to import, so only where rays are cast

        self._tensor = open3d.core.Tensor
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=threads)
        self._scene.add_triangles(
            self._tensor(np.ascontiguousarray(mesh.vertices, np.float32)),
            self._tensor(np.ascontiguousarray(mesh.faces, np.uint32)),
        )

    def occluded(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Whether something stands in the way from points towards distant directions.

        Args:
            points: [N, 3] world positions.
            directions: [K, 3] unit vectors.

        Returns:
            [N, K] True where a ray meets the mesh.
        """
        rays = np.concatenate(
            [np.repeat(points, len(directions), axis=0), np.tile(directions, (len(points), 1))], axis=1
        ).astype(np.float32)
        return self._scene.test_occlusions(self._tensor(rays)).numpy().reshape(len(points), len(directions))
