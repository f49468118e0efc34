"""What is chosen once: the worker and where it runs, where it computes, where results are kept."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, StringProperty

from .queueing.job_requests import JobError
from .worker_setup import worker_command as commands
from .worker_setup import worker_environment

_SHIPPED_CHECKPOINT = "small"


def _another_worker(_: Any, __: bpy.types.Context) -> None:
    """What was wrong with the worker before says nothing about the one that is chosen now."""
    from . import jobs  # which asks this module for the command

    jobs.queue.problem = ""


class ONESTEP3D_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    worker: EnumProperty(
        name="Worker",
        description="The process that computes, in an environment of its own",
        items=(
            ("INSTALLED", "Installed here", "In the environment that Install Worker makes"),
            ("PYTHON", "Another Python", "With a Python of this machine that has onestep3d"),
            ("SSH", "Another machine", "On a machine that ssh enters without asking for a password"),
        ),
        update=_another_worker,
    )
    python: StringProperty(
        name="Python",
        description="Python of an environment in which onestep3d is installed",
        subtype="FILE_PATH",
        update=_another_worker,
    )
    ssh_host: StringProperty(
        name="Host", description="As ssh takes it: a name of its settings, or user@machine", update=_another_worker
    )
    ssh_python: StringProperty(
        name="Python there",
        description="Python on the other machine, of an environment that has onestep3d",
        update=_another_worker,
    )
    device: EnumProperty(
        name="Device",
        description="Where the worker computes",
        items=(
            ("auto", "Automatic", "CUDA where there is a device for it, else the processor"),
            ("cpu", "Processor", "The processor, whatever else there is"),
            ("cuda", "CUDA", "A CUDA device; without one a job ends with an error"),
        ),
    )
    checkpoint_folder: StringProperty(
        name="Checkpoint",
        description="Folder of another checkpoint, as the worker's machine sees it; empty for the one that is shipped",
        subtype="DIR_PATH",
    )
    results_folder: StringProperty(
        name="Results",
        description="Where the files of every job are kept; empty for a folder of the add-on",
        subtype="DIR_PATH",
    )
    idle_minutes: FloatProperty(
        name="Idle time",
        description="Minutes without a job after which models leave the worker's memory",
        default=10.0,
        min=0.1,
        max=1440.0,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "worker")
        if self.worker == "PYTHON":
            layout.prop(self, "python")
        elif self.worker == "SSH":
            layout.prop(self, "ssh_host")
            layout.prop(self, "ssh_python")
        layout.prop(self, "device")
        layout.prop(self, "checkpoint_folder")
        layout.prop(self, "results_folder")
        layout.prop(self, "idle_minutes")
        layout.label(text="Install, repair and remove the worker: 3D viewport, sidebar, OneStep3D, Setup.")

    @property
    def checkpoint(self) -> str:
        """Name or folder of the checkpoint."""
        chosen = self.checkpoint_folder.strip()
        if self.worker == "SSH":
            return chosen or _SHIPPED_CHECKPOINT
        return bpy.path.abspath(chosen) if chosen else _SHIPPED_CHECKPOINT

    def output_folder(self) -> Path:
        """Return where the folders of jobs are made; it may not be there yet."""
        chosen = self.results_folder.strip()
        return (
            Path(bpy.path.abspath(chosen))
            if chosen
            else Path(bpy.utils.extension_path_user(__package__, path="results"))
        )


def of(context: bpy.types.Context) -> Any:
    """Return the add-on's preferences.

    Args:
        context: any.
    """
    return context.preferences.addons[__package__].preferences


def environment_folder() -> Path:
    """Return where the worker's own environment is installed."""
    return Path(bpy.utils.extension_path_user(__package__, path="environment"))


def worker_command(context: bpy.types.Context) -> list[str]:
    """Return program and arguments of the worker that was chosen.

    Args:
        context: any.

    Raises:
        JobError: what it needs is missing.
    """
    chosen = of(context)
    idle_seconds = 60.0 * chosen.idle_minutes
    if chosen.worker == "SSH":
        return commands.ssh_command(chosen.ssh_host, chosen.ssh_python, idle_seconds)
    if chosen.worker == "INSTALLED":
        python = worker_environment.environment_python(environment_folder())
        return commands.local_command(python, idle_seconds, bpy.app.binary_path, alone=True)
    if not chosen.python.strip():
        raise JobError("Expected a Python that has onestep3d, got none. Choose it in the add-on's preferences.")
    return commands.local_command(Path(bpy.path.abspath(chosen.python.strip())), idle_seconds, bpy.app.binary_path)


def generator_settings(context: bpy.types.Context, seed: int, steps: int) -> dict[str, Any]:
    """Return the settings of the view generator, as every job that uses it takes them.

    Args:
        context: any.
        seed: of its noise.
        steps: of its sampler.
    """
    chosen = of(context)
    return {"checkpoint": chosen.checkpoint, "device": chosen.device, "seed": seed, "steps": steps}


CLASSES = (ONESTEP3D_AP_preferences,)
