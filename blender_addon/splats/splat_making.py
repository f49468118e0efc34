"""Make splats: from the picture, or from the views that were kept."""

from collections.abc import Mapping
from typing import Any

import bpy

from .. import jobs, preferences
from ..panel_parts import TurnsIntoCancel
from ..queueing.job_requests import JobError, JobRequest
from ..references import Reference
from ..views.picture_source import picture_problem, with_picture
from ..views.view_list import chosen_views, kept_views
from ..views.view_results import record_files
from .splat_objects import add_splats

_FEWEST_VIEWS = 4
_FIT_PX = 256
"""Of the source; generated views are smaller."""


def splats_problem(context: bpy.types.Context) -> str:
    """Say what Make splats still lacks; "" if nothing.

    Args:
        context: with a scene.
    """
    if context.scene.onestep3d.splats_from == "PICTURE":
        return picture_problem(context)
    collection = chosen_views(context)
    if collection is None:
        return "There are no views yet: generate some, or make splats from the picture"
    kept = len(kept_views(collection))
    return "" if kept >= _FEWEST_VIEWS else f"Expected at least {_FEWEST_VIEWS} kept pictures, got {kept}: keep more"


class ONESTEP3D_OT_make_splats(TurnsIntoCancel, bpy.types.Operator):
    """Make Gaussian splats of the picture's object and add them to the scene"""

    bl_idname = "onestep3d.make_splats"
    bl_label = "Make Splats"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if problem := splats_problem(context):
            cls.poll_message_set(problem)
        return not problem

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen, scene = context.scene.onestep3d, Reference.of(context.scene)
        most = chosen.max_splats
        fit = {"max_splats": most, "num_splats": max(16, most * 2 // 5), "iterations": chosen.iterations}
        generator = preferences.generator_settings(context, chosen.seed, chosen.steps)
        if chosen.splats_from == "VIEWS":
            collection = chosen_views(context)
            name = collection.onestep3d_views.picture
            try:
                files = record_files(collection, kept_views(collection))
            except JobError as error:
                self.report({"ERROR"}, str(error))
                return {"CANCELLED"}
            # All views are fitted: what would be held out of them to be compared is not the truth either.
            settings = {"fit": fit, "resolution": _FIT_PX, "holdout_every": 0, "turntable_frames": 0}
            settings |= {"seed": chosen.seed, "device": generator["device"]}
            return jobs.start(self, _request("fit_splats", name, settings, files, scene))
        views = {"generator": generator, "num_views": chosen.num_views}

        def then(
            operator: bpy.types.Operator | None, files: Mapping[str, Any], name: str, picture: dict[str, Any]
        ) -> set[str]:
            settings = {"views": {"picture": picture, **views}, "fit": fit, "turntable_frames": 2}
            return jobs.start(operator, _request("image_to_splats", name, settings, files, scene))

        return with_picture(self, context, then)


def _request(
    task: str, name: str, settings: Mapping[str, Any], files: Mapping[str, Any], scene: Reference
) -> JobRequest:
    return JobRequest(
        task,
        f"Splats of {name}",
        settings,
        files,
        lambda folder, _: add_splats(folder / "splats.ply", name, scene),
        button=ONESTEP3D_OT_make_splats.bl_idname,
    )


CLASSES = (ONESTEP3D_OT_make_splats,)
