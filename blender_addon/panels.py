"""The tab OneStep3D of the viewport's sidebar: worker, views, splats, jobs. Drawing reads what is known, no more."""

import re

import bpy

from . import jobs
from .environment_operators import draw_environment, worker_is_missing
from .panel_parts import draw_progress, draw_start_button, duration, wrapped_label
from .queueing.job_progress import plain_number, plain_texts
from .queueing.job_requests import JobState
from .splats.splat_making import ONESTEP3D_OT_make_splats
from .views.picture_source import draw_picture
from .views.view_list import chosen_views, kept_views, view_collections, views_of
from .views.view_operators import ONESTEP3D_OT_generate_views, draw_views

_BUTTON_PX = 30
_OPTION = re.compile(r" \(--[a-z-]+[^)]*\)")


class _InTheTab:
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "OneStep3D"


class ONESTEP3D_PT_setup(_InTheTab, bpy.types.Panel):
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_setup", "Setup", 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        line, icon = worker_line(context)
        row = layout.row()
        wrapped_label(row, line, context, icon, beside_px=_BUTTON_PX)
        row.operator("onestep3d.show_preferences", text="", icon="PREFERENCES")
        if jobs.queue.problem:
            box = layout.box()
            wrapped_label(box, jobs.queue.problem, context, "ERROR")
            box.operator("onestep3d.copy_log", icon="COPYDOWN")
        layout.operator("onestep3d.test_connection")
        if jobs.queue.connection != "off":
            row = layout.row(align=True)
            row.operator("onestep3d.free_memory")
            row.operator("onestep3d.stop_worker")
        draw_environment(layout, context)


class ONESTEP3D_PT_views(_InTheTab, bpy.types.Panel):
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_views", "Generate views", 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.onestep3d
        layout.use_property_split, layout.use_property_decorate = False, False
        draw_picture(layout.column(), context)
        column = layout.column()
        column.prop(chosen, "rig")
        if chosen.rig != "CAMERAS":
            column.prop(chosen, "num_views")
        if chosen.rig == "RING":
            column.prop(chosen, "ring_elevation_degrees")
        row = column.row(align=True)
        row.prop(chosen, "seed")
        row.prop(chosen, "steps")
        draw_start_button(layout, ONESTEP3D_OT_generate_views.bl_idname, "Generate Views", "RENDER_STILL")


class ONESTEP3D_PT_made_views(_InTheTab, bpy.types.Panel):
    bl_idname, bl_label, bl_parent_id = "ONESTEP3D_PT_made_views", "Views", "ONESTEP3D_PT_views"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(view_collections())

    def draw(self, context: bpy.types.Context) -> None:
        draw_views(self.layout, context)


class ONESTEP3D_PT_splats(_InTheTab, bpy.types.Panel):
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_splats", "Make splats", 2

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.onestep3d
        layout.row(align=True).prop(chosen, "splats_from", expand=True)
        if chosen.splats_from == "VIEWS" and (collection := chosen_views(context)) is not None:
            kept, made = len(kept_views(collection)), len(views_of(collection))
            layout.label(text=f"{collection.name}: {kept} of {made} kept", icon="OUTLINER_COLLECTION")
        column = layout.column(align=True)
        column.prop(chosen, "max_splats")
        column.prop(chosen, "iterations")
        draw_start_button(layout, ONESTEP3D_OT_make_splats.bl_idname, "Make Splats", "POINTCLOUD_DATA")


class ONESTEP3D_PT_jobs(_InTheTab, bpy.types.Panel):
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_jobs", "Jobs", 5

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for state in reversed(jobs.queue.jobs):
            _draw_job(layout.box(), state, context)
        if not jobs.queue.jobs:
            layout.label(text="No jobs yet")
        layout.operator("onestep3d.copy_log", icon="COPYDOWN")


def worker_line(context: bpy.types.Context) -> tuple[str, str]:
    """Return the state of the worker in one line, and its icon.

    Args:
        context: any.
    """
    queue = jobs.queue
    if queue.connection == "off":
        if worker_is_missing(context):
            return "Worker: not installed yet", "RADIOBUT_OFF"
        return (
            ("Worker: has a problem", "ERROR")
            if queue.problem
            else ("Worker: starts with the first job", "RADIOBUT_OFF")
        )
    if queue.connection == "starting":
        return "Worker: starting", "SORTTIME"
    status = queue.status
    if not status:
        return "Worker: ready", "CHECKMARK"
    memory = plain_number(status.get("free_memory_bytes"))
    parts = [str(status.get("device_name") or status.get("device"))[:40]]
    parts += [f"{memory / 1e9:.1f} GB free"] if memory is not None else []
    model = status.get("checkpoint")
    parts.append(f"model {str(model)[:20]}" if model else "no model")
    return ", ".join(parts), "CHECKMARK"


def _draw_job(layout: bpy.types.UILayout, state: JobState, context: bpy.types.Context) -> None:
    row = layout.row(align=True)
    icon = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "CANCEL"}.get(state.state, "SORTTIME")
    row.label(text=state.request.label, icon=icon)
    if state.ended:
        row.operator("onestep3d.run_again", text="", icon="FILE_REFRESH").number = state.number
        row.operator("onestep3d.open_job_folder", text="", icon="FILE_FOLDER").number = state.number
        row.operator("onestep3d.dismiss_job", text="", icon="X").number = state.number
        if state.state != "cancelled":
            layout.label(text=f"{'Done in' if state.state == 'done' else 'Failed after'} {duration(state.seconds)}")
    else:
        draw_progress(layout, state)
    if state.sentence:
        wrapped_label(layout, state.sentence, context)
    if state.state == "held" and jobs.for_another_file(state):
        layout.operator("onestep3d.apply_here").number = state.number
    for remark in _remarks(state):
        wrapped_label(layout, remark, context, "INFO")


def _remarks(state: JobState) -> list[str]:
    """What a result has to say besides itself."""
    if state.state != "done":
        return []
    found = plain_texts([state.findings.get("elevation")]) + plain_texts(state.findings.get("warnings"))
    # The worker names the option of the command line, which a panel has not.
    return [_OPTION.sub("", remark)[:300] for remark in found]


CLASSES = (ONESTEP3D_PT_setup, ONESTEP3D_PT_views, ONESTEP3D_PT_made_views, ONESTEP3D_PT_splats, ONESTEP3D_PT_jobs)
