"""Where splats begin: on a hull or a solid, at given points, on lifted pictures, or anywhere that the cameras look."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree

from distill_core.cameras import Camera
from distill_core.errors import UserError
from gs_integration.fitting.visual_hull import (
    HullGrid,
    Pictures,
    Planes,
    common_volume,
    project,
    surface_colours,
    surface_points,
)
from gs_integration.splats import Splats, harmonics_from_colours

_OPACITY = 0.6
FAINT_OPACITY = 0.1
"""For points that are often wrong: faint ones can be seen through (3 to 6 dB after a fit of a scene)."""

_FLATNESS = 0.2
"""Thickness of a splat on a surface over its width."""


def splats_from_hull(
    grid: HullGrid,
    cameras: Sequence[Camera],
    pictures: Pictures,
    *,
    num_splats: int,
    seed: int = 0,
    view_weights: Float[np.ndarray, " views"] | None = None,
) -> Splats:
    """Cover the surface of a solid with flat splats in the colours of the views that see them.

    Args:
        grid: a visual hull, or any solid (`solid_grid`).
        cameras: one a view.
        pictures: straight RGBA, 0..1.
        num_splats: number of splats.
        seed: of the jitter.
        view_weights: how much to believe the colours of each view; alike if None.
    """
    points = surface_points(grid, num_splats, np.random.default_rng(seed))
    colours = surface_colours(grid, points, cameras, pictures, view_weights=view_weights)
    widths = np.clip(neighbour_distances(points.positions), 0.3 * points.spacing, 2 * points.spacing)
    scales = widths[:, None] * np.array([1.0, 1.0, _FLATNESS])
    return _splats(points.positions, colours, scales, _OPACITY, quaternions_wxyz=_z_axis_turned_to(points.normals))


def splats_from_points(
    positions: Float[np.ndarray, "points 3"],
    colours: Float[np.ndarray, "points 3"],
    *,
    num_splats: int | None = None,
    opacity: float = _OPACITY,
    seed: int = 0,
) -> Splats:
    """Put a round splat at each point, as wide as the distance to its neighbours.

    Args:
        positions: world units; two points at least.
        colours: sRGB, 0..1.
        num_splats: keep so many points at random, or repeat them with jitter; all once if None.
        opacity: of every splat.
        seed: of the choice.

    Raises:
        UserError: fewer than two points, or values that are not finite.
    """
    if len(positions) < 2 or not (np.isfinite(positions).all() and np.isfinite(colours).all()):
        raise UserError(f"Expected at least two finite points to begin from, got {len(positions)}; begin from others.")
    generator = np.random.default_rng(seed)
    distances = neighbour_distances(positions)
    if num_splats is not None and num_splats != len(positions):
        rounds = -(-num_splats // len(positions))
        chosen = np.concatenate([generator.permutation(len(positions)) for _ in range(rounds)])[:num_splats]
        jitter = generator.standard_normal((num_splats, 3)) * distances[chosen, None] * (0.5 if rounds > 1 else 0.0)
        positions, colours = positions[chosen] + jitter, colours[chosen]
        distances = neighbour_distances(positions)
    # A lone point would otherwise become a splat that covers the scene.
    scales = np.clip(distances, 1e-6, 10 * np.median(distances) + 1e-6)[:, None].repeat(3, axis=1)
    return _splats(positions, colours, scales, opacity)


def splats_from_depth(
    cameras: Sequence[Camera],
    pictures: Pictures,
    depths: Planes,
    *,
    num_splats: int,
    seed: int = 0,
) -> Splats:
    """Lift the pixels of pictures to where they lie in the world.

    Args:
        cameras: one a view.
        pictures: straight RGBA, 0..1; only pixels with alpha above a half are lifted.
        depths: z-depth in world units, 0 where empty.
        num_splats: so many pixels are chosen at random (repeated with jitter if there are fewer).
        seed: of the choice.

    Raises:
        UserError: no pixel has depth and alpha.
    """
    positions, colours = [], []
    for camera, picture, depth in zip(cameras, pictures, depths, strict=True):
        rows, columns = np.nonzero((depth > 0) & (picture[3] > 0.5))
        positions.append(unproject(camera, columns + 0.5, rows + 0.5, depth[rows, columns]))
        colours.append(picture[:3, rows, columns].T)
    if sum(map(len, positions)) < 2:
        raise UserError("Expected pictures with depth to lift, got no pixel with a depth; begin from something else.")
    return splats_from_points(np.concatenate(positions), np.concatenate(colours), num_splats=num_splats, seed=seed)


def splats_random(
    cameras: Sequence[Camera],
    pictures: Pictures,
    *,
    num_splats: int,
    seed: int = 0,
) -> Splats:
    """Scatter faint splats where several cameras look: half in the volume they share, half out to the horizon.

    Args:
        cameras: one a view, at least one.
        pictures: straight RGBA, 0..1; the colour of each splat is that of one pixel that shows it.
        num_splats: number of splats.
        seed: of the scatter.
    """
    generator = np.random.default_rng(seed)
    centre, radius = common_volume(cameras)
    enough_views = min(3, len(cameras))
    found_positions: list[np.ndarray] = []
    found_colours: list[np.ndarray] = []
    missing = num_splats
    while missing > 0:
        views = generator.integers(len(cameras), size=2 * num_splats)
        fractions = generator.random((2 * num_splats, 3))
        positions = np.zeros((2 * num_splats, 3))
        colours = np.zeros((2 * num_splats, 3))
        for view, (camera, picture) in enumerate(zip(cameras, pictures, strict=True)):
            rows = np.nonzero(views == view)[0]
            distance = float(np.linalg.norm(camera.position - centre))
            columns_px, rows_px = fractions[rows, 0] * camera.width, fractions[rows, 1] * camera.height
            near, far = max(distance - radius, 0.1 * distance), distance + radius
            share = fractions[rows, 2]
            # Even steps of depth in the shared volume, of 1 / depth beyond it.
            depth = np.where(share < 0.5, near + (far - near) * 2 * share, far / np.maximum(2 - 2 * share, 0.05))
            positions[rows] = unproject(camera, columns_px, rows_px, depth)
            pixel = picture[:, rows_px.astype(int), columns_px.astype(int)]
            colours[rows] = pixel[:3].T
        seen_by = np.zeros(len(positions), int)
        for camera in cameras:
            x, y, depth = project(camera, positions)
            seen_by += (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height) & (depth > 0)
        kept = np.nonzero(seen_by >= enough_views)[0]
        if not len(kept):
            # Cameras that share no view: every point is seen by the one whose ray it lies on.
            enough_views = 1
            continue
        found_positions.append(positions[kept[:missing]])
        found_colours.append(colours[kept[:missing]])
        missing -= len(kept[:missing])
    return splats_from_points(
        np.concatenate(found_positions), np.concatenate(found_colours), opacity=FAINT_OPACITY, seed=seed
    )


def neighbour_distances(positions: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Root mean square distance of each point to its three nearest neighbours, world units.

    Args:
        positions: at least two points.
    """
    neighbours = min(3, len(positions) - 1)
    distances, _ = KDTree(positions).query(positions, k=neighbours + 1)
    return np.sqrt((distances[:, 1:] ** 2).mean(axis=1))


def unproject(
    camera: Camera,
    columns_px: Float[np.ndarray, " points"],
    rows_px: Float[np.ndarray, " points"],
    depth: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "points 3"]:
    """World points [N, 3] at pixel positions and z-depths.

    Args:
        camera: the camera.
        columns_px: from the left edge.
        rows_px: from the top edge.
        depth: world units.
    """
    right = (columns_px - camera.cx) / camera.fx * depth
    down = (rows_px - camera.cy) / camera.fy * depth
    pose = camera.camera_to_world
    return right[:, None] * pose[:3, 0] + down[:, None] * pose[:3, 1] + depth[:, None] * pose[:3, 2] + pose[:3, 3]


def _z_axis_turned_to(normals: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 4"]:
    """Quaternions wxyz of the shortest rotations that take the z axis to unit normals."""
    # Half-way vector: (1 + n_z, z x n); straight down has no shortest rotation, so turn about x.
    quaternions = np.stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(len(normals))], axis=1)
    downwards = quaternions[:, 0] < 1e-6
    quaternions[downwards] = (0.0, 1.0, 0.0, 0.0)
    return quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)


def _splats(
    positions: Float[np.ndarray, "points 3"],
    colours: Float[np.ndarray, "points 3"],
    scales: Float[np.ndarray, "points 3"],
    opacity: float,
    quaternions_wxyz: Float[np.ndarray, "points 4"] | None = None,
) -> Splats:
    if quaternions_wxyz is None:
        quaternions_wxyz = np.tile((1.0, 0.0, 0.0, 0.0), (len(positions), 1))

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    return Splats(
        means=tensor(positions),
        quaternions_wxyz=tensor(quaternions_wxyz),
        log_scales=tensor(np.log(scales)),
        opacity_logits=torch.full((len(positions),), float(np.log(opacity / (1 - opacity)))),
        harmonics=harmonics_from_colours(tensor(np.clip(colours, 0, 1))),
    )
