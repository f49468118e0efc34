"""All views of a collection side by side in one image; those that were discarded are dimmed."""

import math
from collections.abc import Iterator

import bpy
import numpy as np

from .view_list import views_of

_BACKGROUND, _DIMMED = 1.0, 0.8
_GAP_PX = 4
_MOST_PIXELS = 350_000
"""Of the sheet: Blender packs so many within 20 ms."""


def contact_sheet(collection: bpy.types.Collection) -> Iterator[None]:
    """Lay the views of a collection side by side, one a step.

    Args:
        collection: of views.
    """
    views = [camera.onestep3d_view for camera in views_of(collection)]
    images = [view.image for view in views]
    if not images or any(image is None for image in images):
        return
    columns = math.ceil(math.sqrt(len(images)))
    widest = int(math.sqrt(_MOST_PIXELS)) // columns - _GAP_PX
    side = min(widest, *(max(image.size) for image in images))
    rows = math.ceil(len(images) / columns)
    pitch = side + _GAP_PX
    sheet = np.full((rows * pitch + _GAP_PX, columns * pitch + _GAP_PX, 4), _BACKGROUND, np.float32)
    for place, (view, image) in enumerate(zip(views, images, strict=True)):
        tile = _tile(image, side)
        if view.discarded:
            tile = tile * (1 - _DIMMED) + _DIMMED
            tile[_diagonals(*tile.shape[:2])] = (0.75, 0.2, 0.2)
        row, column = rows - 1 - place // columns, place % columns
        top, left = _GAP_PX + row * pitch, _GAP_PX + column * pitch
        sheet[top : top + tile.shape[0], left : left + tile.shape[1], :3] = tile
        yield
    collection.onestep3d_views.sheet = _image(collection, sheet)
    yield


def draw_contact_sheet(collection: bpy.types.Collection) -> None:
    """Make the contact sheet anew, whole.

    Args:
        collection: of views.
    """
    for _ in contact_sheet(collection):
        pass


def show_image(image: bpy.types.Image) -> bool:
    """Show an image in the image editors that are open.

    Args:
        image: to show.

    Returns:
        Whether there is one.
    """
    shown = False
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                area.spaces.active.image = image
                shown = True
    return shown


def _tile(image: bpy.types.Image, side: int) -> np.ndarray:
    """[h, w, 3] of an image over white, row 0 at the bottom as Blender has it, every so many pixels of a larger one."""
    width, height = image.size
    values = np.zeros(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    pixels = values.reshape(height, width, image.channels)
    stride = -(-max(width, height) // side)
    pixels = pixels[stride // 2 :: stride, stride // 2 :: stride]
    if image.channels < 4:
        return np.repeat(pixels[..., :1], 3, axis=2) if image.channels < 3 else pixels[..., :3]
    return pixels[..., :3] * pixels[..., 3:] + _BACKGROUND * (1 - pixels[..., 3:])


def _diagonals(height: int, width: int) -> np.ndarray:
    """Where a cross stands in a picture."""
    rows, columns = np.indices((height, width))
    across = rows * (width - 1)
    down = columns * (height - 1)
    return np.minimum(abs(across - down), abs(across + down - (height - 1) * (width - 1))) <= max(height, width)


def _image(collection: bpy.types.Collection, sheet: np.ndarray) -> bpy.types.Image:
    """The sheet as the collection's image, kept in the Blender file."""
    height, width, _ = sheet.shape
    image = collection.onestep3d_views.sheet
    if image is None:
        image = bpy.data.images.new(f"{collection.name}: contact sheet", width, height)
    elif tuple(image.size) != (width, height):
        image.scale(width, height)
    image.pixels.foreach_set(sheet.ravel())
    image.update()
    image.pack()
    return image
