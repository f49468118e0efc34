"""Objects before anything else: GrabCut, begun from what is unlike the border and near the middle.

GrabCut (Rother, Kolmogorov, Blake 2004) learns the colours of both sides and cuts where neighbours differ. It needs a
first guess: how far a pixel's colour is from the border's colours, and how hard it is to reach it from the border
without crossing edges.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from distill_core.pictures.mask_parts import connected_parts
from distill_core.pictures.plain_background import border_ring

_CUT_SIDE_PX = 320
_GEODESIC_SIDE_PX = 96
_BORDER_COLOURS = 8
_ITERATIONS = 6
_PINHOLE_SHARE = 0.02
_BAY_SHARE, _MARGIN_SHARE = 0.08, 0.04
_LEAST_SHARE, _LARGEST_SHARE = 0.01, 0.9


def cut_object(
    rgb: Float[np.ndarray, "height width 3"], lab: Float[np.ndarray, "height width 3"]
) -> Bool[np.ndarray, "height width"]:
    """Return where the object most likely is; nowhere, if nothing stands out.

    Args:
        rgb: the picture, 0..1.
        lab: the same in CIELAB.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, _CUT_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small_rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    prior = object_prior(cv2.resize(lab, size, interpolation=cv2.INTER_AREA))
    labels = np.where(prior > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[prior > 0.85] = cv2.GC_FGD
    labels[prior < 0.08] = cv2.GC_BGD
    if not ((labels & 1).any() and (~labels & 1).any()):
        return np.zeros((height, width), bool)
    eight_bit = np.rint(small_rgb * 255).astype(np.uint8)
    mask = _grab_cut(eight_bit, labels)
    if _LEAST_SHARE < mask.mean() < _LARGEST_SHARE:
        mask = _grab_cut(eight_bit, _second_guess(mask))
    if not _LEAST_SHARE < mask.mean() < _LARGEST_SHARE:
        return np.zeros((height, width), bool)
    return _refined(_without_pinholes(mask), small_rgb, rgb)


def _grab_cut(eight_bit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    cv2.setRNGSeed(0)  # its k-means draws from OpenCV's generator
    cv2.grabCut(
        eight_bit, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK
    )
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _without_pinholes(mask: np.ndarray) -> np.ndarray:
    """The mask with its small holes filled: colours alone see them where the object looks like what is around it."""
    parts = connected_parts(~mask, connectivity=4)
    return mask | (parts.areas < _PINHOLE_SHARE * mask.sum())[parts.labels]


def _second_guess(mask: np.ndarray) -> np.ndarray:
    """What the first cut found, and its bays: dark wheels below a bright car belong to it if their colours allow."""
    side = max(mask.shape)

    def disc(share: float) -> np.ndarray:
        size = 2 * round(share * side) + 1
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))

    first = mask.astype(np.uint8)
    padded = np.pad(first, side)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc(_BAY_SHARE))[side:-side, side:-side]
    labels = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(closed, disc(_MARGIN_SHARE)) > 0] = cv2.GC_PR_BGD
    labels[closed > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(first, disc(0.01)) > 0] = cv2.GC_FGD
    return labels


def object_prior(lab: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """Return how much each pixel looks like the object, 0..1: unlike the border, hard to reach from it, central."""
    unlike = _rescaled(_distance_to_border_colours(lab))
    enclosed = _rescaled(_geodesic_distance(lab))
    rows, columns = np.indices(lab.shape[:2])
    across = (columns + 0.5) / lab.shape[1] * 2 - 1
    along = (rows + 0.5) / lab.shape[0] * 2 - 1
    central = np.exp(-(across**2 + along**2) / (2 * 0.55**2))
    return ((0.5 * unlike + 0.5 * enclosed) * central**0.7).astype(np.float32)


def _distance_to_border_colours(lab: np.ndarray) -> np.ndarray:
    """Distance of every pixel from the nearest of the border's main colours, in their own spreads."""
    ring = lab[border_ring(*lab.shape[:2])]
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(0)
    _, labels, centres = cv2.kmeans(ring, _BORDER_COLOURS, np.zeros((0,), np.int32), criteria, 2, cv2.KMEANS_PP_CENTERS)
    labels = labels.ravel()
    distances = []
    for index, centre in enumerate(centres):
        members = ring[labels == index]
        if len(members) < 0.01 * len(ring):
            continue
        spread = max(4.0, float(np.sqrt(np.mean(np.sum((members - centre) ** 2, axis=1)))))
        distances.append(np.linalg.norm(lab - centre, axis=2) / spread)
    return np.minimum.reduce(distances)


def _geodesic_distance(lab: np.ndarray) -> np.ndarray:
    """Least sum of colour steps on a path from the border, at a coarse size."""
    height, width = lab.shape[:2]
    scale = min(1.0, _GEODESIC_SIDE_PX / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    coarse = cv2.GaussianBlur(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    rows, columns = coarse.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    starts, ends, steps = [], [], []
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        starts.append(index[a].ravel())
        ends.append(index[b].ravel())
        # Steps below the noise are free, so that a long smooth way costs nothing.
        steps.append(np.maximum(np.linalg.norm(coarse[a] - coarse[b], axis=2).ravel() - 3.0, 0) + 1e-3)
    edges = csr_array(
        (np.concatenate(steps), (np.concatenate(starts), np.concatenate(ends))), shape=(index.size, index.size)
    )
    border = np.unique(np.concatenate([index[0], index[-1], index[:, 0], index[:, -1]]))
    reach = dijkstra(edges, directed=False, indices=border, min_only=True)
    return cv2.resize(reach.reshape(rows, columns).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def _rescaled(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (5, 95))
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)


def _refined(mask: np.ndarray, small_rgb: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The cut at full size: a guided filter (He et al. 2010) makes the edge follow the picture's."""
    height, width = rgb.shape[:2]
    guide = small_rgb.mean(axis=2)
    values = mask.astype(np.float32)
    radius = (9, 9)

    def mean(plane: np.ndarray) -> np.ndarray:
        return cv2.blur(plane, radius)

    covariance = mean(guide * values) - mean(guide) * mean(values)
    slope = covariance / (mean(guide * guide) - mean(guide) ** 2 + 1e-3)
    offset = mean(values) - slope * mean(guide)
    slope, offset = (cv2.resize(mean(plane), (width, height)) for plane in (slope, offset))
    return slope * rgb.mean(axis=2) + offset > 0.5
