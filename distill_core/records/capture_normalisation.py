"""A capture moved so that its object stands upright in the unit ball, found from silhouettes and cameras alone.

Every silhouette bounds the object by the rays through its edge. The centre is the point whose farthest such ray is
nearest, that distance is the radius, and up is what the cameras' horizontals agree to be at right angles to.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.mask_parts import main_parts

_STEPS = 2000
"""The step k of the search moves the centre by 1 / (k + 1) of the way: its error falls as 1 / k."""
_RAYS_OF_A_VIEW = 64
_SMALLEST_PART_OF_LARGEST = 0.005
_SPREAD = 0.02
"""Below this share of the horizontals' second direction, all cameras look the same way and leave up undecided."""


def normalising_transform(
    cameras: Sequence[Camera], alphas: Sequence[Float[np.ndarray, "height width"]]
) -> Float[np.ndarray, "4 4"]:
    """The similarity that takes a capture's world to the object's: unit ball, z up, the first camera in front.

    Args:
        cameras: at least two, from different places.
        alphas: coverage by the object in 0..1, one a camera and of its picture's size.

    Raises:
        UserError: fewer than two silhouettes, or cameras from one place, which leave the distance open.
    """
    centre, radius = bounding_sphere(cameras, alphas)
    up = upright_direction(cameras)
    towards_first = cameras[0].position - centre
    front = towards_first - (towards_first @ up) * up
    if np.linalg.norm(front) < 1e-6 * np.linalg.norm(towards_first):  # the first camera looks straight down
        front = -cameras[0].camera_to_world[:3, 1] + (cameras[0].camera_to_world[:3, 1] @ up) * up
    back = -front / np.linalg.norm(front)
    transform = np.eye(4)
    transform[:3, :3] = np.stack([np.cross(back, up), back, up]) / radius
    transform[:3, 3] = -transform[:3, :3] @ centre
    return transform


def bounding_sphere(
    cameras: Sequence[Camera], alphas: Sequence[Float[np.ndarray, "height width"]]
) -> tuple[Float[np.ndarray, " 3"], float]:
    """The smallest ball that touches or holds all rays along the edges of the silhouettes.

    It is exact for a ball seen from all sides, and too large by what silhouettes leave open for anything else.

    Args:
        cameras: at least two, from different places.
        alphas: coverage by the object in 0..1, one a camera and of its picture's size; empty ones do not count.

    Returns:
        Centre and radius in units of the capture's world.

    Raises:
        UserError: fewer than two silhouettes, or cameras from one place.
    """
    origins, directions, num_silhouettes = [], [], 0
    for camera, alpha in zip(cameras, alphas, strict=True):
        pixels = _edge_pixels(alpha)
        if len(pixels):
            rays = camera.unproject(pixels, np.ones(len(pixels))) - camera.position
            directions.append(rays / np.linalg.norm(rays, axis=1, keepdims=True))
            origins.append(np.broadcast_to(camera.position, rays.shape))
            num_silhouettes += 1
    if num_silhouettes < 2:
        raise UserError(
            f"Expected at least two views that show the object, got {num_silhouettes}; give masks, or cut it out."
        )
    starts, along = np.concatenate(origins), np.concatenate(directions)
    centre = _nearest_point(starts, along)
    for step in range(1, _STEPS):  # Badoiu and Clarkson 2003, with rays in the place of points
        offsets = starts - centre
        feet = offsets - (offsets * along).sum(axis=1, keepdims=True) * along
        centre = centre + feet[np.argmax((feet**2).sum(axis=1))] / (step + 1)
    offsets = starts - centre
    return centre, float(np.linalg.norm(np.cross(offsets, along), axis=1).max())


def upright_direction(cameras: Sequence[Camera]) -> Float[np.ndarray, " 3"]:
    """The unit direction that is up in a capture whose cameras were held level, whichever way they were tilted.

    Args:
        cameras: of the capture; from one direction alone, up is up in their pictures.
    """
    rights = np.stack([camera.camera_to_world[:3, 0] for camera in cameras])
    mean_up = -np.stack([camera.camera_to_world[:3, 1] for camera in cameras]).mean(axis=0)
    shares, axes = np.linalg.eigh(rights.T @ rights / len(rights))
    if shares[1] > _SPREAD:
        up = axes[:, 0] * np.sign(axes[:, 0] @ mean_up or 1.0)
        # Pictures that were not held level have no horizontal in common: then the mean is the better guess.
        if up @ mean_up > 0.3 * np.linalg.norm(mean_up):
            return up
    length = float(np.linalg.norm(mean_up))
    return mean_up / length if length > 0 else np.array([0.0, 0.0, 1.0])


def _edge_pixels(alpha: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "points 2"]:
    """The outermost pixels of some rows and columns of a silhouette, at their centres; none of an empty one."""
    mask = alpha > 0.5
    if not mask.any():
        return np.zeros((0, 2))
    mask = main_parts(mask, _SMALLEST_PART_OF_LARGEST)
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right = mask[rows].argmax(axis=1), width - 1 - mask[rows, ::-1].argmax(axis=1)
    top, bottom = mask[:, columns].argmax(axis=0), height - 1 - mask[::-1, columns].argmax(axis=0)
    edge = np.concatenate(
        [
            np.stack([np.tile(columns, 2), np.concatenate([top, bottom])], axis=1),
            np.stack([np.concatenate([left, right]), np.tile(rows, 2)], axis=1),
        ]
    )
    # Those farthest from the middle bound the object; they are picked by direction, so that every side has its own.
    offsets = edge - edge.mean(axis=0)
    sectors = ((np.arctan2(offsets[:, 1], offsets[:, 0]) / (2 * np.pi) + 0.5) * _RAYS_OF_A_VIEW).astype(int)
    order = np.lexsort((-(offsets**2).sum(axis=1), sectors))
    _, first = np.unique(sectors[order], return_index=True)
    return edge[order[first]] + 0.5


def _nearest_point(starts: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The point with the least squared distance to all rays."""
    across = np.eye(3) - along[:, :, None] * along[:, None, :]
    matrix = across.sum(axis=0)
    if np.linalg.cond(matrix) > 1e8:
        raise UserError("Expected views from different places, got all from one; the object's distance is unknown.")
    return np.linalg.solve(matrix, (across @ starts[:, :, None]).sum(axis=0)[:, 0])
