"""Install, go on, repair and remove the worker's own environment; what the panel Setup says of it."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from . import jobs, preferences
from .panel_parts import draw_progress, wrapped_label
from .queueing.job_requests import JobError, LocalProgress, LocalRequest
from .worker_setup import environment_source, worker_environment

_BUTTONS = ("install_worker", "continue_installation", "repair_worker", "remove_worker")

_known_state = ""
"""Of the environment, as it was when the last of these jobs ended; "" before it was looked at."""


def draw_environment(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draw what there is of the worker's environment, and the buttons that change it.

    Args:
        layout: of the panel Setup.
        context: of the region.
    """
    if preferences.of(context).worker != "INSTALLED":
        return
    active = next(filter(None, (jobs.active(f"onestep3d.{button}") for button in _BUTTONS)), None)
    if active is not None:
        draw_progress(layout, active)
        return
    state = _state()
    if state == "outdated":
        wrapped_label(layout, "The extension brings another version of the worker.", context, "INFO")
        layout.operator("onestep3d.continue_installation", text="Update Worker", icon="FILE_REFRESH")
    if state in ("ready", "outdated"):
        layout.label(text="The worker is installed")
        row = layout.row(align=True)
        row.operator("onestep3d.repair_worker", text="Repair")
        row.operator("onestep3d.remove_worker", text="Remove")
        return
    box = layout.box()
    if state == "unfinished":
        wrapped_label(box, "The installation of the worker is not finished.", context, "INFO")
        box.operator("onestep3d.continue_installation", icon="PLAY")
    else:
        wrapped_label(box, "Views, splats and textures are made by a worker, which is installed once.", context, "INFO")
    if not bpy.app.online_access and not environment_source.needs_in_the_box():
        wrapped_label(box, _offline_sentence(), context, "INTERNET_OFFLINE")
    if failure := _last_failure():
        wrapped_label(box, failure, context, "ERROR")
    row = box.row(align=True)
    row.operator("onestep3d.install_worker", icon="IMPORT")
    if environment_source.in_the_box():
        row.operator("onestep3d.install_worker", text="", icon="FILE_FOLDER").from_file = True
    if state == "unfinished":
        row = box.row(align=True)
        row.operator("onestep3d.repair_worker", text="Repair")
        row.operator("onestep3d.remove_worker", text="Remove")


def _last_failure() -> str:
    """Why the last of these jobs failed; "" if it did not, or was dismissed."""
    listed = filter(None, (jobs.last(f"onestep3d.{button}") for button in _BUTTONS))
    last = max(listed, key=lambda state: state.number, default=None)
    return last.sentence if last is not None and last.state == "failed" else ""


def worker_is_missing(context: bpy.types.Context) -> bool:
    """Say whether the worker that was chosen is one that has not been installed yet.

    Args:
        context: any.
    """
    return preferences.of(context).worker == "INSTALLED" and _state() not in ("ready", "outdated")


class ONESTEP3D_OT_install_worker(bpy.types.Operator):
    """Install the worker: what the extension brings, or the wheel of onestep3d, its folder, or a folder of wheels"""

    bl_idname = "onestep3d.install_worker"
    bl_label = "Install Worker"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="Wheel or folder", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.whl", options={"HIDDEN"})
    from_file: BoolProperty(name="From a File", options={"HIDDEN", "SKIP_SAVE"})
    tool: EnumProperty(
        name="With",
        description="What makes the environment and brings its packages",
        items=(
            ("venv", "venv and pip", "What Python itself brings"),
            ("uv", "uv", "Must be installed; brings a Python of its own if need be"),
        ),
    )
    python: StringProperty(
        name="Python",
        description="Python 3.11 to 3.13 that the environment is made with; empty looks for one",
        subtype="FILE_PATH",
    )
    torch_index: StringProperty(
        name="Torch from",
        description="Address of the package index that has the build of torch for your device; empty takes the default",
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        if properties.from_file or not environment_source.in_the_box():
            return "Install the worker from the wheel of onestep3d, from its folder, or from a folder of wheels"
        return "Install the worker and its model, which this extension brings"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if environment_source.in_the_box() and not self.from_file:
            return context.window_manager.invoke_props_dialog(self, width=400)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if environment_source.in_the_box() and not self.from_file:
            brought = "" if environment_source.needs_in_the_box() else "; 1 to 6 GB are downloaded"
            layout.label(text=f"Nothing needs to be filled in{brought}.")
        layout.use_property_split = True
        for name in ("tool", "python", "torch_index"):
            layout.prop(self, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.filepath and (self.from_file or not environment_source.in_the_box()):
            self.report({"ERROR"}, "Expected the wheel of onestep3d or a folder, got none. Choose one.")
            return {"CANCELLED"}
        plan = worker_environment.Plan(
            preferences.environment_folder(),
            Path(bpy.path.abspath(self.filepath)) if self.filepath else None,
            self.tool,
            bpy.path.abspath(self.python.strip()) if self.python.strip() else "",
            sys.executable or "",  # of Blender, where it brings one: tried after those of the system
            self.torch_index.strip(),
        )
        return _start(self, "Install worker", _creation(plan, anew=False))


class _WithLastPlan:
    """An operator about an environment that was begun."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (found := _state() != "absent"):
            cls.poll_message_set("The worker is not installed")
        return found

    def last_plan(self) -> worker_environment.Plan | None:
        """What was chosen at the last installation; None, and said so, if nothing is known of it."""
        folder = preferences.environment_folder()
        chosen = worker_environment.last_plan(folder)
        if "source" not in chosen:
            self.report({"ERROR"}, "Nothing is known of the last installation. Press Remove, then Install Worker.")
            return None
        return worker_environment.Plan(
            folder,
            Path(chosen["source"]) if chosen["source"] else None,
            "uv" if chosen.get("tool") == "uv" else "venv",
            chosen.get("python", ""),
            sys.executable or "",
            chosen.get("torch_index", ""),
        )


class ONESTEP3D_OT_continue_installation(_WithLastPlan, bpy.types.Operator):
    """Go on with the installation of the worker where it was stopped, or where it is of an earlier version"""

    bl_idname = "onestep3d.continue_installation"
    bl_label = "Continue Installation"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (plan := self.last_plan()) is None:
            return {"CANCELLED"}
        return _start(self, "Install worker", _creation(plan, anew=False))


class ONESTEP3D_OT_repair_worker(_WithLastPlan, bpy.types.Operator):
    """Make the worker's environment anew, from what it was made from; packages come from the cache where they can"""

    bl_idname = "onestep3d.repair_worker"
    bl_label = "Repair Worker"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (plan := self.last_plan()) is None:
            return {"CANCELLED"}
        jobs.stop_worker()
        return _start(self, "Repair worker", _creation(plan, anew=True))


class ONESTEP3D_OT_remove_worker(_WithLastPlan, bpy.types.Operator):
    """Remove the worker's environment from the disk; results of jobs stay"""

    bl_idname = "onestep3d.remove_worker"
    bl_label = "Remove Worker"
    bl_options = {"REGISTER"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.stop_worker()
        folder = preferences.environment_folder()

        def work(progress: LocalProgress) -> Mapping[str, Any]:
            worker_environment.remove_environment(folder, progress)
            return {}

        return _start(self, "Remove worker", work)


def _creation(plan: worker_environment.Plan, *, anew: bool) -> Callable[[LocalProgress], Mapping[str, Any]]:
    online = bpy.app.online_access
    return lambda progress: worker_environment.create_environment(plan, progress, online=online, anew=anew)


def _start(operator: bpy.types.Operator, label: str, work: Callable[[LocalProgress], Mapping[str, Any]]) -> set[str]:
    def work_and_forget(progress: LocalProgress) -> Mapping[str, Any]:
        try:
            return work(progress)
        finally:
            _forget_state()

    # A worker that runs is of the environment before, and has its files open.
    request = LocalRequest(
        label,
        work_and_forget,
        lambda _: iter(()),
        button=type(operator).bl_idname,
        changes_scene=False,
        without_worker=True,
    )
    return jobs.start(operator, request)


def _state() -> str:
    global _known_state
    if not _known_state:
        folder = preferences.environment_folder()
        _known_state = worker_environment.environment_state(folder)
        try:
            outdated = _known_state == "ready" and worker_environment.is_outdated(folder)
        except JobError:
            outdated = True  # the installation says what is wrong with what the extension brings
        _known_state = "outdated" if outdated else _known_state
    return _known_state


def _forget_state() -> None:
    global _known_state
    _known_state = ""


def _offline_sentence() -> str:
    if bpy.app.online_access_override:
        return "Blender was started offline: start it online, or install from a folder that has all wheels."
    return (
        "Online Access is off: allow it (Preferences, System), install from a folder that has all wheels, or choose "
        "Another Python in the preferences (the gear)."
    )


CLASSES = (
    ONESTEP3D_OT_install_worker,
    ONESTEP3D_OT_continue_installation,
    ONESTEP3D_OT_repair_worker,
    ONESTEP3D_OT_remove_worker,
)
