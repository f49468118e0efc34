"""The object out of its background."""

import logging
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from distill_core.cluttered_background import cut_object
from distill_core.errors import UserError
from distill_core.images import Picture
from distill_core.matte_edges import soft_matte
from distill_core.plain_background import fit_background, lab_of, object_before

logger = logging.getLogger(__name__)

Method = Literal["alpha", "border", "grabcut"]

NOTHING_SEPARATED = "No object could be separated from the background; give a mask or alpha."

# Alpha counts as a cut-out from this share of transparent pixels on (a window's round corners are none).
_LEAST_TRANSPARENT_SHARE = 0.01
_WORKING_SIDE_PX = 1024
_LEAST_OBJECT_SHARE, _LARGEST_OBJECT_SHARE = 0.002, 0.97
# GrabCut leaves islands that are no part of the object; before a plain background what stands apart is meant.
_SMALLEST_PART_OF_LARGEST = {"border": 0.02, "grabcut": 0.2}
_BAR_DARKEST, _BAR_SPREAD = 0.1, 0.03


@dataclass(frozen=True)
class MatteResult:
    """An object without its background.

    Attributes:
        rgba: straight RGBA in 0..1, of the picture's size.
        method: what removed the background: alpha, border, grabcut, none, or the name of a model.
        warning: a sentence for the person, if the result needs their eyes.
    """

    rgba: Float[np.ndarray, "4 height width"]
    method: str
    warning: str | None = None


def remove_background(picture: Picture, *, method: str = "auto") -> MatteResult:
    """Remove the background of a picture.

    Args:
        picture: as it was read.
        method: "auto" takes the picture's alpha if it cuts anything out, else "border" where the border is plain, else
            "grabcut"; one of these three by name; or a published ViTMatte model by name or folder, which refines what
            "auto" finds.

    Returns:
        The matte; the whole picture with a warning where no object can be separated.

    Raises:
        UserError: "alpha" was asked for and there is none, or the model cannot be loaded.
    """
    match method:
        case "auto":
            if _cut_out(picture):
                return MatteResult(picture.rgba, "alpha")
            return _matte(picture, None)
        case "alpha":
            if not picture.has_alpha:
                raise UserError(
                    f"{picture.path or 'The picture'}: expected transparency, got an opaque picture; choose another "
                    "method (auto, border, grabcut)."
                )
            return MatteResult(picture.rgba, "alpha")
        case "border" | "grabcut":
            return _matte(picture, method)
        case _:
            raise NotImplementedError


def _cut_out(picture: Picture) -> bool:
    return picture.has_alpha and float((picture.rgba[3] < 0.5).mean()) >= _LEAST_TRANSPARENT_SHARE


def _matte(picture: Picture, method: str | None) -> MatteResult:
    top, bottom, left, right = _without_bars(picture.rgba)
    inner = picture.rgba[:, top:bottom, left:right]
    rgb = inner[:3].transpose(1, 2, 0)
    scale = min(1.0, _WORKING_SIDE_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = np.ascontiguousarray(rgb) if scale == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    lab = lab_of(small)
    background = fit_background(lab)
    used = method or ("border" if background.is_plain else "grabcut")
    mask = object_before(background, lab) if used == "border" else cut_object(small, lab)
    mask = _main_parts(mask, _SMALLEST_PART_OF_LARGEST[used])
    if not _LEAST_OBJECT_SHARE < mask.mean() < _LARGEST_OBJECT_SHARE:
        return MatteResult(picture.rgba, "none", NOTHING_SEPARATED)
    matte = soft_matte(small, mask)
    result = np.zeros_like(picture.rgba)
    result[:, top:bottom, left:right] = matte if scale == 1 else _enlarged(matte, inner)
    result[3] *= picture.rgba[3]
    return MatteResult(result, used)


def _enlarged(matte: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A matte at the picture's own size: the matte's colours along the edge, the picture's inside."""
    height, width = picture.shape[1:]
    large = cv2.resize(matte.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    colour = np.where(large[3] > 0.999, picture[:3], large[:3])
    return np.concatenate([colour, large[3:]])


def _main_parts(mask: Bool[np.ndarray, "height width"], smallest_share: float) -> Bool[np.ndarray, "height width"]:
    """The mask without parts that are small beside the largest."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return mask & (areas >= smallest_share * areas.max())[labels] & (areas[labels] > 0)


def _without_bars(rgba: Float[np.ndarray, "4 height width"]) -> tuple[int, int, int, int]:
    """Rows and columns between black bars: first and last row, first and last column."""
    dark = rgba[:3].max(axis=0)
    height, width = dark.shape

    def bar(lines: np.ndarray) -> int:
        uniform = (lines.mean(axis=1) < _BAR_DARKEST) & (lines.std(axis=1) < _BAR_SPREAD)
        return int(uniform.argmin()) if not uniform.all() else 0

    top, bottom = bar(dark), height - bar(dark[::-1])
    left, right = bar(dark.T), width - bar(dark.T[::-1])
    # A picture before black is no picture between bars: bars come in pairs, and leave most of it.
    if not (top > 0) == (bottom < height) or bottom - top < height / 3:
        top, bottom = 0, height
    if not (left > 0) == (right < width) or right - left < width / 3:
        left, right = 0, width
    return top, bottom, left, right
