"""What the silhouettes of several views leave of space, and the colours that the views see on its surface.

A solid that is known otherwise (an occupancy to ask at points) becomes the same kind of grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from distill_core.cameras import Camera
from distill_core.errors import UserError

Pictures = Float[np.ndarray, "views 4 height width"] | Sequence[np.ndarray]
"""One [4, H, W] a view; views may differ in size."""

Planes = Float[np.ndarray, "views height width"] | Sequence[np.ndarray]

_INSIDE_ALPHA = 0.5
_COARSE_RESOLUTION = 40
_SMOOTHING_VOXELS = 1.2
"""Blur of the grid before its surface is read: takes the stairs out, keeps what is two voxels thick."""

_DEPTH_CELL_VOXELS = 1.5
"""Cells of the depth maps are larger than voxels, so that a surface of voxel centres has no holes in them."""


@dataclass(frozen=True, eq=False)
class HullGrid:
    """Voxels that may hold the object.

    Attributes:
        occupied: [X, Y, Z], indexed along the world's axes.
        corner: [3] lower corner of voxel (0, 0, 0) in world units.
        voxel_size: side of a voxel in world units.
    """

    occupied: Bool[np.ndarray, "x y z"]
    corner: Float[np.ndarray, "3"]
    voxel_size: float

    def contains(
        self, points: Float[np.ndarray, "points 3"], *, dilation_voxels: int = 0
    ) -> Bool[np.ndarray, " points"]:
        """Say of world points [N, 3] whether they lie in an occupied voxel or near one.

        Args:
            points: world positions.
            dilation_voxels: how many voxels the solid is grown by first.
        """
        solid = np.pad(self.occupied, dilation_voxels)
        if dilation_voxels:
            ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), dilation_voxels)
            solid = np.asarray(ndimage.binary_dilation(solid, ball))
        index = np.floor((points - self.corner) / self.voxel_size).astype(np.int64) + dilation_voxels
        within = ((index >= 0) & (index < solid.shape)).all(axis=1)
        index = np.clip(index, 0, np.array(solid.shape) - 1)
        return within & solid[index[:, 0], index[:, 1], index[:, 2]].astype(bool)


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points on the surface of a solid.

    Attributes:
        positions: [N, 3] world units.
        normals: [N, 3] unit, outwards.
        spacing: typical distance to the next point in world units.
    """

    positions: Float[np.ndarray, "points 3"]
    normals: Float[np.ndarray, "points 3"]
    spacing: float


def visual_hull(
    cameras: Sequence[Camera],
    alphas: Planes,
    *,
    resolution: int = 96,
    allowed_misses: int = 0,
) -> HullGrid:
    """Keep the voxels that lie inside the silhouettes (Laurentini 1994); where they are is found from the cameras.

    A view says nothing of voxels outside its picture. A voxel survives when at least half of the views have it in
    their pictures and at most `allowed_misses` of those show background there; voxels half inside count as inside.

    Args:
        cameras: one a view.
        alphas: silhouettes, 0..1.
        resolution: voxels along the longest side of the hull's bounding box.
        allowed_misses: 1 keeps what a single wrong silhouette would carve away.

    Raises:
        UserError: the silhouettes have no volume in common.
    """
    outside_px = [
        np.asarray(ndimage.distance_transform_edt(alpha <= _INSIDE_ALPHA), dtype=np.float32) for alpha in alphas
    ]
    centre, radius = common_volume(cameras)
    low, high = centre - radius, centre + radius
    # Twice from coarse to fine: the first box comes from the cameras alone and may be much too large.
    for grid_resolution in (_COARSE_RESOLUTION, _COARSE_RESOLUTION, resolution):
        voxel_size = float((high - low).max() / grid_resolution)
        shape = np.maximum(np.ceil((high - low) / voxel_size - 1e-6).astype(int), 1)
        occupied = _carve(cameras, outside_px, low, voxel_size, shape, allowed_misses)
        if not occupied.any():
            raise UserError(
                f"Expected silhouettes that share a volume, got {len(cameras)} views whose silhouettes have none in "
                "common; check the cameras and that the pictures have an alpha channel with the object inside."
            )
        corner, filled = low, np.argwhere(occupied)
        low = corner + (filled.min(axis=0) - 1) * voxel_size
        high = corner + (filled.max(axis=0) + 2) * voxel_size
    return HullGrid(occupied, corner, voxel_size)


def solid_grid(
    occupancy: Callable[[Float32[np.ndarray, "points 3"]], Float[np.ndarray, " points"]],
    *,
    centre: npt.ArrayLike = (0.0, 0.0, 0.0),
    radius: float = 1.0,
    resolution: int = 96,
    threshold: float = 0.5,
) -> HullGrid:
    """Sample a solid on a grid.

    Args:
        occupancy: gives the probability that the object is at world points [N, 3].
        centre: [3] of the cube that is sampled.
        radius: half the cube's side in world units.
        resolution: voxels along a side.
        threshold: occupancy from which a voxel is occupied; lowered to half of the largest value found if none is.

    Raises:
        UserError: the solid is empty.
    """
    corner = np.asarray(centre, dtype=np.float64) - radius
    voxel_size = 2 * radius / resolution
    centres = _voxel_centres(corner, voxel_size, np.array([resolution] * 3))
    values = np.asarray(occupancy(centres), dtype=np.float32).reshape(resolution, resolution, resolution)
    largest = float(values.max())
    if not largest > 0:
        raise UserError("Expected a solid, got one that is empty everywhere; begin from the hull of the views instead.")
    return HullGrid(values >= min(threshold, largest / 2), corner, voxel_size)


def surface_points(grid: HullGrid, num_points: int, generator: np.random.Generator) -> SurfacePoints:
    """Spread points evenly over the surface of a solid, smoothed over about a voxel.

    Args:
        grid: the solid; some voxel is occupied.
        num_points: number of points.
        generator: where the jitter comes from.
    """
    solid = np.pad(grid.occupied, 2)
    smooth = ndimage.gaussian_filter(solid.astype(np.float32), _SMOOTHING_VOXELS)
    voxels = np.argwhere(_surface(solid))
    # Every voxel once before any voxel twice.
    rounds = -(-num_points // len(voxels))
    chosen = np.concatenate([generator.permutation(len(voxels)) for _ in range(rounds)])[:num_points]
    positions = voxels[chosen] + generator.random((num_points, 3), np.float32)
    gradient = np.zeros((num_points, 3), np.float32)
    for _ in range(2):
        at_centres = (positions - 0.5).T
        value = ndimage.map_coordinates(smooth, at_centres, order=1)
        for axis in range(3):
            step = np.zeros((3, 1), np.float32)
            step[axis] = 0.5
            ahead = ndimage.map_coordinates(smooth, at_centres + step, order=1)
            gradient[:, axis] = ahead - ndimage.map_coordinates(smooth, at_centres - step, order=1)
        squared = np.maximum((gradient**2).sum(axis=1), 1e-4)
        move = ((0.5 - value) / squared)[:, None] * gradient
        positions = positions + np.clip(move, -0.7, 0.7)
    normals = -gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    spacing = grid.voxel_size * float(np.sqrt(len(voxels) / num_points))
    return SurfacePoints(grid.corner + (positions - 2) * grid.voxel_size, normals.astype(np.float64), spacing)


def surface_colours(
    grid: HullGrid,
    points: SurfacePoints,
    cameras: Sequence[Camera],
    pictures: Pictures,
    *,
    view_weights: Float[np.ndarray, " views"] | None = None,
) -> Float[np.ndarray, "points 3"]:
    """Mean colour of each point in the views that see it, those that face it first.

    Args:
        grid: the solid that hides points from views.
        points: on its surface.
        cameras: one a view.
        pictures: straight RGBA, 0..1.
        view_weights: how much to believe each view; alike if None.

    Returns:
        sRGB, 0..1; points that nobody sees have the colour of the views that face them, or grey.
    """
    solid = np.pad(grid.occupied, 1)
    voxels = np.argwhere(_surface(solid))
    blockers = grid.corner + (voxels - 0.5) * grid.voxel_size
    seen = np.zeros((len(points.positions), 4))
    faced = np.full((len(points.positions), 4), 1e-9)
    faced[:, :3] *= 0.5
    weights = np.ones(len(cameras)) if view_weights is None else view_weights
    for camera, picture, view_weight in zip(cameras, pictures, weights, strict=True):
        x, y, depth = project(camera, points.positions)
        towards_camera = camera.position - points.positions
        towards_camera /= np.linalg.norm(towards_camera, axis=1, keepdims=True)
        facing = np.clip((points.normals * towards_camera).sum(axis=1), 0, None) ** 4 + 1e-4
        colour = _bilinear(picture, x, y)
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height) & (depth > 0)
        weight = np.where(inside, view_weight * facing * colour[:, 3], 0)[:, None]
        weighted = weight * np.concatenate([colour[:, :3], np.ones_like(weight)], axis=1)
        faced += 1e-3 * weighted
        seen += weighted * _visible(camera, blockers, grid.voxel_size, x, y, depth)[:, None]
    total = seen + 1e-3 * faced
    return total[:, :3] / total[:, 3:]


def common_volume(cameras: Sequence[Camera]) -> tuple[Float[np.ndarray, "3"], float]:
    """Find the ball that all cameras look at.

    Args:
        cameras: at least one.

    Returns:
        The point nearest to all optical axes, and the radius that half of the cameras see whole, in world units.
    """
    positions = np.stack([camera.position for camera in cameras])
    axes = np.stack([camera.forward for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    # Parallel axes meet nowhere: a weak pull towards a point at the cameras' mutual distance keeps the system solvable.
    spread = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean())
    anchor = (positions + axes * max(spread, 1e-3)).mean(axis=0)
    pull = 1e-4 * len(cameras)
    centre = np.linalg.solve(
        across.sum(axis=0) + pull * np.eye(3), (across @ positions[:, :, None]).sum(axis=0)[:, 0] + pull * anchor
    )
    distances = np.linalg.norm(positions - centre, axis=1)
    half_angles = [np.radians(min(camera.field_of_view_degrees)) / 2 for camera in cameras]
    radius = float(np.median(distances * np.sin(half_angles)))
    return centre, max(radius, 1e-6)


def project(
    camera: Camera, points: Float[np.ndarray, "points 3"]
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Pixels x, y and z-depth of points; the pixel means nothing where the depth is not positive.

    Written without a matrix product, whose last bits depend on the number of threads.

    Args:
        camera: the camera.
        points: world positions.
    """
    number = points.dtype.type
    world_to_camera = camera.world_to_camera.astype(points.dtype)
    in_camera = [
        row[0] * points[:, 0] + row[1] * points[:, 1] + row[2] * points[:, 2] + row[3] for row in world_to_camera[:3]
    ]
    depth = in_camera[2]
    divisor = np.maximum(depth, number(1e-9))
    x = in_camera[0] / divisor * number(camera.fx) + number(camera.cx)
    y = in_camera[1] / divisor * number(camera.fy) + number(camera.cy)
    return x, y, depth


def _voxel_centres(
    corner: Float[np.ndarray, "3"], voxel_size: float, shape: npt.NDArray[np.int_]
) -> Float32[np.ndarray, "points 3"]:
    axes = [(corner[axis] + (np.arange(shape[axis]) + 0.5) * voxel_size).astype(np.float32) for axis in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _surface(solid: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The occupied voxels that have an empty one at one of their six faces."""
    return solid & ~np.asarray(ndimage.binary_erosion(solid), dtype=bool)


def _carve(
    cameras: Sequence[Camera],
    outside_px: Sequence[Float32[np.ndarray, "height width"]],
    corner: Float[np.ndarray, "3"],
    voxel_size: float,
    shape: npt.NDArray[np.int_],
    allowed_misses: int,
) -> Bool[np.ndarray, "x y z"]:
    centres = _voxel_centres(corner, voxel_size, shape)
    alive = np.arange(len(centres))
    misses = np.zeros(len(centres), np.int32)
    views = np.zeros(len(centres), np.int32)
    for camera, outside in zip(cameras, outside_px, strict=True):
        x, y, depth = project(camera, centres[alive])
        inside = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height) & (depth > 0)
        column = np.clip(x, 0, camera.width - 1).astype(np.int32)
        row = np.clip(y, 0, camera.height - 1).astype(np.int32)
        # Half a voxel, and half a pixel for what the silhouette and this look-up are rounded by.
        reach_px = np.float32(0.5 * voxel_size * camera.fx) / np.maximum(depth, np.float32(1e-6)) + np.float32(0.5)
        missed = inside & (outside[row, column] > reach_px)
        misses[alive] += missed
        views[alive] += inside
        alive = alive[misses[alive] <= allowed_misses]
    occupied = np.zeros(len(centres), bool)
    occupied[alive] = 2 * views[alive] >= len(cameras)
    return occupied.reshape(tuple(shape))


def _visible(
    camera: Camera,
    blockers: Float[np.ndarray, "blockers 3"],
    voxel_size: float,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    depth: Float[np.ndarray, " points"],
) -> Bool[np.ndarray, " points"]:
    """Say which points no blocker hides: a depth map of the blockers in cells of about a voxel."""
    blocker_x, blocker_y, blocker_depth = project(camera, blockers)
    in_front = blocker_depth > 0
    if not in_front.any():
        return np.ones(len(x), bool)
    cell_px = max(_DEPTH_CELL_VOXELS * voxel_size * camera.fx / float(np.median(blocker_depth[in_front])), 1.0)
    columns, rows = int(camera.width / cell_px) + 1, int(camera.height / cell_px) + 1

    def cells(across: npt.NDArray[np.float64], down: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        column = np.clip(across / cell_px, 0, columns - 1).astype(np.int64)
        return np.clip(down / cell_px, 0, rows - 1).astype(np.int64) * columns + column

    nearest = np.full(rows * columns, np.inf)
    np.minimum.at(nearest, cells(blocker_x[in_front], blocker_y[in_front]), blocker_depth[in_front])
    return depth < nearest[cells(x, y)] + 2.5 * voxel_size


def _bilinear(
    picture: Float[np.ndarray, "channels height width"],
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "points channels"]:
    """Read straight RGBA at pixel positions, weighted by alpha; the border's pixels go on outside."""
    _, height, width = picture.shape
    across, down = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    column, row = np.minimum(across.astype(int), width - 2), np.minimum(down.astype(int), height - 2)
    right, below = across - column, down - row
    total = np.zeros((len(x), 4))
    for down_step, across_step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pixel = picture[:, row + down_step, column + across_step].T
        weight = (right if across_step else 1 - right) * (below if down_step else 1 - below)
        total[:, 3] += weight * pixel[:, 3]
        total[:, :3] += (weight * pixel[:, 3])[:, None] * pixel[:, :3]
    total[:, :3] /= np.maximum(total[:, 3:], 1e-6)
    return total
