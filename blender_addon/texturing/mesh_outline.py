"""The outermost points of a mesh, which tell a redraw within a millisecond how large it is and where it stands.

With D directions spread evenly over the sphere, each at most an angle a from the next, a ball around any centre that
reaches the kept points has at least cos(a) of the radius that reaches all: the support of the farthest vertex, seen
along the direction that is nearest to it, loses no more. For the D here that is less than a hundredth.
"""

import math

import numpy as np

MOST_EXACT = 4096
"""Vertices up to which all are kept."""

_DIRECTIONS = 400
_CHUNK = 8192


def outermost(points: np.ndarray, used: np.ndarray, to_world: np.ndarray) -> np.ndarray:
    """Return the points that lie farthest out [K, 3], K at most 4096.

    Args:
        points: [N, 3] float32.
        used: [L] numbers of the points that faces use; others are left out.
        to_world: [3, 3] what scales, shears and turns the points; a later turn changes no bound.

    Returns:
        float32, as they were given; none where none is used or one is not finite.
    """
    kept = np.zeros(len(points), bool)
    kept[used] = True
    points = points[kept]
    if not np.isfinite(points).all():
        return points[:0]
    if len(points) <= MOST_EXACT:
        return points
    # The support of M p along d is that of p along M^T d.
    directions = (_directions() @ to_world).astype(np.float32)
    best, where = np.full(len(directions), -np.inf, np.float32), np.zeros(len(directions), np.int64)
    for start in range(0, len(points), _CHUNK):
        reach = directions @ points[start : start + _CHUNK].T
        farthest = reach.argmax(axis=1)
        found = np.take_along_axis(reach, farthest[:, None], axis=1)[:, 0]
        better = found > best
        best[better], where[better] = found[better], farthest[better] + start
    return points[np.unique(where)]


def _directions() -> np.ndarray:
    """Directions [D, 3] all around: the six of the axes, which bound a box, and a spiral of Fibonacci."""
    number = np.arange(_DIRECTIONS) + 0.5
    height = 1 - 2 * number / _DIRECTIONS
    turn = math.pi * (1 + math.sqrt(5)) * number
    around = np.sqrt(1 - height**2)
    spiral = np.stack([around * np.cos(turn), around * np.sin(turn), height], axis=1)
    return np.concatenate([np.eye(3), -np.eye(3), spiral])
