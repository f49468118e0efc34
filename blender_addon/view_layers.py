"""Which view layer evaluates an object: not always the one that the window shows."""

from typing import Any

import bpy


def layers_with(thing: Any) -> list[bpy.types.ViewLayer]:
    """Return the view layers that have an object, the window's own first; none if every one leaves it out.

    Args:
        thing: an object.
    """
    shown = bpy.context.view_layer
    others = [layer for scene in bpy.data.scenes for layer in scene.view_layers if layer != shown]
    return [layer for layer in (shown, *others) if any(other == thing for other in layer.objects)]
