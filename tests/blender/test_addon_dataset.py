"""Objects of a scene as records, through the add-on in Blender without its window."""

from pathlib import Path

import numpy as np
import pytest

from distill_core.records.multi_view_record import read_record
from tests.blender.addon_process import run_addon
from tests.scripts.processes import allowed_seconds

pytestmark = pytest.mark.blender

# Two objects: a slab that is long along x, red above and green below, raised by its parent; a ball with a modifier.
SCENE = """
bpy.ops.wm.read_homefile(use_empty=True)
scene = bpy.context.scene

def material(name, colour):
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    made.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1)
    return made

bpy.ops.mesh.primitive_cube_add(size=1)
slab = bpy.context.object
slab.name, slab.scale = "A slab / of two", (4, 1, 0.5)
slab.data.materials.append(material("below", (0, 1, 0)))
slab.data.materials.append(material("above", (1, 0, 0)))
for face in slab.data.polygons:
    face.material_index = int(face.normal.z > 0.5)
parent = bpy.data.objects.new("parent", None)
scene.collection.objects.link(parent)
parent.location, parent.rotation_euler = (5, 5, 5), (0, 0, 1.5707963)
slab.parent = parent
bpy.ops.mesh.primitive_uv_sphere_add(location=(0, 3, 0), segments=12, ring_count=6)
ball = bpy.context.object
ball.name = "ball"
ball.data.materials.append(material("blue", (0, 0, 1)))
ball.modifiers.new("finer", "SUBSURF").levels = 1
bpy.ops.object.select_all(action="DESELECT")
chosen = scene.onestep3d_dataset
chosen.folder, chosen.rig, chosen.num_views, chosen.resolution = GIVEN["records"], "orbit", 4, 64
chosen.light, chosen.elevation_degrees = "none", 40
"""


def test_selected_objects_become_records(tmp_path: Path) -> None:
    found = run_addon(
        SCENE
        + """
found["may"] = bpy.ops.onestep3d.render_dataset.poll()
slab.select_set(True); ball.select_set(True); parent.select_set(True)
before = things()
assert bpy.ops.onestep3d.render_dataset() == {"FINISHED"}
found["unchanged"] = things() == before
found["kept"] = sorted(slab.keys()) == []
found["state"] = jobs.queue.jobs[-1].state
found["records"] = jobs.queue.jobs[-1].findings["records"]
# The same once more: older records are exchanged.
assert bpy.ops.onestep3d.render_dataset() == {"FINISHED"}
# What is no record is left alone.
(Path(GIVEN["records"]) / "ball.glb" / "transforms.json").unlink()
try:
    bpy.ops.onestep3d.render_dataset()
except RuntimeError as error:
    found["refused"] = str(error)
chosen.folder, asked = "/dev/null/records", len(jobs.queue.jobs)
try:
    bpy.ops.onestep3d.render_dataset()
except RuntimeError as error:
    found["no folder"] = str(error)
found["asked for nothing"] = len(jobs.queue.jobs) == asked
""",
        tmp_path,
        records=str(tmp_path / "records"),
    )
    assert found["may"] is False
    assert found["unchanged"]
    assert found["kept"]
    assert found["records"] == ["A_slab_of_two.glb", "ball.glb"]
    assert "cannot be written to /dev/null/records" in found["no folder"]
    assert found["asked for nothing"]
    assert "expected a new folder or an older record" in found["refused"].lower()
    slab = read_record(tmp_path / "records" / "A_slab_of_two.glb")
    assert len(slab) == 4
    masks = np.asarray(slab.pictures)[:, 3] > 0.5
    columns = [np.ptp(np.nonzero(mask.any(axis=0))[0]) for mask in masks]
    # The parent turns the slab: its length lies along y, across the pictures from +x and -x.
    assert min(columns[1], columns[3]) > 1.5 * max(columns[0], columns[2])
    picture, mask = np.asarray(slab.pictures[1]), masks[1]
    red, green, _ = (picture[channel] > 0.5 for channel in range(3))
    assert not (red & green & mask).any()
    # Seen from above, its top stands over its side.
    assert np.nonzero(red & mask)[0].mean() < np.nonzero(green & mask)[0].mean()


def test_a_record_through_blender_shows_what_the_fast_renderer_shows(tmp_path: Path) -> None:
    """The same slab under even light: the silhouettes agree but for the pixels at their edges."""
    found = run_addon(
        SCENE
        + """
slab.select_set(True)
for renderer in ("fast", "blender"):
    chosen.renderer, chosen.samples, chosen.folder = renderer, 4, GIVEN["records"] + "/" + renderer
    assert bpy.ops.onestep3d.render_dataset() == {"FINISHED"}, jobs.queue.jobs[-1].sentence
found["states"] = [job.state for job in jobs.queue.jobs]
""",
        tmp_path,
        records=str(tmp_path / "records"),
    )
    assert found["states"] == ["done", "done"]
    fast, real = (read_record(tmp_path / "records" / kind / "A_slab_of_two.glb") for kind in ("fast", "blender"))
    assert real.metadata["renderer"]["program"] == "Blender"
    for view in range(len(fast)):
        a, b = fast.pictures[view][3], real.pictures[view][3]
        assert np.abs(a - b).mean() < 0.01
        fast_depth, real_depth = fast.read_view(view).depth, real.read_view(view).depth
        assert fast_depth is not None
        assert real_depth is not None
        both = (fast_depth > 0) & (real_depth > 0)
        assert np.median(np.abs(fast_depth - real_depth)[both]) < 0.002  # steps of 0.001


@pytest.mark.parametrize("ended_by", ["cancel", "disable"])
def test_the_blender_that_exports_ends_with_its_job(tmp_path: Path, ended_by: str) -> None:
    """A thread that went on would keep Blender's module from ending."""
    found = run_addon(
        """
import tempfile
tempfile.tempdir = GIVEN["temporary"]
from bl_ext.user_default.onestep3d.dataset import model_capture
noted = Path(GIVEN["temporary"]) / "noted"
model_capture._blender = lambda: [
    sys.executable, "-c", f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
]
jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
bpy.data.objects["Cube"].select_set(True)
bpy.ops.onestep3d.render_dataset()
state = jobs.queue.jobs[-1]
ticks(lambda: noted.exists() and noted.read_text())
exporter = Path("/proc") / noted.read_text()
found["before"] = [state.state, exporter.exists()]
began = time.monotonic()
if GIVEN["ended_by"] == "cancel":
    jobs.cancel(state.number)
    found["state"] = state.state
    ticks(lambda: not exporter.exists(), 20)
else:
    addon_utils.disable("bl_ext.user_default.onestep3d")
found["gone"], found["seconds"] = not exporter.exists(), time.monotonic() - began
if GIVEN["ended_by"] == "disable":
    assert addon_utils.enable("bl_ext.user_default.onestep3d", default_set=True) is not None
""",
        tmp_path,
        ended_by=ended_by,
        temporary=str(tmp_path),
    )
    assert found["before"] == ["preparing", True]
    assert found.get("state", "cancelled") == "cancelled"
    assert found["gone"]
    assert found["seconds"] < allowed_seconds(3.0)
