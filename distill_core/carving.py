"""Space carving: which cells behind a picture's pixels the other views leave standing.

Labels for the solid network. Carving asks nothing of a mesh (no watertightness, no winding) beyond depth maps.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from distill_core import carving_kernels
from distill_core.cameras import Camera


def carve_frustum(
    source: Camera,
    silhouette: np.ndarray,
    carving_cameras: Sequence[Camera],
    carving_depths: np.ndarray,
    *,
    bins: int = 32,
    radius: float = 1.0,
    margin: float = 0.03,
    source_depth: np.ndarray | None = None,
) -> np.ndarray:
    """Occupancy along the rays of a source camera.

    Args:
        source: The camera, of the size of `silhouette`.
        silhouette: [h, w] coverage of the source's pixels, 0..1.
        carving_cameras: V cameras.
        carving_depths: [V, H, W] their z-depth, 0 where empty.
        bins: Bins of equal depth between the source's distance to the origin minus and plus `radius`.
        radius: Radius of the ball that holds the object, world units.
        margin: World units by which a surface must lie behind a cell to free it.
        source_depth: [h, w] z-depth of the source itself, 0 where empty; the cell that holds its surface is occupied
            whatever its centre says, so that a sheet thinner than a cell leaves no hole.

    Returns:
        [bins, h, w] uint8, 1 = occupied.
    """
    occupied = np.zeros((bins, *silhouette.shape), np.uint8)
    # A cell is as wide as a few pixels of a carving view: its centre may miss a thin wall that it holds, so the
    # object is grown by a pixel in every view.
    grown = ndimage.minimum_filter(np.where(carving_depths > 0, carving_depths, np.inf), size=(1, 3, 3))
    grown[~np.isfinite(grown)] = 0
    nearest_depth = float(np.linalg.norm(source.position)) - radius
    matrices = np.stack([camera.intrinsics @ camera.world_to_camera[:3] for camera in carving_cameras])
    carving_kernels.carve(
        np.ascontiguousarray(silhouette, np.float32),
        np.array([source.fx, source.fy, source.cx, source.cy]),
        np.ascontiguousarray(source.camera_to_world),
        nearest_depth,
        radius,
        np.ascontiguousarray(matrices),
        np.ascontiguousarray(grown, np.float32),
        margin,
        occupied,
    )
    if source_depth is not None:
        rows, columns = np.nonzero((source_depth > 0) & (silhouette >= 0.02))
        index = np.floor((source_depth[rows, columns] - nearest_depth) / (2 * radius) * bins).astype(int)
        occupied[np.clip(index, 0, bins - 1), rows, columns] = 1
    return occupied
