"""Pictures side by side in one, with labels: for previews, grids and a look at many results at once."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from distill_core.pictures.images import composite

CHECKERBOARD = "checkerboard"

_CHECK_PX = 8
_CHECK_GREYS = (0.8, 1.0)
_MARGIN_PX = 2


def contact_sheet(
    pictures: Sequence[Float[np.ndarray, "_ _ _"]] | Float[np.ndarray, "number channels height width"],
    columns: int,
    labels: Sequence[str] | None = None,
    background: float | Sequence[float] | str = 1.0,
) -> Float[np.ndarray, "3 sheet_height sheet_width"]:
    """Lay pictures out in rows, from the left, each in a cell of the largest picture's size.

    Args:
        pictures: RGB or straight RGBA [3 or 4, height, width] in 0..1; sizes may differ, smaller ones stand in the
            middle of their cells.
        columns: pictures in a row.
        labels: a line below each picture; longer ones are cut at the cell's width.
        background: what shows through: a grey value, RGB, or CHECKERBOARD.

    Returns:
        The sheet, RGB in 0..1.

    Raises:
        ValueError: no pictures, no column, or another number of labels.
    """
    if len(pictures) == 0 or columns < 1:
        raise ValueError(f"expected at least one picture and one column, got {len(pictures)} and {columns}")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"expected {len(pictures)} labels, one a picture, got {len(labels)}")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = max(picture.shape[1] for picture in pictures)
    width = max(picture.shape[2] for picture in pictures)
    font = ImageFont.load_default()
    label_height = 0 if labels is None else math.ceil(font.getbbox("Ag")[3]) + _MARGIN_PX
    cell_height, cell_width = height + label_height + 2 * _MARGIN_PX, width + 2 * _MARGIN_PX
    sheet = np.ones((3, rows * cell_height, columns * cell_width), np.float32)
    for index, picture in enumerate(pictures):
        top = index // columns * cell_height + _MARGIN_PX
        left = index % columns * cell_width + _MARGIN_PX
        y, x = top + (height - picture.shape[1]) // 2, left + (width - picture.shape[2]) // 2
        sheet[:, y : y + picture.shape[1], x : x + picture.shape[2]] = _opaque(picture, background)
        if labels is not None:
            sheet[:, top + height : top + height + label_height, left : left + width] = _label(
                labels[index], width, label_height, font
            )
    return sheet


def checkerboard(height: int, width: int) -> Float[np.ndarray, "1 height width"]:
    """Return the grey board on which transparency is shown.

    Args:
        height: in pixels.
        width: in pixels.
    """
    rows, columns = np.indices((height, width)) // _CHECK_PX
    return np.where((rows + columns) % 2 == 0, *_CHECK_GREYS).astype(np.float32)[None]


def _opaque(picture: np.ndarray, background: float | Sequence[float] | str) -> np.ndarray:
    if len(picture) == 3:
        return picture
    if isinstance(background, str):
        board = checkerboard(*picture.shape[1:])
        return picture[:3] * picture[3:] + board * (1 - picture[3:])
    return composite(picture, background)


def _label(text: str, width: int, height: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> np.ndarray:
    """A line of black text on white, [3, height, width]."""
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).text((1, 0), text, fill=0, font=font)
    return np.repeat(np.asarray(image, np.float32)[None] / 255, 3, axis=0)
