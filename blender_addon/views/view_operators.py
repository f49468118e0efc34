"""Generate views; keep, discard or make anew single ones; look at them."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty

from .. import jobs, preferences
from ..panel_parts import TurnsIntoCancel
from ..queueing.job_requests import JobError, JobRequest
from ..references import Reference
from .camera_conversion import frame_of_camera
from .contact_sheet import draw_contact_sheet, show_image
from .picture_source import picture_problem, with_picture
from .view_list import chosen_views, collection_of, kept_views, view_collections, views_of
from .view_results import add_views, exchange_view

_LONGEST_SIDE_PX = 512
"""Of a view at a camera of the scene."""
_MOST_SEEDS = 2**31


def selected_cameras(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Return the selected cameras of the scene, by name.

    Args:
        context: with a scene.
    """
    cameras = [thing for thing in context.scene.objects if thing.type == "CAMERA" and thing.select_get()]
    return sorted(cameras, key=lambda camera: camera.name)


def views_problem(context: bpy.types.Context) -> str:
    """Say what Generate views still lacks; "" if nothing.

    Args:
        context: with a scene.
    """
    problem = picture_problem(context)
    if not problem and context.scene.onestep3d.rig == "CAMERAS" and not selected_cameras(context):
        return "Select the cameras in the scene from which views shall be made"
    return problem


class ONESTEP3D_OT_generate_views(TurnsIntoCancel, bpy.types.Operator):
    """Make views of the picture's object from other sides: images, and cameras that show them"""

    bl_idname = "onestep3d.generate_views"
    bl_label = "Generate Views"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if problem := views_problem(context):
            cls.poll_message_set(problem)
        return not problem

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen, scene = context.scene.onestep3d, Reference.of(context.scene)
        seed, steps = chosen.seed, chosen.steps
        try:
            task, own, cameras = _rig(context)
        except JobError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        generator = preferences.generator_settings(context, seed, steps)

        def then(
            operator: bpy.types.Operator | None, files: Mapping[str, Any], name: str, picture: dict[str, Any]
        ) -> set[str]:
            return jobs.start(
                operator,
                JobRequest(
                    task,
                    f"Views of {name}",
                    {"picture": picture, "generator": generator, **own},
                    {**files, **cameras},
                    lambda folder, _: add_views(folder, name, scene, seed, steps, picture),
                    button=ONESTEP3D_OT_generate_views.bl_idname,
                ),
            )

        return with_picture(self, context, then)


def _rig(context: bpy.types.Context) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """The task that makes views from the cameras that were chosen, its own settings and its own files."""
    chosen = context.scene.onestep3d
    if chosen.rig == "AROUND":
        return "image_to_views", {"num_views": chosen.num_views}, {}
    if chosen.rig == "RING":
        angles = [round(360.0 * place / chosen.num_views, 4) for place in range(chosen.num_views)]
        heights = [round(chosen.ring_elevation_degrees, 4)]
        return "image_to_angles", {"azimuths_degrees": angles, "elevations_degrees": heights}, {}
    render = context.scene.render
    scale = _LONGEST_SIDE_PX / max(render.resolution_x, render.resolution_y)
    width, height = (max(1, round(side * scale)) for side in (render.resolution_x, render.resolution_y))
    frames = [
        {"file_path": f"views/{place:03d}.png", **frame_of_camera(camera, width, height, render=render)}
        for place, camera in enumerate(selected_cameras(context))
    ]
    return "image_to_cameras", {}, {"transforms.json": json.dumps({"frames": frames}).encode()}


class ONESTEP3D_OT_choose_views(bpy.types.Operator):
    """Let the panels be about these views"""

    bl_idname = "onestep3d.choose_views"
    bl_label = "Choose Views"
    bl_options = {"REGISTER", "UNDO"}

    collection: StringProperty(name="Collection", description="That holds the views", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = next((found for found in view_collections() if found.name == self.collection), None)
        if chosen is None:
            self.report({"ERROR"}, f"Expected a collection of views, got {self.collection!r}. Choose one of the list.")
            return {"CANCELLED"}
        context.scene.onestep3d.views = chosen
        return {"FINISHED"}


class ONESTEP3D_MT_views(bpy.types.Menu):
    """Views that were made"""

    bl_idname = "ONESTEP3D_MT_views"
    bl_label = "Views"

    def draw(self, context: bpy.types.Context) -> None:
        for collection in view_collections():
            choice = self.layout.operator(ONESTEP3D_OT_choose_views.bl_idname, text=collection.name)
            choice.collection = collection.name


class _OfOneView:
    """An operator about one view, named by its camera."""

    camera: StringProperty(name="Camera", description="That shows the view", options={"SKIP_SAVE"})

    def view(self) -> bpy.types.Object | None:
        """The camera; None, and said so, if there is none of that name."""
        found = bpy.data.objects.get(self.camera)
        if found is None or not found.onestep3d_view.frame:
            self.report({"ERROR"}, f"Expected a camera of a view, got {self.camera!r}. Choose one of the list.")
            return None
        return found


class ONESTEP3D_OT_keep_view(_OfOneView, bpy.types.Operator):
    """Leave this view out of splats, or take it in again"""

    bl_idname = "onestep3d.keep_view"
    bl_label = "Keep or Discard View"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (camera := self.view()) is None:
            return {"CANCELLED"}
        camera.onestep3d_view.discarded = not camera.onestep3d_view.discarded
        if (collection := collection_of(camera)) is not None:
            draw_contact_sheet(collection)
        return {"FINISHED"}


class ONESTEP3D_OT_look_through_view(_OfOneView, bpy.types.Operator):
    """Look through the camera of this view"""

    bl_idname = "onestep3d.look_through_view"
    bl_label = "Look Through View"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (camera := self.view()) is None:
            return {"CANCELLED"}
        context.scene.camera = camera
        for area in context.screen.areas if context.screen is not None else ():
            if area.type == "VIEW_3D":
                area.spaces.active.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


class ONESTEP3D_OT_reseed_view(_OfOneView, TurnsIntoCancel, bpy.types.Operator):
    """Make this view once more with the next seed; the others stay as they are"""

    bl_idname = "onestep3d.reseed_view"
    bl_label = "Make View Anew"
    bl_options = {"REGISTER"}

    def button(self) -> str:
        return _reseeding(self.camera)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (camera := self.view()) is None:
            return {"CANCELLED"}
        collection = collection_of(camera)
        if collection is None:
            self.report({"ERROR"}, f"The collection of {camera.name}'s views is gone. Generate the views anew.")
            return {"CANCELLED"}
        about, view, reference = collection.onestep3d_views, camera.onestep3d_view, Reference.of(camera)
        pictures = sorted((Path(about.folder) / "inputs").glob("picture.*"))
        if not pictures:
            self.report({"ERROR"}, f"Expected the picture in {about.folder}, which is gone. Generate the views anew.")
            return {"CANCELLED"}
        seed = (view.seed + 1) % _MOST_SEEDS
        frame = {**json.loads(about.shared), **json.loads(view.frame)}
        request = JobRequest(
            "image_to_cameras",
            f"{camera.name} with seed {seed}",
            {
                "picture": {**json.loads(about.picture_settings), **_known_elevation(collection)},
                "generator": preferences.generator_settings(context, seed, about.steps),
            },
            {pictures[0].name: pictures[0], "transforms.json": json.dumps({"frames": [frame]}).encode()},
            lambda folder, _: exchange_view(folder, reference, seed),
            button=self.button(),
        )
        return jobs.start(self, request)


def _reseeding(camera: str) -> str:
    """What jobs that make the view of this camera anew are found by."""
    return f"{ONESTEP3D_OT_reseed_view.bl_idname} {camera}"


def _known_elevation(collection: bpy.types.Collection) -> dict[str, float]:
    """The elevation of the source's camera, so that it is not estimated again."""
    for camera in views_of(collection):
        if camera.onestep3d_view.is_source:
            matrix = json.loads(camera.onestep3d_view.frame)["transform_matrix"]
            x, y, z = (row[3] for row in matrix[:3])
            return {"elevation_degrees": round(math.degrees(math.atan2(z, math.hypot(x, y))), 4)}
    return {}


class ONESTEP3D_OT_show_contact_sheet(bpy.types.Operator):
    """Show all views side by side in an image editor"""

    bl_idname = "onestep3d.show_contact_sheet"
    bl_label = "Show Contact Sheet"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        there = chosen_views(context) is not None
        if not there:
            cls.poll_message_set("There are no views yet: generate some")
        return there

    def execute(self, context: bpy.types.Context) -> set[str]:
        collection = chosen_views(context)
        draw_contact_sheet(collection)
        sheet = collection.onestep3d_views.sheet
        if sheet is None:
            self.report({"ERROR"}, "An image of these views is gone. Generate the views anew.")
            return {"CANCELLED"}
        if not show_image(sheet) and not bpy.app.background:
            bpy.ops.wm.window_new()
            area = context.window_manager.windows[-1].screen.areas[0]
            area.type = "IMAGE_EDITOR"
            area.spaces.active.image = sheet
        return {"FINISHED"}


def draw_views(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw the views that were made, each with its buttons.

    Args:
        layout: to draw in.
        context: with a scene.
    """
    collection = chosen_views(context)
    shown = "Choose Views" if collection is None else collection.name
    layout.menu(ONESTEP3D_MT_views.bl_idname, text=shown, icon="OUTLINER_COLLECTION")
    if collection is None:
        return
    views = views_of(collection)
    row = layout.row(align=True)
    row.label(text=f"{len(kept_views(collection))} of {len(views)} pictures kept")
    row.operator(ONESTEP3D_OT_show_contact_sheet.bl_idname, text="", icon="IMAGE_DATA")
    grid = layout.grid_flow(row_major=True, columns=3, even_columns=True, even_rows=True, align=True)
    for camera in views:
        view = camera.onestep3d_view
        cell = grid.box().column(align=True)
        picture = cell.column()
        picture.active = not view.discarded
        preview = view.image.preview if view.image is not None else None
        picture.template_icon(preview.icon_id if preview is not None else 0, scale=4.0)
        buttons = cell.row(align=True)
        _of_view(buttons, ONESTEP3D_OT_look_through_view, camera, "VIEW_CAMERA")
        if not view.is_source:
            _of_view(buttons, ONESTEP3D_OT_keep_view, camera, "HIDE_ON" if view.discarded else "HIDE_OFF")
            making = jobs.active(_reseeding(camera.name))
            if making is None:
                _of_view(buttons, ONESTEP3D_OT_reseed_view, camera, "FILE_REFRESH")
            else:
                buttons.operator("onestep3d.cancel_job", text="", icon="CANCEL").number = making.number


def _of_view(layout: bpy.types.UILayout, operator: Callable[..., Any], camera: bpy.types.Object, icon: str) -> None:
    layout.operator(operator.bl_idname, text="", icon=icon).camera = camera.name


CLASSES = (
    ONESTEP3D_OT_generate_views,
    ONESTEP3D_OT_choose_views,
    ONESTEP3D_MT_views,
    ONESTEP3D_OT_keep_view,
    ONESTEP3D_OT_look_through_view,
    ONESTEP3D_OT_reseed_view,
    ONESTEP3D_OT_show_contact_sheet,
)
