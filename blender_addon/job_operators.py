"""What can be done with jobs and with the worker: cancel, run again, take off the list, copy the log, test, stop."""

import bpy
from bpy.props import IntProperty

from . import jobs, preferences
from .queueing.job_requests import JobState


class _OfOneJob:
    """An operator about one job, by its number."""

    number: IntProperty(name="Job", description="Number of the job", options={"SKIP_SAVE"})

    def job(self) -> JobState | None:
        """The job; None, and said so, if it is no longer listed."""
        found = jobs.by_number(self.number)
        if found is None:
            self.report({"WARNING"}, f"Job {self.number} is no longer listed.")
        return found


class ONESTEP3D_OT_cancel_job(_OfOneJob, bpy.types.Operator):
    """Stop this job; the scene stays as it is"""

    bl_idname = "onestep3d.cancel_job"
    bl_label = "Cancel Job"
    bl_options = {"REGISTER"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        state = jobs.by_number(self.number)
        if state is not None and state.just_turned:  # the second of two clicks on the button that began it
            return {"CANCELLED"}
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.cancel(self.number)
        return {"FINISHED"}


class ONESTEP3D_OT_run_again(_OfOneJob, bpy.types.Operator):
    """Run this job once more with the same files, settings and seed"""

    bl_idname = "onestep3d.run_again"
    bl_label = "Run Again"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (state := self.job()) is None:
            return {"CANCELLED"}
        again = jobs.again(state)
        if bpy.app.background:
            jobs.wait(again)
        return {"FINISHED"}


class ONESTEP3D_OT_dismiss_job(_OfOneJob, bpy.types.Operator):
    """Take this job off the list; its files stay"""

    bl_idname = "onestep3d.dismiss_job"
    bl_label = "Dismiss Job"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (state := self.job()) is not None:
            jobs.queue.dismiss(state)
        return {"FINISHED"}


class ONESTEP3D_OT_apply_here(_OfOneJob, bpy.types.Operator):
    """Bring the result of this job, which was asked for in another file, into this one"""

    bl_idname = "onestep3d.apply_here"
    bl_label = "Apply Here"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.apply_here(self.number)
        return {"FINISHED"}


class ONESTEP3D_OT_open_job_folder(_OfOneJob, bpy.types.Operator):
    """Open the folder of this job: what it was given, what came of it"""

    bl_idname = "onestep3d.open_job_folder"
    bl_label = "Open Folder"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if (state := self.job()) is None or state.folder is None:
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(state.folder))
        self.report({"INFO"}, str(state.folder))  # Blender does not say when the system has nothing to open it with
        return {"FINISHED"}


class ONESTEP3D_OT_copy_log(bpy.types.Operator):
    """Copy the log of the worker and of the add-on to the clipboard"""

    bl_idname = "onestep3d.copy_log"
    bl_label = "Copy Log"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        lines = jobs.log_lines()
        context.window_manager.clipboard = "\n".join(lines)
        self.report({"INFO"}, f"{len(lines)} lines of the log are in the clipboard.")
        return {"FINISHED"}


class ONESTEP3D_OT_test_connection(bpy.types.Operator):
    """Start the worker and ask where it computes, what memory it has, which model is there"""

    bl_idname = "onestep3d.test_connection"
    bl_label = "Test Connection"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.test_connection()
        if bpy.app.background and jobs.queue.problem:
            self.report({"ERROR"}, jobs.queue.problem)
            return {"CANCELLED"}
        return {"FINISHED"}


class ONESTEP3D_OT_stop_worker(bpy.types.Operator):
    """End the worker and the job it is at; all its memory is free then, and the next job starts it again"""

    bl_idname = "onestep3d.stop_worker"
    bl_label = "Stop Worker"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if jobs.queue.connection == "off":
            cls.poll_message_set("The worker does not run")
        return jobs.queue.connection != "off"

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.stop_worker()
        return {"FINISHED"}


class ONESTEP3D_OT_free_memory(bpy.types.Operator):
    """Take models out of the worker's memory; the next job loads them again"""

    bl_idname = "onestep3d.free_memory"
    bl_label = "Free Memory"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if jobs.queue.connection != "ready":
            cls.poll_message_set("The worker does not run")
        return jobs.queue.connection == "ready"

    def execute(self, context: bpy.types.Context) -> set[str]:
        jobs.free_memory()
        return {"FINISHED"}


class ONESTEP3D_OT_show_preferences(bpy.types.Operator):
    """Choose the worker, the device, the checkpoint, where results are kept"""

    bl_idname = "onestep3d.show_preferences"
    bl_label = "Preferences"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        bpy.ops.preferences.addon_show(module=preferences.__package__)
        return {"FINISHED"}


CLASSES = (
    ONESTEP3D_OT_cancel_job,
    ONESTEP3D_OT_run_again,
    ONESTEP3D_OT_dismiss_job,
    ONESTEP3D_OT_apply_here,
    ONESTEP3D_OT_open_job_folder,
    ONESTEP3D_OT_copy_log,
    ONESTEP3D_OT_test_connection,
    ONESTEP3D_OT_stop_worker,
    ONESTEP3D_OT_free_memory,
    ONESTEP3D_OT_show_preferences,
)
