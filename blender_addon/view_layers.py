"""Which view layer evaluates an object: not always the one that the window shows."""

from typing import Any

import bpy


def layer_with(thing: Any) -> bpy.types.ViewLayer | None:
    """Return a view layer that has an object, the window's own if it is one; None if every one leaves it out.

    Args:
        thing: an object.
    """
    layers = [bpy.context.view_layer, *(layer for scene in bpy.data.scenes for layer in scene.view_layers)]
    return next((layer for layer in layers if any(other == thing for other in layer.objects)), None)
