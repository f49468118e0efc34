"""A mesh as a record, through the fast renderer: for meshes whose materials are base colours, in seconds."""

from functools import lru_cache, partial
from typing import Any

import numpy as np

from distill_core.progress import Progress
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord
from renderers.blender.rigs import Normalisation, Rig
from renderers.lighting import StudioLight, bake_light
from renderers.mesh_rendering import RenderedViews, prepare, render_views
from renderers.meshes import TexturedMesh, normalised, transformed


def mesh_record(
    mesh: TexturedMesh, rig: Rig, *, light: StudioLight | None, progress: Progress, metadata: dict[str, Any]
) -> MultiViewRecord:
    """Return a record whose views are rendered as they are read.

    Args:
        mesh: at any size and place.
        rig: the cameras, and the size of the object that they expect.
        light: baked into the mesh; None gives the bare base colours.
        progress: advances by one with each view that is rendered.
        metadata: of the record; normalisation, rig and renderer are added.

    Raises:
        UserError: the mesh has no extent; or, as it is read, a camera is inside the object.
    """
    sized = normalised(mesh)
    in_rig = transformed(sized, _rig_scale(sized, rig.normalisation))
    if light is None:
        renderable = prepare(in_rig)
    else:
        # The light is made for the unit ball, and does not change with the size of what it falls on.
        fine, corner_light = bake_light(sized, light)
        renderable = prepare(transformed(fine, _rig_scale(sized, rig.normalisation)), corner_light=corner_light)

    @lru_cache(maxsize=1)
    def rendered(view: int) -> RenderedViews:
        progress.advance(0)
        found = render_views(renderable, [rig.cameras[view]])
        progress.advance(1, found.colour[0, :3] * found.colour[0, 3:])
        return found

    views = range(len(rig.cameras))
    return MultiViewRecord(
        cameras=rig.cameras,
        pictures=LazyViews([partial(_first, rendered, "colour", view) for view in views]),
        depth=LazyViews([partial(_first, rendered, "depth", view) for view in views]),
        normals=LazyViews([partial(_first, rendered, "normals", view) for view in views]),
        metadata={
            **metadata,
            "normalisation": {"kind": rig.normalisation, "source_to_object": in_rig.source_to_object.tolist()},
            "num_faces": len(mesh.faces),
            "rig": rig.name,
            "renderer": {"program": "onestep3d", "light": "none" if light is None else "studio"},
        },
    )


def _first(rendered: Any, kind: str, view: int) -> np.ndarray:
    return getattr(rendered(view), kind)[0]


def _rig_scale(in_ball: TexturedMesh, normalisation: Normalisation) -> np.ndarray:
    """What brings a mesh of the unit ball to the size that a rig expects, [4, 4]."""
    matrix = np.eye(4)
    if normalisation == "longest-side":
        used = in_ball.vertices[np.unique(in_ball.faces)]
        matrix[:3, :3] /= np.ptp(used, axis=0).max()
    return matrix
