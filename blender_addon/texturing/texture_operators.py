"""Texture mesh: the active mesh after a picture or a prompt, and the panel where that is chosen."""

import json
from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .. import jobs, preferences
from ..panel_parts import TurnsIntoCancel, draw_start_button, wrapped_label
from ..queueing.job_requests import JobError, JobRequest
from ..references import Reference
from ..splats.splat_operators import draw_colours
from ..views.camera_conversion import transforms
from ..views.picture_source import draw_picture, picture_problem, with_picture
from ..views.view_operators import selected_cameras
from . import camera_overlay, texture_results
from .mesh_export import captured_mesh, glb_of, has_coordinates, mesh_problem
from .texture_cameras import (
    AUTOMATIC,
    FEWEST,
    RING,
    RING_AND_POLES,
    SELECTED,
    WORKER_NAMES,
    ring_frames,
    selected_frames,
)

_PREVIEW_SCALE = 8.0


class ONESTEP3D_PG_texture(bpy.types.PropertyGroup):
    """Choices of the panel Texture mesh."""

    guided_by: EnumProperty(
        name="After",
        description="What the texture shall look like",
        items=(
            ("PICTURE", "Picture", "As the picture of Generate views, which is chosen here, too"),
            ("PROMPT", "Prompt", "As words say; needs a published text-to-image checkpoint"),
        ),
    )
    prompt: StringProperty(name="Prompt", description="What the mesh shall look like, in words")
    prompt_checkpoint: StringProperty(
        name="Checkpoint",
        description="Folder of a text-to-image checkpoint (Stable Diffusion 1.5, 2.1 or XL), as the worker sees it",
        subtype="DIR_PATH",
    )
    denoising_steps: IntProperty(
        name="Steps", description="With a prompt; 30 for most checkpoints, 4 for students", default=30, min=1, max=1000
    )
    cameras: EnumProperty(
        name="Cameras",
        description="Where the views are taken from",
        items=(
            (RING_AND_POLES, "Ring and poles", "A ring, one camera above and one below"),
            (RING, "Ring", "A ring 15 degrees above the horizon"),
            (AUTOMATIC, "Automatic", "Each sees the most that none saw before; chosen when the job runs"),
            (SELECTED, "Selected cameras", "Cameras that are selected in the scene beside the mesh"),
        ),
    )
    num_views: IntProperty(name="Views", description="Number of cameras", default=10, min=1, max=64)
    azimuth_degrees: FloatProperty(
        name="Front (°)",
        description="From where the picture shows the mesh: 0 is from -Y, 90 from +X",
        default=0.0,
        min=-360.0,
        max=360.0,
    )
    show_cameras: BoolProperty(
        name="Show Cameras", description="Draw the cameras around the active mesh in the viewport", default=True
    )
    strategy: EnumProperty(
        name="Strategy",
        description="How the views agree on one texture",
        items=(
            ("instance-clean", "Clean, in views", "Views agree on their clean predictions (SyncTweedies)"),
            ("canonical-clean", "Clean, in texture", "One noisy texture; its clean prediction is averaged"),
            ("instance-noise", "Noise, in views", "Views agree on the noise that they see"),
            ("canonical-noise", "Noise, in texture", "One noisy texture; the noise is averaged"),
            ("instance-noisy", "Noisy, in views", "Views agree on their next noisy pictures"),
            ("canonical-noisy", "Noisy, in texture", "One noisy texture; next steps are averaged (MultiDiffusion)"),
            ("none", "None", "Every view alone, averaged at the end"),
        ),
    )
    steps: IntProperty(
        name="Steps",
        description="In which the views are denoised together; the shipped checkpoint is nearest to the truth in one",
        default=1,
        min=1,
        max=1000,
    )
    texture_size: EnumProperty(
        name="Texture",
        description="Texels along a side",
        items=tuple((str(size), f"{size} px", f"{size} x {size} texels") for size in (256, 512, 1024, 2048, 4096)),
        default="1024",
    )
    seed: IntProperty(name="Seed", description="The same seed gives the same texture", default=0, min=0, max=2**31 - 1)


def texture_problem(context: bpy.types.Context) -> str:
    """Say what Texture mesh still lacks; "" if nothing.

    Args:
        context: with a scene.
    """
    chosen = context.scene.onestep3d_texture
    if problem := mesh_problem(context.active_object):
        return problem
    if chosen.cameras == SELECTED:
        if not selected_cameras(context):
            return "Select the cameras beside the mesh from which its views shall be taken"
    elif chosen.num_views < FEWEST[chosen.cameras]:
        return f"A ring and both poles need at least {FEWEST[chosen.cameras]} views"
    if chosen.guided_by == "PICTURE":
        return picture_problem(context)
    if not chosen.prompt.strip():
        return "Say what the mesh shall look like"
    return "" if chosen.prompt_checkpoint.strip() else "A prompt needs a text-to-image checkpoint: choose its folder"


class ONESTEP3D_OT_texture_mesh(TurnsIntoCancel, bpy.types.Operator):
    """Make a texture for the active mesh and put it on as a new material"""

    bl_idname = "onestep3d.texture_mesh"
    bl_label = "Texture Mesh"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if problem := texture_problem(context):
            cls.poll_message_set(problem)
        return not problem

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen, thing = context.scene.onestep3d_texture, context.active_object
        mesh = Reference.of(thing)
        try:
            captured = captured_mesh(thing, context.evaluated_depsgraph_get())
            frames = _frames(context, captured.world_to_unit)
        except JobError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        cameras = {} if frames is None else {"cameras.json": json.dumps(transforms(frames)).encode()}
        settings = _settings(context)

        def then(
            operator: bpy.types.Operator | None, files: Mapping[str, Any], _: str, picture: Mapping[str, Any]
        ) -> set[str]:
            texture_results.forget_preview()
            return jobs.start(
                operator,
                JobRequest(
                    "texture_mesh",
                    f"Texture of {captured.name}",
                    {**settings, **({"picture": picture} if picture else {})},
                    {"mesh.glb": lambda: glb_of(captured), **cameras, **files},
                    lambda folder, findings: texture_results.add_texture(folder, findings, mesh, captured),
                    preview=_show_preview,
                    button=ONESTEP3D_OT_texture_mesh.bl_idname,
                ),
            )

        if chosen.guided_by == "PROMPT":
            return then(self, {}, "", {})
        return with_picture(self, context, then)


def _show_preview(picture: np.ndarray) -> None:
    texture_results.show_preview(picture)
    jobs.redraw()


def _frames(context: bpy.types.Context, world_to_unit: np.ndarray) -> list[dict[str, Any]] | None:
    """The cameras in the unit ball's world; None where the worker chooses them."""
    chosen = context.scene.onestep3d_texture
    if chosen.cameras == AUTOMATIC:
        return None
    if chosen.cameras == SELECTED:
        return selected_frames(selected_cameras(context), context.scene.render, world_to_unit)
    return ring_frames(chosen.cameras, chosen.num_views, chosen.azimuth_degrees)


def _settings(context: bpy.types.Context) -> dict[str, Any]:
    chosen = context.scene.onestep3d_texture
    generator = preferences.generator_settings(context, chosen.seed, chosen.steps)
    settings: dict[str, Any] = {
        "cameras": WORKER_NAMES.get(chosen.cameras, "ring"),
        "num_views": chosen.num_views,
        "azimuth_degrees": round(chosen.azimuth_degrees, 4),
        "strategy": chosen.strategy,
        "texture_size": int(chosen.texture_size),
        "turntable_frames": 2,
    }
    if chosen.guided_by == "PROMPT":
        # Steps and sampler of the view generator mean nothing to a text-to-image checkpoint.
        generator = {key: generator[key] for key in ("device", "seed")}
        generator["checkpoint"] = bpy.path.abspath(chosen.prompt_checkpoint.strip())
        settings["prompted"] = {"text": {"prompt": chosen.prompt.strip()}, "denoising_steps": chosen.denoising_steps}
    return {**settings, "generator": generator}


class ONESTEP3D_PT_texture(bpy.types.Panel):
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "OneStep3D"
    bl_idname, bl_label, bl_order = "ONESTEP3D_PT_texture", "Texture mesh", 3

    def draw(self, context: bpy.types.Context) -> None:
        layout, chosen = self.layout, context.scene.onestep3d_texture
        layout.use_property_split, layout.use_property_decorate = False, False
        layout.row(align=True).prop(chosen, "guided_by", expand=True)
        if chosen.guided_by == "PICTURE":
            draw_picture(layout.column(), context)
        else:
            layout.prop(chosen, "prompt")
            layout.prop(chosen, "prompt_checkpoint")
        self._draw_cameras(layout.column(), chosen)
        column = layout.column()
        column.prop(chosen, "strategy")
        row = column.row(align=True)
        row.prop(chosen, "seed")
        row.prop(chosen, "steps" if chosen.guided_by == "PICTURE" else "denoising_steps")
        column.prop(chosen, "texture_size")
        self._draw_mesh(layout, context)
        draw_start_button(layout, ONESTEP3D_OT_texture_mesh.bl_idname, "Texture Mesh", "TEXTURE")
        icon = texture_results.preview_icon()
        if icon and jobs.active(ONESTEP3D_OT_texture_mesh.bl_idname) is not None:
            layout.template_icon(icon_value=icon, scale=_PREVIEW_SCALE)
        draw_colours(layout, context)

    @staticmethod
    def _draw_cameras(column: bpy.types.UILayout, chosen: ONESTEP3D_PG_texture) -> None:
        column.prop(chosen, "cameras")
        if chosen.cameras != SELECTED:
            row = column.row(align=True)
            row.prop(chosen, "num_views")
            row.prop(chosen, "azimuth_degrees")
        if chosen.cameras in (RING, RING_AND_POLES):
            column.prop(chosen, "show_cameras")

    @staticmethod
    def _draw_mesh(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        thing = context.active_object
        if mesh_problem(thing):
            return
        layout.label(text=thing.name, icon="MESH_DATA")
        if not has_coordinates(thing, context.evaluated_depsgraph_get()):
            wrapped_label(layout, "It has no texture coordinates: some will be made.", context, "INFO")


CLASSES = (ONESTEP3D_PG_texture, ONESTEP3D_OT_texture_mesh, ONESTEP3D_PT_texture)


def register() -> None:
    """Give scenes their choices; draw cameras and previews."""
    bpy.types.Scene.onestep3d_texture = PointerProperty(type=ONESTEP3D_PG_texture)
    texture_results.register()
    camera_overlay.register()


def unregister() -> None:
    """Take both back."""
    camera_overlay.unregister()
    texture_results.unregister()
    del bpy.types.Scene.onestep3d_texture
