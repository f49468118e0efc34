"""Buttons of the tab pressed with the pointer, in a real window."""

import sys
import time
from pathlib import Path

import pytest

from benchmarks.blender_window import BlenderWindow, built_extension
from distill_core.errors import UserError

pytestmark = pytest.mark.blender


def test_a_second_click_cancels_nothing_and_a_later_one_does(
    window_program: Path, shared_assets: Path, tmp_path: Path
) -> None:
    """The pointer stays where it is: Cancel comes under it, and must neither take the second click nor stay deaf."""
    window = BlenderWindow(window_program, "trixie", tmp_path / "state", "1280x900")
    try:
        window.install(built_extension(tmp_path))
    except (UserError, OSError) as error:
        pytest.skip(f"needs the Blender of blender_gui.sh: {error}")
    with window:
        window.run("area()[1].spaces.active.show_region_ui = True")
        window.run(
            "from bl_ext.user_default.onestep3d import jobs, preferences\n"
            "next(region for region in area()[1].regions if region.type == 'UI').active_panel_category = 'OneStep3D'\n"
            "chosen, settings = preferences.of(bpy.context), bpy.context.scene.onestep3d\n"
            f"chosen.worker, chosen.python, chosen.device = 'PYTHON', {sys.executable!r}, 'cpu'\n"
            f"chosen.results_folder = {str(tmp_path / 'results')!r}\n"
            f"settings.picture_path = {str(shared_assets / 'pictures' / 'backpack.png')!r}\n"
            "settings.steps = 500\n"
            "bpy.ops.onestep3d.test_connection()"
        )
        window.wait("jobs.queue.status", seconds=120)  # what Setup says stays as long as it is now
        x, y = window.find("bpy.ops.onestep3d.generate_views")
        window.click(x, y, times=2)
        time.sleep(2)
        assert window.value("[job.ended for job in jobs.queue.jobs]") == [False]
        window.click(x, y)
        window.wait("jobs.queue.jobs[0].ended", seconds=60)
        assert window.value("[job.state for job in jobs.queue.jobs]") == ["cancelled"]
