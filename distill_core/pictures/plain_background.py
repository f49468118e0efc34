"""Objects before a plain background: a wall, a sweep of paper, the white or grey of a catalogue.

The background's colour is a smooth function of place, fitted to the picture's border (or two of them: a wall and a
floor); the object is what differs from it. Colours are compared in CIELAB, where a distance of about 2 is just visible.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from distill_core.pictures.mask_parts import connected_parts, main_parts

# The numbers of this module were chosen on photographs, catalogue pictures and rendered pictures, by eye.
_RING_SHARE = 0.02
_INLIER_DISTANCE = 6.0
_PLAIN_SHARE = 0.8
_SECOND_SHARE = 0.08
_LEAST_DISTANCE, _LARGEST_DISTANCE = 3.5, 10.0
# JPEG's blocks are 8 pixels wide, and so is what an edge leaves around itself.
_RINGING_PX, _RINGING_SHARE, _PALE_PART_PX = 17, 0.2, 5
# Light and shadow on the background: chroma beside the background's, growing with the change of lightness (light that
# the object throws back is tinted); the range of lightness; the largest step from one pixel to the next.
_SHADE_CHROMA, _SHADE_TINT, _SHADE_DARKEST, _SHADE_BRIGHTEST, _SHADE_STEP = 4.5, 0.3, -45.0, 20.0, 1.2
_SHADOW_TINT, _SHADOW_STEP, _FOOT_SHARE = 0.45, 0.12, 0.3
_GAP_SHARE, _SHADE_GAP_SHARE = 0.004, 0.015
_HOLE_DISTANCE = 2.5
_PAINTED_NOISE, _WHITE_LIGHTNESS = 0.3, 97.0


@dataclass(frozen=True)
class PlainBackground:
    """A background of one smooth colour, or two.

    Attributes:
        colours: its colours at every pixel, CIELAB.
        share: which part of the border they explain, 0..1.
        noise: how far the border's pixels lie from them, root of the mean square, CIELAB units.
    """

    colours: tuple[Float[np.ndarray, "height width 3"], ...]
    share: float
    noise: float

    @property
    def is_plain(self) -> bool:
        """Whether an object can be told from this background by its colour."""
        return self.share >= _PLAIN_SHARE

    @property
    def is_painted(self) -> bool:
        """Whether it is one exact colour other than white: nothing throws a shadow on it."""
        first = self.colours[0]
        return len(self.colours) == 1 and self.noise < _PAINTED_NOISE and float(first[..., 0].max()) < _WHITE_LIGHTNESS

    def nearest_colour(self, lab: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
        """Return at every pixel that of its colours which is nearer to the picture's.

        Args:
            lab: the picture.
        """
        distances = np.stack([np.linalg.norm(lab - colour, axis=2) for colour in self.colours])
        return np.take_along_axis(np.stack(self.colours), distances.argmin(axis=0)[None, ..., None], axis=0)[0]


def lab_of(rgb: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """Return CIELAB (lightness 0..100) of sRGB in 0..1."""
    return cv2.cvtColor(np.ascontiguousarray(rgb, np.float32), cv2.COLOR_RGB2Lab)


def border_ring(height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """Mark the pixels along the picture's edges."""
    ring_px = max(2, round(_RING_SHARE * min(height, width)))
    ring = np.ones((height, width), bool)
    ring[ring_px:-ring_px, ring_px:-ring_px] = False
    return ring


def fit_background(lab: Float[np.ndarray, "height width 3"]) -> PlainBackground:
    """Fit smooth colours to the border, leaving out what does not belong to it (an object cut by the edge)."""
    ring = border_ring(*lab.shape[:2])
    colours = [_fitted_colour(lab, ring)]
    distance = np.linalg.norm(lab - colours[0], axis=2)
    explained = ring & (distance < _INLIER_DISTANCE)
    rest = ring & ~explained
    # A floor below a wall reaches the corners of the picture; an object that the edge cuts off seldom does.
    if rest.mean() > _SECOND_SHARE * ring.mean() and rest[[0, 0, -1, -1], [0, -1, 0, -1]].any():
        second = _fitted_colour(lab, rest)
        second_distance = np.linalg.norm(lab - second, axis=2)
        if np.count_nonzero(rest & (second_distance < _INLIER_DISTANCE)) > _SECOND_SHARE * np.count_nonzero(ring):
            colours.append(second)
            distance = np.minimum(distance, second_distance)
            explained = ring & (distance < _INLIER_DISTANCE)
    noise = float(np.sqrt(np.mean(distance[explained] ** 2))) if explained.any() else np.inf
    return PlainBackground(tuple(colours), float(explained.sum() / ring.sum()), noise)


def object_before(
    background: PlainBackground, lab: Float[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Return where the object is: what differs from the background, with what it encloses.

    Enclosed places of the background's colour are holes if their rims are sharp (between the rungs of a chair), else
    part of the object (a highlight, which fades).
    """
    threshold = float(np.clip(4 * background.noise, _LEAST_DISTANCE, _LARGEST_DISTANCE))
    differences = [lab - colour for colour in background.colours]
    same = ~np.logical_and.reduce([_differs(difference, threshold) for difference in differences])
    # A second colour varies too much to allow for light and shadow besides; one exact grey was laid in by a program.
    shaded = same if background.is_painted else _shaded(lab, differences[0], background.noise)
    # Narrow leaks into the object are closed; shade, which proves less, needs a wider way.
    passable = _opened(same, _GAP_SHARE) | _opened(same | shaded, _SHADE_GAP_SHARE)
    outside = _reached_from_border(passable)
    if not background.is_painted:
        shadow = _below(~outside) & _cast_shadow(lab, lab - background.nearest_colour(lab))
        outside = _reached_from_border(passable | _opened(same | shaded | shadow, _SHADE_GAP_SHARE) & _below(~outside))
    outside |= _dilated(outside, 3) & same
    return ~(outside | _holes(lab - background.nearest_colour(lab), same & ~outside, threshold))


def _fitted_colour(lab: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A polynomial of the second degree through most of the pixels of a region, [height, width, 3]."""
    height, width = lab.shape[:2]
    rows, columns = np.nonzero(where)
    samples = lab[where]
    colour = np.broadcast_to(np.median(samples, axis=0), samples.shape)
    terms = _terms(rows / height, columns / width)
    coefficients = np.zeros((6, 3))
    coefficients[0] = colour[0]
    # A first guess by the median takes in a soft gradient only with a wide gate; each degree narrows it.
    for num_terms, gate in ((1, 4.0), (3, 2.5), (3, 1.5), (6, 1.2), (6, 1.0), (6, 1.0)):
        inliers = np.linalg.norm(samples - colour, axis=1) < gate * _INLIER_DISTANCE
        if np.count_nonzero(inliers) < 32:
            break
        coefficients[:num_terms] = np.linalg.lstsq(terms[inliers, :num_terms], samples[inliers], rcond=None)[0]
        colour = terms @ coefficients
    inliers = np.linalg.norm(samples - colour, axis=1) < _INLIER_DISTANCE
    grid_rows, grid_columns = np.indices((height, width)).reshape(2, -1)
    fitted = (_terms(grid_rows / height, grid_columns / width) @ coefficients).reshape(height, width, 3)
    if inliers.any():  # far from the border a polynomial may go anywhere: no colour beyond those seen
        fitted = np.clip(fitted, samples[inliers].min(axis=0), samples[inliers].max(axis=0))
    return fitted.astype(np.float32)


def _terms(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Monomials of a place in 0..1, up to the second degree."""
    return np.stack([np.ones_like(rows), rows, columns, rows**2, rows * columns, columns**2], axis=1)


def _differs(difference: np.ndarray, threshold: float) -> np.ndarray:
    """Where the colour differs from the background by more than the ringing of JPEG beside a strong edge.

    Ringing is weak beside the edge that causes it, goes up and down, so that its mean vanishes, and is narrow; a pale
    part of the object keeps its mean and has some width.
    """
    distance = np.linalg.norm(difference, axis=2)
    nearby = cv2.dilate(distance, np.ones((_RINGING_PX, _RINGING_PX), np.uint8))
    weak = (distance < _RINGING_SHARE * nearby).astype(np.float32)
    weights = cv2.blur(weak, (5, 5))[..., None]
    mean = cv2.blur(difference * weak[..., None], (5, 5)) / np.maximum(weights, 1e-6)
    pale = (distance > threshold) & (np.linalg.norm(mean, axis=2) > threshold)
    wide = cv2.morphologyEx(pale.astype(np.uint8), cv2.MORPH_OPEN, np.ones((_PALE_PART_PX, _PALE_PART_PX), np.uint8))
    return (distance > threshold) & ((weak == 0) | wide.astype(bool))


def _shaded(lab: np.ndarray, difference: np.ndarray, noise: float) -> np.ndarray:
    """Where the background is only darker or brighter, by soft steps."""
    lightness = difference[..., 0]
    chroma = np.linalg.norm(difference[..., 1:], axis=2)
    in_range = (lightness > _SHADE_DARKEST) & (lightness < _SHADE_BRIGHTEST)
    soft = _step(lab) < _SHADE_STEP * max(1, noise)
    return in_range & (chroma < _SHADE_CHROMA + _SHADE_TINT * np.abs(lightness)) & soft


def _step(lab: np.ndarray) -> np.ndarray:
    """Change of lightness from a pixel to the next."""
    smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.0)
    return np.hypot(cv2.Sobel(smooth, -1, 1, 0, scale=0.125), cv2.Sobel(smooth, -1, 0, 1, scale=0.125))


def _cast_shadow(lab: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Where the ground may lie in the object's own shadow, which is darker and harder than shade elsewhere.

    A shadow grows over several pixels, so that its steps are small beside its depth; the edge of a pale object is not.
    """
    depth = -difference[..., 0]
    chroma = np.linalg.norm(difference[..., 1:], axis=2)
    soft = _step(lab) < _SHADE_STEP / 4 + _SHADOW_STEP * depth
    return (depth > 0) & (depth < -_SHADE_DARKEST) & (chroma < _SHADE_CHROMA + _SHADOW_TINT * depth) & soft


def _below(mask: np.ndarray) -> np.ndarray:
    """The rows at the foot of a mask, where things throw their shadows."""
    rows = np.flatnonzero(main_parts(mask, 0.05).any(axis=1))
    below = np.zeros(mask.shape, bool)
    if rows.size:
        below[round(rows[-1] - _FOOT_SHARE * (rows[-1] - rows[0])) :] = True
    return below


def _opened(mask: np.ndarray, share: float) -> np.ndarray:
    """The mask without what is narrower than a share of the picture's smaller side."""
    size = 2 * max(1, round(share * min(mask.shape) / 2)) + 1
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((size, size), np.uint8)).astype(bool)


def _dilated(mask: np.ndarray, size: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)).astype(bool)


def _reached_from_border(passable: np.ndarray) -> np.ndarray:
    parts = connected_parts(passable, connectivity=4)
    labels, reached = parts.labels, np.zeros(len(parts.areas), bool)
    reached[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    reached[0] = False
    return reached[labels]


def _holes(difference: np.ndarray, enclosed: np.ndarray, threshold: float) -> np.ndarray:
    """Enclosed places of the background's very colour with sharp rims."""
    parts = connected_parts(enclosed, connectivity=4)
    distance = np.linalg.norm(difference, axis=2)
    smallest_px = max(12, 1e-4 * distance.size)
    # What is beside the rim decides, be it only a bar of a pixel or two.
    beside = cv2.dilate(distance, np.ones((5, 5), np.uint8))
    holes = np.zeros(distance.shape, bool)
    for label in np.flatnonzero(parts.areas >= smallest_px):
        left, top, width, height = parts.boxes[label]
        window = np.s_[max(top - 4, 0) : top + height + 4, max(left - 4, 0) : left + width + 4]
        region = parts.labels[window] == label
        is_background = np.linalg.norm(difference[window][region].mean(axis=0)) < _HOLE_DISTANCE
        # Specks of ringing within a hole have no rim of their own.
        filled = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).astype(bool)
        filled &= distance[window] < 3 * threshold
        rim = _dilated(filled, 3) & ~filled
        if is_background and rim.any() and np.percentile(beside[window][rim], 25) > 3 * threshold:
            holes[window] |= filled
    return holes
