"""A box with charts in a texture much finer than the small views that see it."""

from distill_core.camera_rigs import fibonacci_rig
from gs_integration.texturing.texture_projection import TextureProjection
from tests.renderers.texturable_meshes import charted_box

SIDE, SIZE, VIEWS = 32, 512, 8
"""Pixels along a side of a view, texels along a side of the texture, and how many views."""


def seen_box() -> TextureProjection:
    """The box's texture and its views."""
    return TextureProjection(charted_box(), fibonacci_rig(VIEWS, width=SIDE, height=SIDE), SIZE)
