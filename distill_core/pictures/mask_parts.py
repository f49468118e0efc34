"""Connected parts of a mask."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Bool


@dataclass(frozen=True)
class MaskParts:
    """The connected parts of a mask, numbered from 1; 0 stands for what lies outside the mask.

    Attributes:
        labels: the number of each pixel's part, [height, width].
        areas: pixels of each part, [parts + 1]; 0 for number 0.
        boxes: left, top, width and height of each part in pixels, [parts + 1, 4].
    """

    labels: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.int64]


def connected_parts(mask: Bool[np.ndarray, "height width"], *, connectivity: Literal[4, 8]) -> MaskParts:
    """Find the connected parts of a mask.

    Args:
        mask: any mask.
        connectivity: 8 if pixels that share a corner are neighbours, 4 if they must share a side.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    statistics = np.asarray(statistics, np.int64)
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return MaskParts(np.asarray(labels, np.int64), areas, statistics[:, :4])


def main_parts(mask: Bool[np.ndarray, "height width"], smallest_share: float) -> Bool[np.ndarray, "height width"]:
    """Return a mask without the parts that are small beside the largest.

    Args:
        mask: any mask.
        smallest_share: parts below this share of the largest part's area are dropped.
    """
    parts = connected_parts(mask, connectivity=8)
    is_main = (parts.areas > 0) & (parts.areas >= smallest_share * parts.areas.max())
    return is_main[parts.labels]
