"""Results arrive where they were asked for, whatever the person does meanwhile: modes, scenes, files, undo, a queue."""

from pathlib import Path

import pytest

from tests.blender.addon_process import run_addon

pytestmark = pytest.mark.blender

# Operators return at once, as they do where there is a window; one warm worker does all jobs.
AT_ONCE = """
jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
settings.picture_path, settings.num_views = GIVEN["picture"], 4
def press():
    bpy.ops.onestep3d.generate_views()
    return jobs.queue.jobs[-1]
def done(state):
    ticks(lambda: state.ended)
    ticks(lambda: not jobs._finished)
    return [state.state, state.sentence]
def running(state):
    ticks(lambda: state.state == "running")
def collections(scene):
    return sorted(collection.name for collection in scene.collection.children)
"""


@pytest.fixture
def picture(shared_assets: Path) -> str:
    return str(shared_assets / "pictures" / "backpack.png")


def test_a_result_waits_for_object_mode(picture: str, tmp_path: Path) -> None:
    found = run_addon(
        AT_ONCE
        + """
cube = bpy.data.objects["Cube"]
bpy.context.view_layer.objects.active = cube
bpy.ops.object.mode_set(mode="EDIT")
before = things()
state = press()
ticks(lambda: state.state == "held" and state.sentence)
found["held"] = state.sentence
found["as before"] = things() == before
bpy.ops.object.mode_set(mode="OBJECT")
found["then"] = done(state)
found["collections"] = collections(scene)
""",
        tmp_path,
        picture=picture,
    )
    assert "Object Mode" in found["held"]
    assert found["as before"]
    assert found["then"] == ["done", ""]
    assert found["collections"] == ["Collection", "Views of backpack"]


def test_a_step_of_undo_that_fails_costs_no_job(picture: str, tmp_path: Path) -> None:
    """The timer that drives the jobs lives on, and a file that is opened gets no step of the one before."""
    found = run_addon(
        AT_ONCE
        + """
plain = jobs._push_undo
def refuse(state):
    raise RuntimeError("Operator bpy.ops.ed.undo_push.poll() failed, context is incorrect")
jobs._push_undo = refuse
found["first"] = done(press())
jobs._push_undo = plain
found["second"] = done(press())
found["log"] = [line for line in jobs.log_lines() if "undo_push" in line]
jobs._finished.append(jobs.queue.jobs[-1])
bpy.ops.wm.read_homefile(use_empty=True)
found["left"] = len(jobs._finished)
""",
        tmp_path,
        picture=picture,
    )
    assert found["first"] == found["second"] == ["done", ""]
    assert len(found["log"]) == 1
    assert found["left"] == 0


def test_results_go_to_the_scene_they_were_asked_in(picture: str, tmp_path: Path) -> None:
    found = run_addon(
        AT_ONCE
        + """
other = bpy.data.scenes.new("Other")
other.onestep3d.picture_path, other.onestep3d.num_views = GIVEN["picture"], 4
state = press()
running(state)
bpy.context.window.scene = other
found["first"] = done(state)
found["of first"], found["of other"] = collections(scene), collections(other)
found["chosen"] = [scene.onestep3d.views is not None, other.onestep3d.views is not None]
state = press()
running(state)
bpy.context.window.scene = scene
bpy.data.scenes.remove(other)
before = things()
found["gone"] = done(state)
found["as before"] = things() == before
""",
        tmp_path,
        picture=picture,
    )
    assert found["first"] == ["done", ""]
    assert found["of first"] == ["Collection", "Views of backpack"]
    assert found["of other"] == []
    assert found["chosen"] == [True, False]
    assert found["gone"][0] == "failed"
    assert "The scene Other is gone" in found["gone"][1]
    assert found["as before"]


def test_the_same_file_read_again_gets_its_result_and_another_file_only_when_asked(
    picture: str, tmp_path: Path
) -> None:
    found = run_addon(
        AT_ONCE
        + """
here, there = (GIVEN["results"] + name for name in ("/here.blend", "/there.blend"))
os.makedirs(GIVEN["results"])
bpy.ops.wm.save_as_mainfile(filepath=there, copy=True)
bpy.ops.wm.save_as_mainfile(filepath=here)
state = press()
running(state)
bpy.ops.wm.save_mainfile()
bpy.ops.wm.open_mainfile(filepath=here)
found["reloaded"] = done(state)
found["after reload"] = collections(bpy.context.scene)
state = press()
running(state)
bpy.ops.wm.open_mainfile(filepath=there)
ticks(lambda: state.state == "held" and state.sentence)
found["held"] = state.sentence
found["elsewhere"] = collections(bpy.context.scene)
bpy.ops.onestep3d.apply_here(number=state.number)
found["applied"] = done(state)
found["then"] = collections(bpy.context.scene)
bpy.ops.wm.open_mainfile(filepath=here)
state = press()
running(state)
bpy.ops.wm.save_as_mainfile(filepath=GIVEN["results"] + "/renamed.blend")
bpy.ops.wm.open_mainfile(filepath=there)
ticks(lambda: state.state == "held" and state.sentence)
found["button is free"] = jobs.active(state.request.button) is None
bpy.ops.wm.open_mainfile(filepath=GIVEN["results"] + "/renamed.blend")
found["renamed"] = done(state)
found["after renaming"] = collections(bpy.context.scene)
""",
        tmp_path,
        picture=picture,
    )
    assert found["button is free"]
    assert found["renamed"] == ["done", ""]
    assert found["after renaming"] == ["Collection", "Views of backpack"]
    assert found["reloaded"] == found["applied"] == ["done", ""]
    assert found["after reload"] == found["then"] == ["Collection", "Views of backpack"]
    assert "no longer open" in found["held"]
    assert found["elsewhere"] == ["Collection"]


def test_a_result_is_one_step_of_undo(picture: str, tmp_path: Path) -> None:
    found = run_addon(
        AT_ONCE
        + """
bpy.ops.ed.undo_push(message="before")
before = things()
state = press()
found["first"] = done(state)
found["changed"] = things() != before
after = things()
bpy.ops.ed.undo()
found["undone"] = things() == before
bpy.ops.ed.redo()
found["redone"] = things() == after
# A job that runs while the person undoes: the scene that it was asked in is another object by then, of the same number.
bpy.context.scene.cursor.location.x = 3.0
bpy.ops.ed.undo_push(message="a person's")
state = press()
running(state)
bpy.ops.ed.undo()
found["second"] = done(state)
found["collections"] = collections(bpy.context.scene)
bpy.ops.ed.undo()
found["second undone"] = things() == after
""",
        tmp_path,
        picture=picture,
    )
    assert found["first"] == found["second"] == ["done", ""]
    assert found["changed"]
    assert found["undone"]
    assert found["redone"]
    assert found["collections"] == ["Collection", "Views of backpack", "Views of backpack.001"]
    assert found["second undone"]


def test_several_jobs_wait_in_a_queue(picture: str, tmp_path: Path) -> None:
    found = run_addon(
        AT_ONCE
        + """
states = []
for seed in (3, 4, 5):
    settings.seed = seed
    states.append(press())
ticks(lambda: states[0].state == "running")
found["waiting"] = [state.state in ("waiting", "preparing") for state in states[1:]]
bpy.ops.onestep3d.cancel_job(number=states[1].number)
found["cancelled at once"] = states[1].state
found["ends"] = [done(state)[0] for state in states]
found["seeds"] = [camera.onestep3d_view.seed for camera in bpy.data.objects if camera.onestep3d_view.is_source]
bpy.ops.onestep3d.run_again(number=states[0].number)
found["again"] = done(jobs.queue.jobs[-1])
views = sorted(file.name for file in (states[0].folder / "results" / "views").iterdir())
found["same"] = all(
    (states[0].folder / "results" / "views" / name).read_bytes()
    == (jobs.queue.jobs[-1].folder / "results" / "views" / name).read_bytes()
    for name in views
)
for state in list(jobs.queue.jobs):
    bpy.ops.onestep3d.dismiss_job(number=state.number)
found["left"] = len(jobs.queue.jobs)
""",
        tmp_path,
        picture=picture,
    )
    assert found["waiting"] == [True, True]
    assert found["cancelled at once"] == "cancelled"
    assert found["ends"] == ["done", "cancelled", "done"]
    assert sorted(found["seeds"]) == [3, 5]
    assert found["again"] == ["done", ""]
    assert found["same"]
    assert found["left"] == 0


STEPS = """
made = []
def submitted(count, **more):
    # A job of the worker's whose result is applied in so many steps, as slow as those of 200,000 splats.
    target = bpy.context.scene
    from bl_ext.user_default.onestep3d.references import Reference
    reference = Reference.of(target)
    def apply(folder, findings):
        for step in range(count):
            time.sleep(0.004)
            yield
        found = reference.found()
        if found is None:
            raise job_requests.JobError("The scene is gone.")
        found["made"] = found.get("made", 0) + 1
    return jobs.submit(JobRequest("status", "Steps", {}, {}, apply, **more))
"""


def test_a_result_half_applied_never_lands_in_another_file(tmp_path: Path) -> None:
    found = run_addon(
        STEPS
        + """
here, there = (GIVEN["results"] + name for name in ("/here.blend", "/there.blend"))
os.makedirs(GIVEN["results"])
bpy.ops.wm.save_as_mainfile(filepath=there, copy=True)
bpy.ops.wm.save_as_mainfile(filepath=here)
state = submitted(60)
ticks(lambda: state.state == "applying")
bpy.ops.wm.open_mainfile(filepath=there)
ticks(lambda: state.state == "held" and state.sentence)
found["held"], found["elsewhere"] = state.sentence, bpy.context.scene.get("made")
bpy.ops.wm.open_mainfile(filepath=there)  # again: it is another file still
for _ in range(20):
    jobs.tick()
found["still"] = state.state
bpy.ops.onestep3d.apply_here(number=state.number)
ticks(lambda: state.state == "applying")
bpy.ops.wm.open_mainfile(filepath=there)
ticks(lambda: state.ended)
found["then"], found["made"] = state.state, bpy.context.scene.get("made")
# What changes nothing in the scene is done whatever is open.
copying = submitted(60, changes_scene=False)
ticks(lambda: copying.state == "running")
bpy.ops.wm.open_mainfile(filepath=here)
bpy.ops.object.mode_set(mode="EDIT")
ticks(lambda: copying.ended)
found["copied"] = [copying.state, bpy.context.mode]
""",
        tmp_path,
    )
    assert "no longer open" in found["held"]
    assert found["elsewhere"] is None
    assert found["still"] == "held"
    assert (found["then"], found["made"]) == ("done", 1)
    assert found["copied"] == ["done", "EDIT_MESH"]


def test_edit_mode_between_two_steps_is_waited_for_in_every_window(tmp_path: Path) -> None:
    found = run_addon(
        STEPS
        + """
bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
state = submitted(60)
ticks(lambda: state.state == "applying")
bpy.ops.object.mode_set(mode="EDIT")
ticks(lambda: state.sentence)
for _ in range(80):
    jobs.tick()
found["waits"], found["half"] = [state.state, state.sentence], scene.get("made")
bpy.ops.object.mode_set(mode="OBJECT")
ticks(lambda: state.ended)
found["then"] = [state.state, scene.get("made")]
# Another window: of another scene, in which something is edited.
from types import SimpleNamespace
class Manager:
    def __init__(self, *windows):
        self.windows = windows
def window(mode, *modal):
    active = SimpleNamespace(mode=mode)
    operators = [SimpleNamespace(bl_idname=idname) for idname in modal]
    layer = SimpleNamespace(objects=SimpleNamespace(active=active))
    return SimpleNamespace(view_layer=layer, modal_operators=operators)
class Bpy:
    app, data = bpy.app, bpy.data
    def __init__(self, *windows):
        self.context = SimpleNamespace(
            window_manager=Manager(*windows), mode=bpy.context.mode, view_layer=bpy.context.view_layer
        )
reasons = {}
try:
    for name, second in {
        "edited": window("EDIT"), "moved": window("OBJECT", "TRANSFORM_OT_translate"), "idle": window("OBJECT")
    }.items():
        jobs.bpy = Bpy(window("OBJECT"), second)
        reasons[name] = jobs._hold(state)
finally:
    jobs.bpy = bpy
found["reasons"] = reasons
""",
        tmp_path,
    )
    assert found["waits"][0] == "applying"
    assert "Object Mode" in found["waits"][1]
    assert found["half"] is None
    assert found["then"] == ["done", 1]
    assert "Object Mode" in found["reasons"]["edited"]
    assert "move, turn or scaling" in found["reasons"]["moved"]
    assert found["reasons"]["idle"] == ""


def test_another_thing_of_the_same_name_is_another(tmp_path: Path) -> None:
    found = run_addon(
        """
from bl_ext.user_default.onestep3d.references import Reference
os.makedirs(GIVEN["results"])
cube = Reference.of(bpy.data.objects["Cube"])
found["there"] = cube.found() is bpy.data.objects["Cube"]
bpy.data.objects["Cube"].name = "Renamed"
found["renamed"] = cube.found().name
bpy.data.objects["Renamed"].name = "Cube"
bpy.ops.wm.save_as_mainfile(filepath=GIVEN["results"] + "/here.blend")
bpy.data.objects.remove(bpy.data.objects["Cube"])
bpy.ops.mesh.primitive_cube_add()
found["another"] = [bpy.context.object.name, cube.found() is None]
bpy.ops.wm.open_mainfile(filepath=GIVEN["results"] + "/here.blend")
found["read again"] = cube.found() is bpy.data.objects["Cube"]
""",
        tmp_path,
    )
    assert found == {"there": True, "renamed": "Renamed", "another": ["Cube", True], "read again": True}
