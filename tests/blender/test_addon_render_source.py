"""The picture that is rendered from the scene's own camera leaves nothing behind."""

import re
import shutil
from pathlib import Path

import pytest

from tests.blender.addon_process import BLENDER_PYTHON, run_addon

pytestmark = pytest.mark.blender

# The render itself is Blender's; what happens while it runs is done by a handler of it.
DURING = """
from bl_ext.user_default.onestep3d.views import picture_rendering
scene.render.engine, scene.cycles.samples = "CYCLES", 1
scene.render.resolution_x = scene.render.resolution_y = 16
def scenes():
    return sorted(thing.name for thing in bpy.data.scenes)
def rendered(during):
    '''Render the picture as the panel does; `during` is called while the copy of the scene is there.'''
    pictures = []
    def once(*_):
        found.setdefault("during", []).append(scenes())
        during()
    bpy.app.handlers.render_post.append(once)
    class Said:
        def report(self, kind, sentence):
            found["said"] = sentence
    def then(_, content):
        pictures.append(content)
        return {"FINISHED"}
    try:
        found["returned"] = sorted(picture_rendering.render_picture(Said(), bpy.context, then))
    finally:
        bpy.app.handlers.render_post.remove(once)
    found["pictures"] = len(pictures)
"""


def test_undo_and_a_saved_file_do_not_bring_the_copy_back(tmp_path: Path) -> None:
    found = run_addon(
        DURING
        + """
os.makedirs(GIVEN["results"])
file = GIVEN["results"] + "/during.blend"
bpy.ops.ed.undo_push(message="before")
def meanwhile():
    bpy.data.scenes["Scene (OneStep3D)"].use_fake_user = True  # as a window that shows it does: else no file holds it
    bpy.ops.ed.undo_push(message="a person's")
    bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)
rendered(meanwhile)
found["after"] = scenes()
bpy.context.scene.cursor.location.x = 3.0
bpy.ops.ed.undo_push(message="later")
bpy.ops.ed.undo()
found["undone"] = scenes()
bpy.ops.ed.undo()
found["undone twice"] = scenes()
bpy.ops.ed.redo()
found["redone"] = scenes()
with bpy.data.libraries.load(file) as (there, here):
    found["saved"] = sorted(there.scenes)
bpy.ops.wm.open_mainfile(filepath=file)
found["loaded"] = scenes()
""",
        tmp_path,
    )
    assert found["pictures"] == 1
    # The handler saw the copy, and so did the step of undo and the file.
    assert found["during"] == [["Scene", "Scene (OneStep3D)"]]
    assert found["saved"] == ["Scene", "Scene (OneStep3D)"]
    for when in ("after", "undone", "undone twice", "redone", "loaded"):
        assert found[when] == ["Scene"], when


def test_a_colour_configuration_without_standard_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender's own, in which a studio has given that view transform another name."""
    datafiles = BLENDER_PYTHON.parents[1].glob("lib/python*/site-packages/bpy/*/datafiles/colormanagement")
    own = next(datafiles, None)
    if own is None:
        pytest.skip("needs Blender's Python module: make setup-blender")
    shutil.copytree(own, tmp_path / "colours")
    config = tmp_path / "colours" / "config.ocio"
    config.write_text(
        re.sub(r"\bname: Standard\b", "name: Studio", config.read_text()).replace("[Standard,", "[Studio,")
    )
    monkeypatch.setenv("OCIO", str(config))
    found = run_addon(
        DURING
        + """
rendered(lambda: None)
found["after"] = scenes()
""",
        tmp_path,
    )
    assert found["returned"] == ["CANCELLED"]
    assert found["pictures"] == 0
    assert found["said"].startswith("Expected a colour configuration (OCIO) with the view transform Standard")
    assert found["after"] == ["Scene"]
