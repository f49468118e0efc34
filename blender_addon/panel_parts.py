"""Parts that several panels draw: a button that turns into Cancel, a sentence over several lines."""

import textwrap

import bpy

from . import jobs
from .queueing.job_requests import JobState

_LETTER_PX = 6.2
"""Mean width of a letter of the interface's font at scale 1."""
_MARGIN_PX, _BUTTON_PX = 60, 50
"""What stands beside a sentence: icon and margins; a button in a box, and its margins."""


class TurnsIntoCancel:
    """An operator whose button turns into Cancel while its job is on its way.

    A press right after it has turned back was meant for Cancel. The button is not greyed meanwhile: Blender would leave
    it grey for as long as the pointer stays on it.
    """

    def button(self) -> str:
        """What its jobs are found by."""
        return type(self).bl_idname

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Take a press of the button; scripts execute at once."""
        return {"CANCELLED"} if jobs.just_turned(self.button()) else self.execute(context)


def draw_start_button(layout: bpy.types.UILayout, idname: str, text: str, icon: str = "NONE") -> None:
    """Draw the button of a job; while one is on its way, its progress and Cancel; below, what went wrong with the last.

    Args:
        layout: to draw in.
        idname: of the operator.
        text: on the button.
        icon: beside the text.
    """
    state, column = jobs.active(idname), layout.column(align=True)
    row = column.row()
    row.scale_y = 1.4
    if state is not None:
        row.enabled = not state.cancelling
        row.operator("onestep3d.cancel_job", text="Cancel", icon="CANCEL").number = state.number
        column.progress(factor=state.factor, type="BAR", text=progress_text(state))
    else:
        row.operator(idname, text=text, icon=icon)
        state = jobs.last(idname)
    if state is not None and state.sentence:
        row = column.box().row()
        icon = "ERROR" if state.ended else "SORTTIME"
        wrapped_label(row.column(), state.sentence, bpy.context, icon, beside_px=_BUTTON_PX)
        if state.ended:
            row.operator("onestep3d.dismiss_job", text="", icon="X", emboss=False).number = state.number
        elif jobs.for_another_file(state):
            column.operator("onestep3d.apply_here").number = state.number


def draw_progress(layout: bpy.types.UILayout, state: JobState) -> None:
    """Draw in one row how far a job is, and what cancels it.

    Args:
        layout: to draw in.
        state: of a job that has not ended.
    """
    row = layout.row(align=True)
    row.progress(factor=state.factor, type="BAR", text=progress_text(state))
    button = row.row(align=True)
    button.enabled = not state.cancelling
    button.operator("onestep3d.cancel_job", text="", icon="CANCEL").number = state.number


def progress_text(state: JobState) -> str:
    """Return where a job stands, in a few words.

    Args:
        state: of a job that has not ended.
    """
    if state.cancelling:
        return "Cancelling"
    if state.state != "running":
        return {"preparing": "Reading files", "waiting": "Waiting", "held": "Waiting", "applying": "Adding"}.get(
            state.state, "Writing files"
        )
    steps = f" {state.step}/{state.total}" if state.total and state.total > 1 else ""
    left = "" if state.seconds_left is None else f", {duration(state.seconds_left)} left"
    return f"{state.stage.capitalize() or 'Running'}{steps}{left}"


def duration(seconds: float) -> str:
    """Return seconds as a person says them.

    Args:
        seconds: at least 0.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def wrapped_label(
    layout: bpy.types.UILayout, text: str, context: bpy.types.Context, icon: str = "NONE", beside_px: int = 0
) -> None:
    """Draw a sentence over as many lines as the region's width asks for.

    Args:
        layout: to draw in.
        text: the sentence.
        context: of the region.
        icon: beside the first line.
        beside_px: width of what is drawn beside the label, at scale 1.
    """
    width = context.region.width if context.region is not None else 300
    scale = context.preferences.system.ui_scale or 1.0  # zero where no window has been drawn yet
    letters = max(16, int((width / scale - _MARGIN_PX - beside_px) / _LETTER_PX))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, letters)):
        column.label(text=line, icon=icon if number == 0 else ("BLANK1" if icon != "NONE" else "NONE"))
