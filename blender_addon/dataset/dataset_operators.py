"""Render the selected objects as records: posed pictures with depth and normals, for training and for other tools."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .. import jobs
from ..panel_parts import TurnsIntoCancel, draw_start_button, wrapped_label
from ..queueing.job_requests import JobRequest
from ..texturing.mesh_export import linked_problem
from .model_capture import captured_models
from .record_folders import copy_records


class ONESTEP3D_PG_dataset(bpy.types.PropertyGroup):
    """Choices of the panel Dataset."""

    folder: StringProperty(
        name="Folder",
        description="Where the records go, each named as its object; one of the same name is exchanged. "
        "Empty leaves them in the job's folder",
        subtype="DIR_PATH",
    )
    renderer: EnumProperty(
        name="Renderer",
        description="What renders",
        items=(
            ("fast", "Fast", "Base colours under one soft light; a second or two an object"),
            ("blender", "Blender", "Every material that glTF carries, with Cycles on the processor; minutes an object"),
        ),
    )
    light: EnumProperty(
        name="Light",
        description="Of the fast renderer",
        items=(
            ("studio", "Studio", "The soft light that the shipped checkpoint was trained under"),
            ("none", "None", "Bare base colours"),
        ),
    )
    rig: EnumProperty(
        name="Cameras",
        description="Where the cameras stand",
        items=(
            ("random-sphere", "Sphere", "Anywhere around the object"),
            ("orbit", "Ring", "Evenly on a ring"),
            ("picture-ring", "Picture and ring", "One as a person takes a picture, then a ring"),
            ("zero123", "Zero123", "As that data set drew them"),
            ("zero123plus", "Zero123++", "The six views of that model"),
        ),
    )
    num_views: IntProperty(name="Views", description="Of each object", default=12, min=2, max=999)
    resolution: IntProperty(name="Pixels", description="Width and height of the pictures", default=256, min=8, max=8192)
    elevation_degrees: FloatProperty(
        name="Height (°)", description="Of the ring above the horizon", default=15.0, min=-89.0, max=89.0
    )
    samples: IntProperty(
        name="Samples", description="Of each pixel, where Blender renders", default=32, min=1, max=4096
    )
    seed: IntProperty(name="Seed", description="The same seed gives the same cameras", default=0, min=0, max=2**31 - 1)


def dataset_problem(context: bpy.types.Context) -> str:
    """Say what Render Dataset still lacks; "" if nothing.

    Args:
        context: with a scene.
    """
    meshes = [thing for thing in context.selected_objects if thing.type == "MESH"]
    if not meshes:
        return "Select the meshes that shall become records"
    if context.mode != "OBJECT":
        return "Leave Edit Mode first"
    return next(filter(None, map(linked_problem, meshes)), "")


class ONESTEP3D_OT_render_dataset(TurnsIntoCancel, bpy.types.Operator):
    """Render each selected mesh into a record: pictures, cameras, depth and normals, as nerfstudio reads them"""

    bl_idname = "onestep3d.render_dataset"
    bl_label = "Render Dataset"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if problem := dataset_problem(context):
            cls.poll_message_set(problem)
        return not problem

    def execute(self, context: bpy.types.Context) -> set[str]:
        things = [thing for thing in context.selected_objects if thing.type == "MESH"]
        chosen = context.scene.onestep3d_dataset
        target = Path(bpy.path.abspath(chosen.folder.strip())) if chosen.folder.strip() else None
        if target is not None and (problem := _folder_problem(target)):
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        named = things[0].name if len(things) == 1 else f"{len(things)} objects"
        return jobs.start(
            self,
            JobRequest(
                "render_dataset",
                f"Records of {named}",
                _settings(chosen),
                captured_models(things),
                lambda folder, findings: _kept_records(folder, target, findings),
                button=ONESTEP3D_OT_render_dataset.bl_idname,
                changes_scene=False,
            ),
        )


class ONESTEP3D_PT_dataset(bpy.types.Panel):
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "OneStep3D"
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_dataset", "Dataset", 4
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.onestep3d_dataset
        column = layout.column()
        column.prop(chosen, "folder")
        column.prop(chosen, "renderer")
        column.prop(chosen, "light" if chosen.renderer == "fast" else "samples")
        if chosen.renderer == "blender" and not _can_denoise():
            wrapped_label(column, "This Blender has no denoiser: more samples make less noise.", context, "INFO")
        column.prop(chosen, "rig")
        if chosen.rig in ("orbit", "picture-ring"):
            column.prop(chosen, "elevation_degrees")
        if chosen.rig != "zero123plus":
            column.prop(chosen, "num_views")
        column.prop(chosen, "resolution")
        column.prop(chosen, "seed")
        draw_start_button(layout, ONESTEP3D_OT_render_dataset.bl_idname, "Render Dataset", "RENDER_ANIMATION")


def _settings(chosen: ONESTEP3D_PG_dataset) -> dict[str, Any]:
    """Settings of the worker's task."""
    views: dict[str, Any] = {
        "rig": chosen.rig,
        "resolution": chosen.resolution,
        "elevations_degrees": [round(chosen.elevation_degrees, 4)],
    }
    if chosen.rig != "zero123plus":
        views["num_views"] = chosen.num_views
    return {
        "renderer": chosen.renderer,
        "light": chosen.light,
        "views": views,
        "render": {"samples": chosen.samples, "denoiser": "fast" if _can_denoise() else "none"},
        "seed": chosen.seed,
    }


def _can_denoise() -> bool:
    """Whether Cycles has OpenImageDenoise here: builds of distributions leave it out."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", False))


def _folder_problem(target: Path) -> str:
    """Why records cannot be kept in a folder, which is made; "" if they can."""
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"The records cannot be written to {target}: {error.strerror or error}. Choose another folder."
    if not os.access(target, os.W_OK):
        return f"The records cannot be written to {target}, which admits no new files. Choose another folder."
    return ""


def _kept_records(folder: Path, target: Path | None, findings: Mapping[str, Any]) -> Iterator[None]:
    """Copy the records where they were wanted; without a folder they stay in the job's."""
    if target is not None:
        yield from copy_records(folder, target, findings)


def register() -> None:
    """Give each scene the choices."""
    bpy.types.Scene.onestep3d_dataset = PointerProperty(type=ONESTEP3D_PG_dataset)


def unregister() -> None:
    """Take them back."""
    del bpy.types.Scene.onestep3d_dataset


CLASSES = (ONESTEP3D_PG_dataset, ONESTEP3D_OT_render_dataset, ONESTEP3D_PT_dataset)
