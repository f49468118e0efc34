"""Import and Export of splats as a person calls them: from any mode, under any name."""

from pathlib import Path

import numpy as np
import pytest

from gs_integration.formats.arrays import SplatArrays
from gs_integration.formats.by_ending import Writing, write_splat_file
from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender


@pytest.fixture
def splats(tmp_path: Path) -> str:
    values = np.random.default_rng(0).random((20, 3), np.float32)
    cloud = SplatArrays(
        means=values,
        quaternions_wxyz=np.tile(np.array([1, 0, 0, 0], np.float32), (20, 1)),
        log_scales=values - 4,
        opacity_logits=values[:, 0],
        harmonics=values[:, None],
        axes="z-up",
    )
    write_splat_file(tmp_path / "splats.ply", cloud, Writing("z-up"))
    return str(tmp_path / "splats.ply")


def test_import_leaves_edit_mode_first(splats: str, tmp_path: Path) -> None:
    """Else the splats are active while another object is edited, and no check of the mode sees it."""
    found = run_addon(
        """
cube = bpy.data.objects["Cube"]
bpy.context.view_layer.objects.active = cube
for mode in ("EDIT", "SCULPT"):
    bpy.ops.object.mode_set(mode=mode)
    assert bpy.ops.onestep3d.import_splats(filepath=GIVEN["file"]) == {"FINISHED"}
    found[mode] = [cube.mode, bpy.context.mode, bpy.context.view_layer.objects.active.name]
    bpy.context.view_layer.objects.active = cube
# A file that cannot be read changes nothing.
bpy.ops.object.mode_set(mode="EDIT")
try:
    bpy.ops.onestep3d.import_splats(filepath=GIVEN["file"] + ".missing.ply")
except RuntimeError:
    found["missing"] = cube.mode
bpy.ops.object.mode_set(mode="OBJECT")
""",
        tmp_path,
        file=splats,
    )
    assert found["EDIT"] == ["OBJECT", "OBJECT", "splats"]
    assert found["SCULPT"] == ["OBJECT", "OBJECT", "splats.001"]
    assert found["missing"] == "EDIT"


def test_the_name_that_is_shown_is_the_one_that_is_written(splats: str, tmp_path: Path) -> None:
    """A point in a name is no ending; what the file browser shows after a choice of format is what comes out."""
    found = run_addon(
        """
from types import SimpleNamespace
from bl_ext.user_default.onestep3d.splats.splat_operators import ONESTEP3D_OT_export_splats as Export
bpy.ops.onestep3d.import_splats(filepath=GIVEN["file"])
folder = Path(GIVEN["results"])
folder.mkdir()
for name, ending in GIVEN["cases"]:
    shown = SimpleNamespace(filepath=str(folder / name), format=ending)
    changed = Export.check(shown, bpy.context)
    again = Export.check(shown, bpy.context)
    assert bpy.ops.onestep3d.export_splats(filepath=shown.filepath, format=ending) == {"FINISHED"}
    (written,) = folder.iterdir()
    found[f"{name} as {ending}"] = [Path(shown.filepath).name, written.name, changed, again]
    written.unlink()
# A script's name with a point gets the same ending.
assert bpy.ops.onestep3d.export_splats(filepath=str(folder / "chair.v2"), format="ply") == {"FINISHED"}
found["by script"] = [file.name for file in folder.iterdir()]
""",
        tmp_path,
        file=splats,
        cases=[
            ("chair", "ply"),
            ("chair.v2", "ply"),
            ("chair.v2.ply", "spz"),
            ("chair.PLY", "ply"),
            ("chair.spz", "splat"),
        ],
    )
    assert found["chair as ply"] == ["chair.ply", "chair.ply", True, False]
    assert found["chair.v2 as ply"] == ["chair.v2.ply", "chair.v2.ply", True, False]
    assert found["chair.v2.ply as spz"] == ["chair.v2.spz", "chair.v2.spz", True, False]
    assert found["chair.PLY as ply"] == ["chair.PLY", "chair.PLY", False, False]
    assert found["chair.spz as splat"] == ["chair.splat", "chair.splat", True, False]
    assert found["by script"] == ["chair.v2.ply"]
