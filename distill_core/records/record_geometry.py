"""Views of one still thing against each other: what all silhouettes leave standing, what depth says to depth."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt

from distill_core.cameras import Camera
from distill_core.records.multi_view_record import RecordView

_CELLS = 40
"""Of the grid along each axis."""
_MARGIN = 1.1
_LARGEST_MASK_PX = 256
_POINTS_OF_A_VIEW = 400
_TOLERANCE = 0.01
"""Of the object's radius: what depth may be off beside a pixel's own size."""


def seen_share(cameras: Sequence[Camera], point: Float[np.ndarray, " 3"]) -> float:
    """The share of the cameras that have a point in front of them and within their picture.

    Args:
        cameras: at least one.
        point: in world units.
    """
    seen = 0
    for camera in cameras:
        pixels, depth = camera.project(point[None])
        seen += bool(depth[0] > 0 and (pixels[0] >= 0).all() and (pixels[0] <= (camera.width, camera.height)).all())
    return seen / len(cameras)


def hull_points(
    views: Sequence[RecordView], centre: Float[np.ndarray, " 3"], radius: float
) -> Float[np.ndarray, "points 3"]:
    """Middles of the cells of a grid that no silhouette rules out.

    A cell is ruled out when the whole ball around it lies outside a silhouette, so that every cell in which the object
    is stays, however thin the object.

    Args:
        views: with alpha.
        centre: of the grid's cube.
        radius: of the object, a little less than half the cube's side.
    """
    steps = (np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1
    points = centre + radius * _MARGIN * np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    for view in views:
        camera, outside = _distance_outside(view)
        pixels, depth = camera.project(points)
        columns, rows, inside = _places(camera, pixels, depth)
        reach = _cell_radius(radius) * max(camera.fx, camera.fy) / np.maximum(depth, 1e-9)
        # Beyond the picture's edge nothing is known.
        points = points[~inside | (outside[rows, columns] <= reach + 1)]
    return points


def unexplained_share(view: RecordView, hull: Float[np.ndarray, "points 3"], radius: float) -> float:
    """The share of a silhouette's pixels behind which no cell of the hull lies.

    It is 0 for true cameras and silhouettes of one thing, whatever its shape: each of its points lies in a cell that no
    view rules out.

    Args:
        view: with alpha.
        hull: of `hull_points`, with the same radius.
        radius: of the object.
    """
    camera, outside = _distance_outside(view)
    covered = outside == 0
    pixels, depth = camera.project(hull)
    columns, rows, inside = _places(camera, pixels, depth)
    nothing_there = np.ones(covered.shape, bool)
    nothing_there[rows[inside], columns[inside]] = False
    if nothing_there.all():
        return float(covered.any())
    reach = _cell_radius(radius) * max(camera.fx, camera.fy) / depth[inside].min()
    explained = np.asarray(distance_transform_edt(nothing_there)) <= reach + 1
    return float((covered & ~explained).sum() / max(covered.sum(), 1))


def contradicted_depth(views: Sequence[RecordView], radius: float | None) -> tuple[float, float]:
    """How far the depth of some views is contradicted and confirmed by that of the others.

    A point of one view is contradicted by another one that looks through it: that sees nothing there, or something
    farther away. (One that sees something nearer says nothing: the point is hidden from it.)

    Args:
        views: with depth, two at least.
        radius: of the object in world units; None takes a tenth of the points' median depth.

    Returns:
        The share of points that another view looks through, and of those that lie on another view's surface.
    """
    looks = [
        (view.camera.resized(view.depth.shape[1], view.depth.shape[0]), view.depth)
        for view in views
        if view.depth is not None
    ]
    contradicted, confirmed, counted = 0, 0, 0
    for place, (camera, depth) in enumerate(looks):
        rows, columns = np.nonzero(depth)
        step = max(1, len(rows) // _POINTS_OF_A_VIEW)
        rows, columns = rows[::step], columns[::step]
        points = camera.unproject(np.stack([columns, rows], -1) + 0.5, depth[rows, columns])
        size = radius if radius is not None else 0.1 * float(np.median(depth[rows, columns]))
        through, on = np.zeros(len(points), bool), np.zeros(len(points), bool)
        for other, (there, surface) in enumerate(looks):
            if other == place:
                continue
            pixels, z = there.project(points)
            columns, rows, inside = _places(there, pixels, z)
            nearest, farthest = _range_around(surface, rows, columns)
            tolerance = _TOLERANCE * size + z / min(there.fx, there.fy) + _pixel_size(camera, points)
            through |= inside & (z < nearest - tolerance)
            on |= inside & (z >= nearest - tolerance) & (z <= farthest + tolerance)
        contradicted += int(through.sum())
        confirmed += int(on.sum())
        counted += len(points)
    return contradicted / max(counted, 1), confirmed / max(counted, 1)


def _pixel_size(camera: Camera, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """The width of a pixel at the points, in world units."""
    return np.linalg.norm(points - camera.position, axis=1) / min(camera.fx, camera.fy)


def _range_around(depth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest and farthest depth within a pixel's eight neighbours; infinity and 0 where all are empty."""
    height, width = depth.shape
    nearest, farthest = np.full(len(rows), np.inf), np.zeros(len(rows))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            values = depth[(rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)]
            nearest = np.minimum(nearest, np.where(values > 0, values, np.inf))
            farthest = np.maximum(farthest, values)
    return nearest, farthest


def _places(camera: Camera, pixels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns and rows of pixels, and which of them are in the picture."""
    whole = np.floor(np.nan_to_num(pixels, nan=-1.0, posinf=-1.0, neginf=-1.0)).clip(-1, 1e6).astype(int)
    columns, rows = whole.T
    inside = (depth > 0) & (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    return columns.clip(0, camera.width - 1), rows.clip(0, camera.height - 1), inside


def _distance_outside(view: RecordView) -> tuple[Camera, np.ndarray]:
    """How far each pixel of a reduced picture is from the silhouette, in its pixels, and its camera."""
    mask = np.asarray(view.rgba[3] > 0.5)
    step = -(-max(mask.shape) // _LARGEST_MASK_PX)
    height, width = (-(-side // step) for side in view.rgba.shape[1:])
    if step > 1:  # a coarse pixel is covered if any of its pixels is
        padded = np.zeros((height * step, width * step), bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        mask = padded.reshape(height, step, width, step).any(axis=(1, 3))
    camera = view.camera.cropped(0, 0, width * step, height * step)
    outside = np.asarray(distance_transform_edt(~mask)) if mask.any() else np.full((height, width), np.inf)
    return camera.resized(width, height), outside


def _cell_radius(radius: float) -> float:
    """Half of a cell's diagonal."""
    return radius * _MARGIN / _CELLS * 3**0.5
