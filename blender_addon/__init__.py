"""OneStep3D in Blender: one picture of an object to other views of it, Gaussian splats and textured meshes.

An extension: bpy, numpy and the standard library. What takes long is done by a process of its own, the worker.
"""

import bpy

from . import environment_operators, job_operators, jobs, panels, preferences, properties
from .dataset import dataset_operators
from .splats import splat_making, splat_operators
from .texturing import texture_operators
from .views import picture_rendering, view_operators

# In the order in which they are registered; what is drawn comes last.
_MODULES = (
    preferences,
    properties,
    jobs,
    job_operators,
    picture_rendering,
    view_operators,
    splat_making,
    environment_operators,
    dataset_operators,
    panels,
    splat_operators,
    texture_operators,
)


def register() -> None:
    """Register classes and properties; no process is started and no file touched."""
    for module in _MODULES:
        for found in getattr(module, "CLASSES", ()):
            bpy.utils.register_class(found)
        if hasattr(module, "register"):
            module.register()


def unregister() -> None:
    """Take everything back in reverse: jobs end, the worker with them."""
    for module in reversed(_MODULES):
        if hasattr(module, "unregister"):
            module.unregister()
        for found in reversed(getattr(module, "CLASSES", ())):
            bpy.utils.unregister_class(found)
