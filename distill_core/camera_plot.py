"""Where the cameras of a record stand and what they look at, drawn from above and from the front."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from distill_core.cameras import Camera

_MARGIN = 0.08
_FRUSTUM = 0.12
"""Length of a drawn camera, of the cameras' median distance."""
_MOST_NUMBERS = 30
_DRAWN_AT = 2
"""Lines are drawn so many times larger and shrunk, which smooths them."""
_FIRST, _LAST = np.array([40, 90, 200]), np.array([215, 70, 40])
_SURFACE, _AXIS = (130, 130, 130), (200, 200, 200)
# Title, the world's axes to the right and upwards in the picture, and their names.
_PANELS = (
    ("from above", (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), "x", "y"),
    ("from the front", (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), "x", "z"),
)


def camera_plot(
    cameras: Sequence[Camera],
    centre: Float[np.ndarray, " 3"],
    surface: Float[np.ndarray, "points 3"],
    *,
    radius: float | None = None,
    side_px: int = 480,
) -> Float[np.ndarray, "3 height width"]:
    """Two drawings to scale, without perspective: the world's x to the right, and y or z upwards.

    Each camera is a pyramid with its tip at the centre of projection and its base towards what it sees, numbered, blue
    for the first and red for the last.

    Args:
        cameras: at least one.
        centre: the middle of the drawings in world units.
        surface: points of what is seen, grey; may be empty.
        radius: of the ball around it, a circle; None draws none.
        side_px: of a drawing.

    Returns:
        RGB in 0..1.
    """
    positions = np.stack([camera.position for camera in cameras])
    distance = float(np.median(np.linalg.norm(positions - centre, axis=1)))
    corners = [_corners(camera, _FRUSTUM * distance) for camera in cameras]
    drawn = [positions, *corners] + ([surface] if len(surface) else [])
    reach = max(float(np.abs(np.concatenate(drawn) - centre).max()), radius or 0) * (1 + _MARGIN)
    every = -(-len(cameras) // _MOST_NUMBERS)
    panels = []
    for title, right, up, right_name, up_name in _PANELS:
        axes = np.array([right, up])
        image = Image.new("RGB", (side_px * _DRAWN_AT, side_px * _DRAWN_AT), "white")
        draw = ImageDraw.Draw(image)
        font = ImageFont.load_default(size=12 * _DRAWN_AT)

        def place(points: np.ndarray, axes: np.ndarray = axes) -> list[tuple[float, float]]:
            flat = (points - centre) @ axes.T / reach
            middle = side_px * _DRAWN_AT / 2
            return [(middle * (1 + x), middle * (1 - y)) for x, y in flat]

        arrows = {right_name: 0.15 * reach * axes[0], up_name: 0.15 * reach * axes[1]}
        _draw_axes(draw, place, centre - 0.9 * reach * axes.sum(axis=0), arrows, font)
        for x, y in place(surface):
            draw.rectangle([x, y, x + 1, y + 1], fill=_SURFACE)
        if radius is not None:
            reached = radius * axes.sum(axis=0)
            (left, bottom), (right_end, top) = place(np.stack([centre - reached, centre + reached]))
            draw.ellipse([left, top, right_end, bottom], outline=_SURFACE, width=_DRAWN_AT)
        for index, (camera, base) in enumerate(zip(cameras, corners, strict=True)):
            share = index / max(len(cameras) - 1, 1)
            colour = tuple(int(value) for value in np.rint(_FIRST + share * (_LAST - _FIRST)))
            tip, *points = place(np.concatenate([camera.position[None], base]))
            for point, following in zip(points, [*points[1:], points[0]], strict=True):
                draw.line([tip, point, following], fill=colour, width=_DRAWN_AT)
            if index % every == 0:
                draw.text((tip[0] + 3 * _DRAWN_AT, tip[1] + 3 * _DRAWN_AT), str(index), fill=colour, font=font)
        draw.text((4 * _DRAWN_AT, 2 * _DRAWN_AT), title, fill="black", font=font)
        panels.append(np.asarray(image.resize((side_px, side_px), Image.Resampling.BOX), np.float32) / 255)
    return np.ascontiguousarray(np.concatenate(panels, axis=1).transpose(2, 0, 1))


def _corners(camera: Camera, length: float) -> np.ndarray:
    """The corners of the picture at a z-depth, [4, 3]."""
    pixels = [(0, 0), (camera.width, 0), (camera.width, camera.height), (0, camera.height)]
    return camera.unproject(pixels, np.full(4, length))


def _draw_axes(
    draw: ImageDraw.ImageDraw,
    place: Callable[[np.ndarray], list[tuple[float, float]]],
    start: np.ndarray,
    arrows: dict[str, np.ndarray],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """The world's axes from a point, with their names."""
    for name, arrow in arrows.items():
        tail, tip = place(np.stack([start, start + arrow]))
        draw.line([tail, tip], fill=_AXIS, width=2 * _DRAWN_AT)
        draw.text(tip, name, fill=_AXIS, font=font)
