"""The object out of its background."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Bool, Float

from distill_core.errors import UserError
from distill_core.pictures.cluttered_background import cut_object
from distill_core.pictures.images import Picture
from distill_core.pictures.mask_parts import main_parts
from distill_core.pictures.matte_edges import soft_matte, with_own_colours
from distill_core.pictures.plain_background import fit_background, lab_of, object_before

if TYPE_CHECKING:
    import torch

NOTHING_SEPARATED = (
    "No object could be separated from the background, so the whole picture is taken as one; "
    "give a picture with a mask of the object as its alpha."
)

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
            "grabcut"; one of these three by name; or a published ViTMatte model by name or folder, which refines the
            edge of what "border" or "grabcut" finds.

    Returns:
        The matte; the whole picture with a warning where no object can be separated.

    Raises:
        UserError: "alpha" was asked for and there is none, or the model cannot be loaded.
    """
    if method == "alpha" or (method == "auto" and _is_cut_out(picture)):
        if not picture.has_alpha:
            raise UserError(
                f"{picture.path or 'The picture'}: expected transparency, got an opaque picture; choose another method "
                "(auto, border, grabcut)."
            )
        return MatteResult(picture.rgba, "alpha")
    # Loaded before anything else is done: a wrong name is said at once.
    model = None if method in ("auto", "border", "grabcut") else _matting_model(method)
    top, bottom, left, right = _without_bars(picture.rgba)
    inner = picture.rgba[:, top:bottom, left:right]
    rgb = _reduced(inner[:3].transpose(1, 2, 0))
    mask, used = _object_mask(rgb, method)
    if mask is None:
        return MatteResult(picture.rgba, "none", NOTHING_SEPARATED)
    matte = soft_matte(rgb, mask) if model is None else _refined_matte(model, rgb, mask)
    result = np.zeros_like(picture.rgba)
    result[:, top:bottom, left:right] = _enlarged(matte, inner)
    result[3] *= picture.rgba[3]
    return MatteResult(result, used if model is None else method)


def _is_cut_out(picture: Picture) -> bool:
    return picture.has_alpha and float((picture.rgba[3] < 0.5).mean()) >= _LEAST_TRANSPARENT_SHARE


def _object_mask(
    rgb: Float[np.ndarray, "height width 3"], method: str
) -> tuple[Bool[np.ndarray, "height width"] | None, str]:
    """The object as a hard mask, and the method that found it; None where nothing stands apart."""
    lab = lab_of(rgb)
    if method != "grabcut":
        background = fit_background(lab)
        if background.is_plain or method == "border":
            mask = main_parts(object_before(background, lab), _SMALLEST_PART_OF_LARGEST["border"])
            if _is_plausible(mask):
                return mask, "border"
    if method != "border":
        mask = main_parts(cut_object(rgb, lab), _SMALLEST_PART_OF_LARGEST["grabcut"])
        if _is_plausible(mask):
            return mask, "grabcut"
    return None, "none"


def _is_plausible(mask: Bool[np.ndarray, "height width"]) -> bool:
    return _LEAST_OBJECT_SHARE < float(mask.mean()) < _LARGEST_OBJECT_SHARE


def _matting_model(name: str) -> "torch.nn.Module":
    from distill_core.pictures.pretrained_matting import (
        matting_model,  # torch takes seconds to import, and few ask for it
    )

    return matting_model(name)


def _refined_matte(
    model: "torch.nn.Module", rgb: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "4 height width"]:
    from distill_core.pictures.pretrained_matting import refined_coverage

    return with_own_colours(rgb, refined_coverage(model, rgb, mask))


def _reduced(rgb: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "smaller_height smaller_width 3"]:
    """The picture at a size where all methods are fast."""
    scale = min(1.0, _WORKING_SIDE_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.ascontiguousarray(rgb) if scale == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _enlarged(matte: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A matte at the picture's own size: the matte's colours along the edge, the picture's inside."""
    height, width = picture.shape[1:]
    if matte.shape[1:] == (height, width):
        return matte
    large = cv2.resize(matte.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    colour = np.where(large[3] > 0.999, picture[:3], large[:3])
    return np.concatenate([colour, large[3:]])


def _without_bars(rgba: Float[np.ndarray, "4 height width"]) -> tuple[int, int, int, int]:
    """Rows and columns between black bars: first row, row after the last, first column, column after the last."""
    brightest = rgba[:3].max(axis=0)
    return *_between_bars(brightest), *_between_bars(brightest.T)


def _between_bars(lines: Float[np.ndarray, "lines length"]) -> tuple[int, int]:
    """First line and line after the last between two bars; all lines where there is no pair of bars."""
    dark = (lines.mean(axis=1) < _BAR_DARKEST) & (lines.std(axis=1) < _BAR_SPREAD)
    if dark.all() or not (dark[0] and dark[-1]):
        return 0, len(lines)
    first, end = int(dark.argmin()), len(lines) - int(dark[::-1].argmin())
    # An object before black has dark lines above and below as well, but its own first line is not bright throughout.
    inner = lines[[min(first + 1, end - 1), max(end - 2, first)]]
    is_framed = (inner > _BAR_DARKEST).mean(axis=1).min() > 0.9 and end - first > len(lines) / 3
    return (first, end) if is_framed else (0, len(lines))
