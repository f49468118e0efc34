"""Points where several pictures agree, found along the rays of pixels: a start for scenes without silhouettes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

from distill_core.cameras import Camera
from gs_integration.fitting.initialization import unproject
from gs_integration.fitting.visual_hull import Pictures, common_volume, project

_DEPTHS = 48
_NEIGHBOURS = 6
_AGREEING = 4
"""Of six neighbouring views, the four that agree best are counted: the others may have something in front."""

_BLUR = 1 / 200
"""Standard deviation, in sides of the picture, of the blur before colours are compared: poses are never exact."""

_LARGEST_DIFFERENCE = 1.0


def agreeing_points(
    cameras: Sequence[Camera], pictures: Pictures, *, num_points: int, seed: int = 0
) -> tuple[Float[np.ndarray, "points 3"], Float[np.ndarray, "points 3"]]:
    """Place each of many random pixels at the depth where its neighbouring views show the same (Collins 1996).

    Args:
        cameras: one a view.
        pictures: straight RGBA, 0..1, opaque.
        num_points: number of pixels.
        seed: of their choice.

    Returns:
        World positions and colours. Pixels that no other view can see keep a random depth.
    """
    generator = np.random.default_rng(seed)
    centre, radius = common_volume(cameras)
    features = [_features(picture) for picture in pictures]
    origins = np.stack([camera.position for camera in cameras])
    views = np.sort(generator.integers(len(cameras), size=num_points))
    positions, colours = np.zeros((2, num_points, 3))
    for view, camera in enumerate(cameras):
        rows = np.nonzero(views == view)[0]
        pixels = generator.random((len(rows), 2)) * (camera.width, camera.height)
        depths = _depths(camera, centre, radius, generator.random((len(rows), _DEPTHS)))
        across, down = (np.repeat(pixels[:, axis], _DEPTHS) for axis in (0, 1))
        points = unproject(camera, across, down, depths.ravel())
        own = _look_up(features[view], camera, pixels[:, 0], pixels[:, 1])
        nearest = np.argsort(np.linalg.norm(origins - camera.position, axis=1), kind="stable")[1 : _NEIGHBOURS + 1]
        differences = np.full((len(nearest), len(rows) * _DEPTHS), _LARGEST_DIFFERENCE, np.float32)
        for place, other in enumerate(nearest):
            x, y, depth = project(cameras[other], points)
            seen = (depth > 0) & (x >= 0) & (x < cameras[other].width) & (y >= 0) & (y < cameras[other].height)
            shown = _look_up(features[other], cameras[other], x, y)
            difference = np.abs(shown - np.repeat(own, _DEPTHS, axis=0)).mean(axis=1)
            differences[place] = np.where(seen, difference, _LARGEST_DIFFERENCE)
        agreement = np.sort(differences, axis=0)[:_AGREEING].sum(axis=0).reshape(len(rows), _DEPTHS)
        best = agreement.argmin(axis=1)
        positions[rows] = points.reshape(len(rows), _DEPTHS, 3)[np.arange(len(rows)), best]
        colours[rows] = own[:, :3]
    return positions, colours


def _depths(
    camera: Camera, centre: Float[np.ndarray, "3"], radius: float, jitter: Float[np.ndarray, "rays depths"]
) -> Float[np.ndarray, "rays depths"]:
    """Even steps of 1 / depth from near the camera to far behind the volume that all cameras look at."""
    distance = float(np.linalg.norm(camera.position - centre))
    near, far = max(distance - radius, 0.2 * distance), 8 * (distance + radius)
    share = (np.arange(_DEPTHS) + jitter) / _DEPTHS
    return 1 / ((1 - share) / near + share / far)


def _features(picture: Float32[np.ndarray, "4 height width"]) -> Float32[np.ndarray, "9 height width"]:
    """Blurred colours and their slopes."""
    sigma = max(min(picture.shape[1:]) * _BLUR, 0.7)
    colour = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in picture[:3]])
    slopes = [4 * sigma * np.gradient(colour, axis=axis) for axis in (1, 2)]
    return np.concatenate([colour, *slopes]).astype(np.float32)


def _look_up(
    features: Float32[np.ndarray, "channels height width"],
    camera: Camera,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
) -> Float32[np.ndarray, "points channels"]:
    column = np.clip(x, 0, camera.width - 1).astype(int)
    row = np.clip(y, 0, camera.height - 1).astype(int)
    return features[:, row, column].T
