"""The picture of the object: a file, an image of the Blender file, or what the active camera sees."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy

from .image_bytes import READABLE, image_file
from .picture_rendering import render_picture

Files = Mapping[str, Path | bytes | Callable[[], bytes]]
Then = Callable[[bpy.types.Operator | None, Files, str, dict[str, Any]], set[str]]


def picture_problem(context: bpy.types.Context) -> str:
    """Say what the picture still lacks; "" if nothing. Looks at no disk, so that a panel may ask.

    Args:
        context: with a scene.
    """
    chosen = context.scene.onestep3d
    if chosen.source == "FILE":
        ending = Path(chosen.picture_path).suffix.lower()
        if not chosen.picture_path.strip():
            return "Choose a picture of the object first"
        return (
            "" if ending in READABLE else f"Expected a picture ({', '.join(sorted(READABLE))}), got {ending or 'none'}"
        )
    if chosen.source == "IMAGE":
        if chosen.image is None:
            return "Choose an image of the object first"
        return "" if min(chosen.image.size) > 0 else "This image has no pixels: choose another one"
    return "" if context.scene.camera is not None else "The scene has no active camera: add one"


def picture_name(context: bpy.types.Context) -> str:
    """Return what the picture is called.

    Args:
        context: with a scene.
    """
    chosen = context.scene.onestep3d
    if chosen.source == "FILE":
        return Path(chosen.picture_path).stem
    return Path(chosen.image.name).stem if chosen.source == "IMAGE" else context.scene.camera.name


def picture_settings(context: bpy.types.Context) -> dict[str, Any]:
    """Return how the picture was taken, as the worker's tasks take it.

    Args:
        context: with a scene.
    """
    chosen = context.scene.onestep3d
    elevation: float | str = "auto"
    if chosen.elevation == "GIVEN":
        elevation = chosen.elevation_degrees
    elif chosen.source == "RENDER":
        # A camera looks along its -z axis; how far that points down is how high it stands above what it looks at.
        backwards = context.scene.camera.matrix_world.to_3x3().normalized().col[2].z
        elevation = max(-89.0, min(89.0, math.degrees(math.asin(max(-1.0, min(1.0, backwards))))))
    return {
        "elevation_degrees": elevation if isinstance(elevation, str) else round(elevation, 4),
        "field_of_view_degrees": round(chosen.field_of_view_degrees, 4),
        "matting": "alpha" if chosen.source == "RENDER" else chosen.matting,
    }


def with_picture(operator: bpy.types.Operator, context: bpy.types.Context, then: Then) -> set[str]:
    """Get the picture and go on with it; a render is waited for without holding Blender up.

    Args:
        operator: that asked.
        context: with a scene whose picture has no problem.
        then: is given the operator (None if that is gone by now), the picture as a file of a job, its name, and how it
            was taken. Keeps no datablock.

    Returns:
        What the operator returns.
    """
    chosen = context.scene.onestep3d
    name, settings = picture_name(context), picture_settings(context)
    if chosen.source == "FILE":
        path = Path(bpy.path.abspath(chosen.picture_path))
        return then(operator, {f"picture{path.suffix.lower()}": path}, name, settings)
    if chosen.source == "IMAGE":
        ending, content = image_file(chosen.image)
        return then(operator, {f"picture{ending}": content}, name, settings)
    return render_picture(operator, context, lambda asked, file: then(asked, {"picture.png": file}, name, settings))


def draw_picture(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw the choice of the picture and of how it was taken.

    Args:
        layout: to draw in.
        context: with a scene.
    """
    chosen = context.scene.onestep3d
    layout.row(align=True).prop(chosen, "source", expand=True)
    if chosen.source == "FILE":
        layout.prop(chosen, "picture_path", text="")
    elif chosen.source == "IMAGE":
        layout.template_ID(chosen, "image", open="image.open")
    row = layout.row(align=True)
    row.prop(chosen, "elevation", text="Elevation")
    if chosen.elevation == "GIVEN":
        row.prop(chosen, "elevation_degrees", text="")
    layout.prop(chosen, "field_of_view_degrees")
    if chosen.source != "RENDER":
        layout.prop(chosen, "matting")
