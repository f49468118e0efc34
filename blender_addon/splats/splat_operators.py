"""Import and export of splats, with no worker at all, and how the viewport shows them."""

from pathlib import Path

import bpy
import numpy as np
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ..formats.arrays import AXES, SplatArrays
from ..formats.by_ending import FORMATS, FORMATS_READ, Writing, read_splat_file, write_splat_file
from ..formats.errors import FormatError
from ..queueing.job_requests import JobError
from ..references import Reference
from .splat_nodes import SHARE, share_property
from .splat_objects import is_splats, link_into, make_splat_object, reading_sentence, select_alone, splats_of

_AXES_ITEMS = [
    ("y-down", "Y Down", "As most viewers of .ply expect it"),
    ("y-up", "Y Up", "As .spz and glTF have it"),
    ("z-up", "Z Up", "As Blender has it"),
]
assert tuple(item[0] for item in _AXES_ITEMS) == AXES
_FORMAT_ITEMS = [
    ("ply", "PLY (.ply)", "Every value, uncompressed; read by all programs for splats"),
    ("spz", "SPZ (.spz)", "Compressed to about a tenth"),
    ("splat", "SPLAT (.splat)", "32 bytes a splat, one colour for all directions"),
    ("glb", "glTF (.glb)", "glTF 2.0 with KHR_gaussian_splatting"),
]
assert tuple(item[0] for item in _FORMAT_ITEMS) == FORMATS


class ONESTEP3D_OT_import_splats(bpy.types.Operator, ImportHelper):
    """Import Gaussian splats from .ply, .spz, .splat or glTF as an object with z up"""

    bl_idname = "onestep3d.import_splats"
    bl_label = "Import Splats"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    filter_glob: bpy.props.StringProperty(  # type: ignore[valid-type]
        default=";".join(f"*.{ending}" for ending in FORMATS_READ), options={"HIDDEN"}
    )
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})  # type: ignore[valid-type]
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})  # type: ignore[valid-type]
    axes: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Up",
        description="Where up is in a file that does not say so",
        items=[("auto", "Usual for the Format", "Y down for .ply and .splat, y up for .spz"), *_AXES_ITEMS],
        default="auto",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory and self.files:  # dropped onto the window
            return self.execute(context)
        return ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        paths = [Path(self.directory) / file.name for file in self.files if file.name] or [Path(self.filepath)]
        imported = sum(self._import(path, context) for path in paths)
        return {"FINISHED"} if imported else {"CANCELLED"}

    def _import(self, path: Path, context: bpy.types.Context) -> bool:
        try:
            reading = read_splat_file(path, axes_if_unsaid=None if self.axes == "auto" else self.axes)
        except (FormatError, OSError, MemoryError) as error:
            self.report({"ERROR"}, f"{path.name}: {reading_sentence(error)}")
            return False
        if context.mode != "OBJECT" and bpy.ops.object.mode_set.poll():
            # The splats become active, and nothing could tell then that another object is still being edited.
            bpy.ops.object.mode_set(mode="OBJECT")
        made: list[Reference] = []
        for _ in make_splat_object(reading.splats, path.stem, made):
            pass
        link_into(context.scene, made[0].found())
        select_alone(context.scene, made[0].found())
        for note in reading.notes:
            self.report({"WARNING"}, f"{path.name}: {note}")
        self.report({"INFO"}, f"{path.name}: {len(reading.splats):,} splats")
        return True


class ONESTEP3D_OT_export_splats(bpy.types.Operator, ExportHelper):
    """Export the selected splats into one file, where they stand: moved, turned and scaled with their objects"""

    bl_idname = "onestep3d.export_splats"
    bl_label = "Export Splats"
    bl_options = {"REGISTER", "PRESET"}

    filename_ext = ""
    filter_glob: bpy.props.StringProperty(  # type: ignore[valid-type]
        default=";".join(f"*.{ending}" for ending in FORMATS), options={"HIDDEN"}
    )
    format: bpy.props.EnumProperty(name="Format", items=_FORMAT_ITEMS, default="ply")  # type: ignore[valid-type]
    axes: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Up", description="Where up shall be in a .ply, whose header says so", items=_AXES_ITEMS, default="y-down"
    )
    spz_version: bpy.props.EnumProperty(  # type: ignore[valid-type]
        name="Version",
        items=[("3", "3", "Read by most programs"), ("4", "4", "Smaller and younger; needs zstd")],
        default="3",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not _chosen(context):
            cls.poll_message_set("Select an object of splats first")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave Edit Mode first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.filepath:
            self.filepath = f"{bpy.path.clean_name(_chosen(context)[0].name)}.{self.format}"
        return ExportHelper.invoke(self, context, event)

    def check(self, context: bpy.types.Context) -> bool:
        path = Path(self.filepath)
        if path.suffix[1:].lower() == self.format or not path.name:
            return False
        bare = path.with_suffix("") if _has_ending(path) else path
        self.filepath = str(_with_ending(bare, self.format))
        return True

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(self, "format")
        if self.format == "ply":
            layout.prop(self, "axes")
        elif self.format == "spz":
            layout.prop(self, "spz_version")

    def execute(self, context: bpy.types.Context) -> set[str]:
        # A script may give any name, and one without ending is common.
        path = _with_ending(Path(self.filepath), self.format)
        try:
            readings = [splats_of(thing) for thing in _chosen(context)]
            splats = joined([reading.splats for reading in readings])
            lost = write_splat_file(path, splats, Writing(self.axes, int(self.spz_version)))
        except JobError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        except FormatError as error:
            self.report({"ERROR"}, f"{path.name}: {error}")
            return {"CANCELLED"}
        except OSError as error:
            self.report({"ERROR"}, f"Cannot write {path}: {error.strerror or error}; choose another folder.")
            return {"CANCELLED"}
        for note in (*(note for reading in readings for note in reading.notes), *lost):
            self.report({"WARNING"}, note)
        self.report({"INFO"}, f"{path.name}: {len(splats):,} splats")
        return {"FINISHED"}


class ONESTEP3D_OT_show_splats(bpy.types.Operator):
    """Switch this viewport to Material Preview, which shows splats in their colours and translucent"""

    bl_idname = "onestep3d.show_splats"
    bl_label = "Material Preview"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.space_data is not None and context.space_data.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.space_data.shading.type = "MATERIAL"
        return {"FINISHED"}


class ONESTEP3D_OT_standard_colours(bpy.types.Operator):
    """Set the scene's view transform to Standard: splats and textures then have the colours of their pictures"""

    bl_idname = "onestep3d.standard_colours"
    bl_label = "Standard Colours"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.view_settings
        settings.view_transform, settings.look = "Standard", "None"
        return {"FINISHED"}


class ONESTEP3D_FH_splats(bpy.types.FileHandler):
    bl_idname = "ONESTEP3D_FH_splats"
    bl_label = "Gaussian splats"
    bl_import_operator = "onestep3d.import_splats"
    bl_file_extensions = ".spz;.splat"  # a .ply or .glb may be a mesh, which Blender's own importers take

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class ONESTEP3D_PT_splat_files(bpy.types.Panel):
    bl_space_type, bl_region_type, bl_category = "VIEW_3D", "UI", "OneStep3D"
    bl_idname, bl_label, bl_parent_id = "ONESTEP3D_PT_splat_files", "Files and display", "ONESTEP3D_PT_splats"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.operator("onestep3d.import_splats", text="Import", icon="IMPORT")
        row.operator("onestep3d.export_splats", text="Export", icon="EXPORT")
        draw_colours(layout, context)
        thing = context.active_object
        if not is_splats(thing):
            return
        layout.label(text=f"{thing.name}: {len(thing.data.vertices):,} splats")
        if (found := share_property(thing)) is not None:
            layout.prop(*found, text=SHARE, slider=True)


def draw_colours(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw what this viewport lacks to show the colours of pictures; nothing if it shows them.

    Args:
        layout: to draw in.
        context: of a 3D viewport.
    """
    if context.space_data.shading.type not in ("MATERIAL", "RENDERED"):
        row = layout.row(align=True)
        row.label(text="Colours show in")
        row.operator("onestep3d.show_splats")
    elif context.scene.view_settings.view_transform != "Standard":
        row = layout.row(align=True)
        row.label(text=f"Seen through {context.scene.view_settings.view_transform}")
        row.operator("onestep3d.standard_colours")


def joined(parts: list[SplatArrays]) -> SplatArrays:
    """Several clouds as one, with the highest degree of spherical harmonics among them.

    Args:
        parts: at least one, all with the same axes.
    """
    if len(parts) == 1:
        return parts[0]
    most = max(part.harmonics.shape[1] for part in parts)
    harmonics = [np.pad(part.harmonics, ((0, 0), (0, most - part.harmonics.shape[1]), (0, 0))) for part in parts]
    return SplatArrays(
        means=np.concatenate([part.means for part in parts]),
        quaternions_wxyz=np.concatenate([part.quaternions_wxyz for part in parts]),
        log_scales=np.concatenate([part.log_scales for part in parts]),
        opacity_logits=np.concatenate([part.opacity_logits for part in parts]),
        harmonics=np.concatenate(harmonics),
        axes=parts[0].axes,
        antialiased=any(part.antialiased for part in parts),
    )


def _has_ending(path: Path) -> bool:
    """Whether a name ends as a format does; of chair.v2 the last part belongs to the name."""
    return path.suffix[1:].lower() in FORMATS


def _with_ending(path: Path, ending: str) -> Path:
    return path if _has_ending(path) else path.with_name(f"{path.name}.{ending}")


def _chosen(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected objects of splats, else the active one."""
    selected = [thing for thing in context.selected_objects if is_splats(thing)]
    return selected or ([context.active_object] if is_splats(context.active_object) else [])


def _import_entry(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.operator("onestep3d.import_splats", text="Gaussian Splats (.ply/.spz/.splat/.glb)")


def _export_entry(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.operator("onestep3d.export_splats", text="Gaussian Splats (.ply/.spz/.splat/.glb)")


CLASSES = (
    ONESTEP3D_OT_import_splats,
    ONESTEP3D_OT_export_splats,
    ONESTEP3D_OT_show_splats,
    ONESTEP3D_OT_standard_colours,
    ONESTEP3D_FH_splats,
    ONESTEP3D_PT_splat_files,
)


def register() -> None:
    """Add the entries of the menus File > Import and File > Export."""
    bpy.types.TOPBAR_MT_file_import.append(_import_entry)
    bpy.types.TOPBAR_MT_file_export.append(_export_entry)


def unregister() -> None:
    """Take the entries back."""
    bpy.types.TOPBAR_MT_file_import.remove(_import_entry)
    bpy.types.TOPBAR_MT_file_export.remove(_export_entry)
