"""From a hard mask to a matte: coverage along the edge, and colours without the old background.

A pixel on the edge shows I = alpha F + (1 - alpha) B. The background's colour B is known or taken from near by, the
object's colour F from the nearest pixel that lies well inside, and alpha is where I stands on the line between them.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float

# Pixels on either side of a hard edge whose coverage is estimated; beyond, ringing of JPEG would become a halo.
_BAND_PX = 2
# Below this distance (RGB, 0..1) the two colours cannot be told apart, and coverage follows the mask's shape.
_CONTRAST = 0.12
# What noise leaves of coverage 0 and takes from coverage 1.
_FRINGE_SHARE = 0.4
_LOWEST_COVERAGE, _HIGHEST_COVERAGE = 0.12, 0.92


def soft_matte(
    rgb: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "4 height width"]:
    """Estimate coverage and the object's own colour along the edge of a hard mask.

    Args:
        rgb: the picture, 0..1.
        mask: where the object is, to about a pixel.

    Returns:
        Straight RGBA: alpha is 0 or 1 away from the edge.
    """
    # The second round begins from an edge that lies where coverage is a half.
    first = _matte_once(rgb, mask)
    return _matte_once(rgb, first[3] > 0.5)


def with_own_colours(
    rgb: Float[np.ndarray, "height width 3"], coverage: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "4 height width"]:
    """Take the old background's colour out of a picture whose coverage is known.

    Args:
        rgb: the picture, 0..1.
        coverage: the object's share of each pixel.

    Returns:
        Straight RGBA.
    """
    own, background = nearest_colour(rgb, coverage > 0.95), nearest_colour(rgb, coverage < 0.05)
    return _unmixed(rgb, coverage, own, background, coverage < 0.95)


def _matte_once(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    inside, outside = _distance(mask), _distance(~mask)
    band = (inside <= _BAND_PX) & (outside <= _BAND_PX)
    background = nearest_colour(rgb, outside > _BAND_PX + 1)
    own = nearest_colour(rgb, _core(inside, np.linalg.norm(rgb - background, axis=2)))
    difference = own - background
    contrast = np.square(difference).sum(axis=2)
    along = ((rgb - background) * difference).sum(axis=2) / np.maximum(contrast, 1e-6)
    by_colour = (along - _LOWEST_COVERAGE) / (_HIGHEST_COVERAGE - _LOWEST_COVERAGE)
    by_shape = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)
    trust = contrast / (contrast + _CONTRAST**2)
    alpha = np.where(band, np.clip(trust * by_colour + (1 - trust) * by_shape, 0, 1), mask).astype(np.float32)
    return _unmixed(rgb, alpha, own, background, band)


def _unmixed(
    rgb: np.ndarray, alpha: np.ndarray, own: np.ndarray, background: np.ndarray, where: np.ndarray
) -> np.ndarray:
    """Straight RGBA: the picture less the background's share, towards the object's own colour where little is left."""
    share = alpha[..., None]
    unmixed = np.clip((rgb - (1 - share) * background) / np.maximum(share, 0.5), 0, 1)
    colour = np.where(where[..., None], share * unmixed + (1 - share) * own, rgb)
    return np.concatenate([colour, share], axis=2).transpose(2, 0, 1).astype(np.float32)


def _core(inside: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Pixels that show nothing but the object: well inside, or the middle line of a part too thin to have an inside.

    What is much nearer to the background than its neighbours are is a fringe that the mask took in.
    """
    deep = inside > _BAND_PX
    near_deep = cv2.dilate(deep.astype(np.uint8), np.ones((4 * _BAND_PX + 1,) * 2, np.uint8)).astype(bool)
    middle = (inside > 0) & (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8)))
    neighbours = cv2.dilate(contrast * (inside > 0), np.ones((2 * _BAND_PX + 3,) * 2, np.uint8))
    return (deep | (middle & ~near_deep)) & (contrast > _FRINGE_SHARE * neighbours)


def nearest_colour(
    rgb: Float[np.ndarray, "height width 3"], known: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """Fill a picture from its known pixels: each other pixel takes the smoothed colour of the nearest known one.

    Args:
        rgb: the picture.
        known: where it may be used; all of it, if nowhere.
    """
    if not known.any():
        return rgb
    weight = known.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), 1.0)[..., None]
    smoothed = cv2.GaussianBlur(rgb * weight[..., None], (0, 0), 1.0) / np.maximum(total, 1e-6)
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Label of each known pixel -> its position.
    labels = np.asarray(labels, np.int64)
    positions = np.zeros(labels.max() + 1, np.int64)
    positions[labels[known]] = np.flatnonzero(known)
    return smoothed.reshape(-1, 3)[positions[labels]]


def _distance(mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Distance in pixels to the nearest pixel outside the mask; 0 outside it."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
