"""The files of a result: pictures and cameras, splats, a film, a preview."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from distill_core.cameras import Camera
from distill_core.pictures.contact_sheet import contact_sheet
from distill_core.pictures.images import composite, resize_premultiplied, write_png
from distill_core.records.transforms_files import transforms_text
from gs_integration import splat_files
from gs_integration.formats.arrays import axes_rotation
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

_PREVIEW_PX = 128
_PREVIEW_COLUMNS = 9


def write_pictures(
    folder: Path,
    source: tuple[Float[np.ndarray, "4 side side"], Camera] | None,
    pictures: Float[np.ndarray, "views 4 height width"],
    cameras: Sequence[Camera],
    metadata: dict[str, object],
) -> None:
    """Write `input.png` if there is one, `views/NNN.png` and the `transforms.json` that any nerfstudio tool reads.

    Args:
        folder: exists.
        source: the framed picture, straight RGBA, and its camera: the first frame.
        pictures: the generated views, straight RGBA.
        cameras: one a view.
        metadata: goes into transforms.json under `onestep3d`.
    """
    first = [] if source is None else [("input.png", *source)]
    for name, picture, _ in first:
        write_png(folder / name, picture)
    (folder / "views").mkdir()
    names = [f"views/{view:03d}.png" for view in range(len(cameras))]
    for name, picture in zip(names, pictures, strict=True):
        write_png(folder / name, picture)
    all_cameras = [*(camera for _, _, camera in first), *cameras]
    text = transforms_text(all_cameras, [*(name for name, _, _ in first), *names], metadata=metadata)
    (folder / "transforms.json").write_text(text, encoding="utf-8")


def write_splats(file: Path, splats: Splats, axes: Literal["y-down", "z-up"]) -> np.ndarray:
    """Write splats that are given in the world's axes (z up), in the axes asked for.

    Returns:
        The 4x4 matrix that takes the coordinates of a .ply to the world.
    """
    splat_files.write_splats(file, splats, axes=axes)
    splats_to_world = np.eye(4)
    splats_to_world[:3, :3] = axes_rotation(axes, "z-up")
    return splats_to_world


Labelled = Sequence[tuple[str, np.ndarray]]
"""RGB pictures [3, H, W] in 0..1, each with a few words of what it is."""


def write_sheet(file: Path, views: Labelled, *, renders: Labelled | None = None, side_px: int = _PREVIEW_PX) -> None:
    """Write views side by side, each above its label and, if there are renders, each row above that of its renders.

    Args:
        file: to write.
        views: of any sizes.
        renders: one a view.
        side_px: larger side of each picture on the sheet.
    """
    columns = _columns(len(views))
    labelled = views if renders is None else _rows_in_turns(views, renders, columns)
    tiles = []
    for _, picture in labelled:
        height, width = picture.shape[1:]
        scale = side_px / max(width, height)
        opaque = np.concatenate([picture, np.ones_like(picture[:1])])
        tiles.append(resize_premultiplied(opaque, max(1, round(width * scale)), max(1, round(height * scale))))
    write_png(file, contact_sheet(tiles, columns, [label for label, _ in labelled]))


def _rows_in_turns(views: Labelled, renders: Labelled, columns: int) -> Labelled:
    """A row of views, the row of their renders, the next row of views; short rows are filled with white."""
    blank = ("", np.ones_like(views[0][1]))
    ordered: list[tuple[str, np.ndarray]] = []
    for first in range(0, len(views), columns):
        for row in (views[first : first + columns], renders[first : first + columns]):
            ordered += [*row, *[blank] * (columns - len(row))]
    return ordered


def _columns(pictures: int) -> int:
    """Pictures in a row, so that rows are filled alike."""
    return -(-pictures // -(-pictures // _PREVIEW_COLUMNS))


def angles_label(camera: Camera) -> str:
    """Where a camera stands: degrees around the object from its front, positive to its right, and above its horizon."""
    x, y, z = camera.position
    azimuth, elevation = math.degrees(math.atan2(x, -y)), math.degrees(math.atan2(z, math.hypot(x, y)))
    return f"{azimuth:.0f}\N{DEGREE SIGN}, {elevation:.0f}\N{DEGREE SIGN}"


def over_white(pictures: Float[np.ndarray, "*views 4 height width"]) -> Float[np.ndarray, "*views 3 height width"]:
    """Lay straight RGBA over white."""
    return composite(pictures, 1.0)


def render_over_white(splats: Splats, cameras: Sequence[Camera]) -> Float[np.ndarray, "views 3 height width"]:
    """Render splats from cameras of one picture size, RGB in 0..1."""
    with torch.no_grad():
        colour = rasterize(splats, cameras, torch.ones(3), backend="auto").colour
    return colour.clamp(0, 1).cpu().numpy()
