"""What the tab draws, asked of every panel: Blender prints the error of a panel and goes on without its buttons."""

from pathlib import Path

import pytest

from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

# A layout that Blender gives is there only while a window draws: this one writes down what it is asked for.
DRAWING = """
from types import SimpleNamespace
from bl_ext.user_default.onestep3d import environment_operators, panels
from bl_ext.user_default.onestep3d.dataset import dataset_operators
from bl_ext.user_default.onestep3d.splats import splat_operators
from bl_ext.user_default.onestep3d.texturing import texture_operators

class Layout:
    def __init__(self, drawn):
        self.__dict__["drawn"] = drawn
    def __setattr__(self, name, value):
        assert name in bpy.types.UILayout.bl_rna.properties, name
    def __getattr__(self, name):
        assert name in bpy.types.UILayout.bl_rna.functions, name
        def asked(*given, **named):
            unknown = set(named) - set(bpy.types.UILayout.bl_rna.functions[name].parameters.keys()) - {"text_ctxt"}
            assert not unknown, (name, unknown)
            if name == "prop":
                given[0].path_resolve(given[1])  # raises where there is no such property
            self.drawn.append((name, [entry for entry in given if isinstance(entry, str)], named.get("text", "")))
            if name == "operator":
                category, _, called = given[0].partition(".")
                properties = getattr(getattr(bpy.ops, category), called).get_rna_type().properties
                return SimpleNamespace(**{entry.identifier: None for entry in properties})
            return Layout(self.drawn)
        return asked

kinds = [
    kind for module in (panels, splat_operators, texture_operators, dataset_operators) for kind in module.CLASSES
    if issubclass(kind, bpy.types.Panel)
]
window = bpy.context.window_manager.windows[0]
area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
region = next(region for region in area.regions if region.type == "UI")

def drawn():
    '''What the tab shows now: buttons by operator, everything else by its text.'''
    calls = []
    with bpy.context.temp_override(window=window, area=area, region=region):
        for kind in kinds:
            if not hasattr(kind, "poll") or kind.poll(bpy.context):
                own = {name: value for name, value in vars(kind).items() if not name.startswith(("__", "bl_"))}
                panel = type(kind.__name__, (), own)()
                panel.layout = Layout(calls)
                panel.draw(bpy.context)
    return {
        "buttons": sorted({given[0] for name, given, _ in calls if name == "operator"}),
        "text": " ".join(text for name, _, text in calls if name in ("label", "progress")),
    }
"""


def test_every_panel_draws_in_every_state(shared_assets: Path, tmp_path: Path) -> None:
    found = run_addon(
        DRAWING
        + """
found["panels"] = len(kinds)
preferences.worker = "INSTALLED"
found["online"] = bpy.app.online_access
found["fresh"] = drawn()
try:
    bpy.ops.onestep3d.test_connection()
except RuntimeError:
    pass
found["asked in vain"] = drawn()
preferences.worker = "PYTHON"
found["another Python"] = drawn()
assert bpy.ops.onestep3d.test_connection() == {"FINISHED"}
found["connected"] = drawn()
jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
settings.picture_path, settings.num_views, settings.iterations, settings.max_splats = GIVEN["picture"], 4, 5, 500
bpy.ops.onestep3d.generate_views()
state = jobs.queue.jobs[-1]
ticks(lambda: state.state == "running")
found["running"] = drawn()
ticks(lambda: state.ended)
found["views"] = drawn()
settings.splats_from = "VIEWS"
found["from views"] = drawn()
settings.splats_from = "PICTURE"
bpy.ops.onestep3d.make_splats()
ticks(lambda: jobs.queue.jobs[-1].ended)
found["splats"] = drawn()
preferences.python = "/no/such/python"
bpy.ops.onestep3d.generate_views()
ticks(lambda: jobs.queue.jobs[-1].ended)
found["failed"] = drawn()
for source in ("IMAGE", "RENDER"):
    settings.source = source
    for rig in settings.bl_rna.properties["rig"].enum_items.keys():
        settings.rig = rig
        drawn()
scene.onestep3d_texture.guided_by = "PROMPT"
for rig in scene.onestep3d_dataset.bl_rna.properties["rig"].enum_items.keys():
    scene.onestep3d_dataset.rig = rig
    drawn()
bpy.context.view_layer.objects.active = None
found["nothing"] = drawn()
""",
        tmp_path,
        picture=str(shared_assets / "pictures" / "backpack.png"),
    )
    assert found["panels"] == 8
    assert not found["online"]
    fresh = found["fresh"]
    assert "onestep3d.install_worker" in fresh["buttons"]
    assert "not installed yet" in fresh["text"]
    assert "Online Access is off" in fresh["text"]
    assert "There is no worker yet" in found["asked in vain"]["text"]
    assert "onestep3d.install_worker" not in found["another Python"]["buttons"]
    assert "starts with the first job" in found["another Python"]["text"]
    assert "model small" in found["connected"]["text"]
    assert "onestep3d.stop_worker" in found["connected"]["buttons"]
    assert "onestep3d.cancel_job" in found["running"]["buttons"]
    assert "onestep3d.generate_views" not in found["running"]["buttons"]
    assert {"onestep3d.reseed_view", "onestep3d.keep_view"} <= set(found["views"]["buttons"])
    assert "Views of backpack: 5 of 5 kept" in found["from views"]["text"]
    assert "splats" in found["splats"]["text"]
    assert "Cannot start the worker /no/such/python" in found["failed"]["text"]
    assert "onestep3d.run_again" in found["failed"]["buttons"]
    assert "onestep3d.render_dataset" in found["nothing"]["buttons"]


def test_a_button_that_has_just_turned_takes_no_press(shared_assets: Path, tmp_path: Path) -> None:
    """The second of two clicks cancels nothing, and a Cancel that comes late begins nothing."""
    found = run_addon(
        """
import time
from types import SimpleNamespace
from bl_ext.user_default.onestep3d.job_operators import ONESTEP3D_OT_cancel_job
from bl_ext.user_default.onestep3d.views.view_operators import ONESTEP3D_OT_generate_views

def pressed(**which):
    # Without a window Blender executes what is pressed: what it would ask first is asked here.
    kind, button = ONESTEP3D_OT_generate_views, bpy.ops.onestep3d.generate_views
    if which:
        kind, button = ONESTEP3D_OT_cancel_job, bpy.ops.onestep3d.cancel_job
    operator = SimpleNamespace(execute=lambda context: button(**which), button=lambda: kind.bl_idname, **which)
    said = kind.invoke(operator, bpy.context, None)
    return [sorted(said), [state.state if state.ended else "goes on" for state in jobs.queue.jobs]]

jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
settings.picture_path, settings.num_views = GIVEN["picture"], 4
found["one"] = pressed()
found["two at once"] = pressed(number=jobs.queue.jobs[-1].number)
time.sleep(0.7)
found["later"] = pressed(number=jobs.queue.jobs[-1].number)
ticks(lambda: jobs.queue.jobs[-1].ended)
found["late"] = pressed()
time.sleep(0.7)
found["again"] = pressed()
jobs.cancel(jobs.queue.jobs[-1].number)
ticks(lambda: jobs.queue.jobs[-1].ended)
""",
        tmp_path,
        picture=str(shared_assets / "pictures" / "backpack.png"),
    )
    assert found["one"] == [["FINISHED"], ["goes on"]]
    assert found["two at once"] == [["CANCELLED"], ["goes on"]]
    assert found["later"][0] == ["FINISHED"]
    assert found["late"] == [["CANCELLED"], ["cancelled"]]
    assert found["again"] == [["FINISHED"], ["cancelled", "goes on"]]


def test_panels_draw_whatever_a_worker_says(tmp_path: Path) -> None:
    found = run_addon(
        DRAWING
        + """
jobs.queue.status = {"device": 5, "free_memory_bytes": 10**400, "checkpoint": [1]}
for warnings in (5, "text", [5, "A remark."], {"a": 1}, None, 10**400):
    request = JobRequest("status", "Strange", {}, {}, lambda folder, findings: iter(()))
    state = job_requests.JobState(1, request, "done", findings={"warnings": warnings, "elevation": 7})
    jobs.queue.jobs.append(state)
    found[str(warnings)[:10]] = drawn()["text"]
    jobs.queue.jobs.remove(state)
jobs.queue.status = {}
from types import SimpleNamespace
said = {"device": "cpu", "free_memory_bytes": 10**400}
jobs.queue._client = SimpleNamespace(alive=True, ready=True, kill=lambda: None)
jobs.queue.status = said
found["line"] = panels.worker_line(bpy.context)[0]
""",
        tmp_path,
    )
    assert "A remark." in found["[5, 'A rem"]
    assert found["line"] == "cpu, no model"
