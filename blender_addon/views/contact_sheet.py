"""All views of a collection side by side in one image; those that were discarded are dimmed.

Blender reads the pixels of one view a step; the sheet is laid out and encoded in a thread.
"""

import math
from collections.abc import Iterator

import bpy
import numpy as np

from ..queueing.background import Background, waited_for
from ..queueing.job_requests import JobError
from ..references import Reference
from .image_bytes import encode_png
from .view_list import views_of

_BACKGROUND, _DIMMED = 1.0, 0.8
_CROSS = (0.75, 0.2, 0.2)
_GAP_PX = 4
_MOST_PIXELS = 350_000
"""Of the sheet: enough to look at, and Blender reads so many back in a few milliseconds."""


def contact_sheet(collection: bpy.types.Collection) -> Iterator[None]:
    """Lay the views of a collection side by side, one a step.

    Args:
        collection: of views.

    Raises:
        JobError: the collection was removed meanwhile.
    """
    kept = Reference.of(collection)
    views = [(camera.onestep3d_view.image, camera.onestep3d_view.discarded) for camera in views_of(collection)]
    if not views or any(image is None for image, _ in views):
        return
    named = [(Reference.of(image), discarded) for image, discarded in views]
    columns = math.ceil(math.sqrt(len(named)))
    widest = int(math.sqrt(_MOST_PIXELS)) // columns - _GAP_PX
    tiles: list[tuple[np.ndarray, bool]] = []
    for reference, discarded in named:
        image = reference.found()
        if image is None:
            return
        tiles.append((_tile(image, widest), discarded))
        yield
    laying = Background(lambda: encode_png(_laid_out(tiles, columns)))
    yield from waited_for(laying)
    if laying.error is not None:
        raise laying.error
    found = kept.found()
    if found is None:
        raise JobError(f"The collection {kept.name} was removed while it was filled. Run the job again.")
    found.onestep3d_views.sheet = _image(found, laying.result)
    yield


def _laid_out(tiles: list[tuple[np.ndarray, bool]], columns: int) -> np.ndarray:
    """The sheet as bytes [H, W, 4], row 0 on top, of tiles [h, w, 3], row 0 at the bottom, and whether to dim them."""
    pitch = max(max(tile.shape[:2]) for tile, _ in tiles) + _GAP_PX
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * pitch + _GAP_PX, columns * pitch + _GAP_PX, 4), _BACKGROUND, np.float32)
    for place, (tile, discarded) in enumerate(tiles):
        if discarded:
            tile = tile * (1 - _DIMMED) + _DIMMED
            tile[_diagonals(*tile.shape[:2])] = _CROSS
        row, column = rows - 1 - place // columns, place % columns
        bottom, left = _GAP_PX + row * pitch, _GAP_PX + column * pitch
        sheet[bottom : bottom + tile.shape[0], left : left + tile.shape[1], :3] = tile
    return (np.clip(sheet[::-1], 0, 1) * 255 + 0.5).astype(np.uint8)


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


def _image(collection: bpy.types.Collection, png: bytes) -> bpy.types.Image:
    """The sheet as the collection's image, kept in the Blender file."""
    image = collection.onestep3d_views.sheet
    if image is None:
        image = bpy.data.images.new(f"{collection.name}: contact sheet", 1, 1)
    # A picture that comes encoded is kept as it is; Blender would encode pixels here and now.
    image.source = "FILE"
    image.pack(data=png, data_len=len(png))
    image.buffers_free()  # of the sheet before
    return image
