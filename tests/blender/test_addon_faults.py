"""Cancel at every stage, and workers that fail in every way: Blender stays free, the scene stays as it is."""

import sys
from pathlib import Path

import pytest

from tests.blender.addon_process import run_addon
from tests.scripts.processes import allowed_seconds

pytestmark = pytest.mark.blender

DATASET = """
bpy.ops.object.select_all(action="DESELECT")
for x in (0, 3):
    bpy.ops.mesh.primitive_monkey_add(location=(x, 0, 0))
for thing in bpy.data.objects:
    thing.select_set(thing.name.startswith("Suzanne"))
chosen = scene.onestep3d_dataset
chosen.folder, chosen.rig = GIVEN["results"] + "/records", "orbit"
"""

# What is pressed, what is chosen before, and stages that the job has to go through.
ASKED = {
    "views": ("generate_views", "", {"starting", "checkpoint", "picture", "views", "files"}),
    "splats of the picture": (
        "make_splats",
        "settings.iterations, settings.max_splats = 60, 1000",
        {"starting", "checkpoint", "picture", "views", "splats", "files"},
    ),
    "splats of kept views": (
        "make_splats",
        """
bpy.ops.onestep3d.generate_views()
ticks(lambda: jobs.queue.jobs[-1].ended)
settings.splats_from, settings.iterations, settings.max_splats = "VIEWS", 60, 1000
""",
        {"starting", "splats", "files"},
    ),
    "texture": (
        "texture_mesh",
        """
bpy.ops.mesh.primitive_monkey_add(calc_uvs=False)
chosen = scene.onestep3d_texture
chosen.texture_size, chosen.num_views, chosen.steps = "256", 4, 2
""",
        {"starting", "checkpoint", "picture", "views", "texture", "files"},
    ),
    "records by the fast renderer": (
        "render_dataset",
        DATASET + "chosen.renderer, chosen.num_views, chosen.resolution = 'fast', 4, 64",
        {"starting", "rendering", "files"},
    ),
    "records by Blender": (
        "render_dataset",
        DATASET + "chosen.renderer, chosen.samples, chosen.num_views, chosen.resolution = 'blender', 1, 2, 32",
        {"starting", "rendering", "files"},
    ),
}

CANCELLING = """
# Operators return at once, as they do where there is a window.
jobs.wait = lambda state: None
jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
settings.picture_path, settings.num_views = GIVEN["picture"], 4
exec(GIVEN["choice"])
press = getattr(bpy.ops.onestep3d, GIVEN["button"])
stages, cancel_at, cancelled_at = [], None, None
show = jobs.queue._show
def watched(state, event):
    global cancelled_at
    show(state, event)
    if state is not None and state.stage not in stages:
        stages.append(state.stage)
    if state is not None and state.stage == cancel_at and cancelled_at is None:
        cancelled_at = time.monotonic()
        jobs.cancel(state.number)
jobs.queue._show = watched
press()
ticks(lambda: jobs.queue.jobs[-1].ended)
found["whole"] = jobs.queue.jobs[-1].state
found["stages"] = list(stages)
before = things()
found["seconds"], found["states"], found["longest"] = {}, {}, 0.0
for stage in list(stages):
    cancel_at, cancelled_at = stage, None
    jobs.free_memory()  # so that the checkpoint is loaded anew
    press()
    state = jobs.queue.jobs[-1]
    ticks(lambda: state.ended)
    found["states"][stage] = [state.state, state.sentence]
    found["seconds"][stage] = time.monotonic() - cancelled_at
    assert things() == before, stage
    # Of what is kept elsewhere nothing is half there.
    assert not list(Path(GIVEN["results"]).glob("records/.*")), stage
cancel_at = None
press()
ticks(lambda: jobs.queue.jobs[-1].ended)
found["after"] = [jobs.queue.jobs[-1].state, jobs.queue.jobs[-1].sentence]
"""


@pytest.mark.parametrize("job", ASKED)
def test_cancel_at_each_stage_leaves_the_scene_and_the_next_job_works(
    job: str, shared_assets: Path, tmp_path: Path
) -> None:
    button, choice, expected = ASKED[job]
    picture = str(shared_assets / "pictures" / "backpack.png")
    found = run_addon(CANCELLING, tmp_path, picture=picture, button=button, choice=choice)
    assert found["whole"] == "done"
    assert expected <= set(found["stages"])
    assert set(found["states"]) == set(found["stages"])
    assert all(state == ["cancelled", ""] for state in found["states"].values()), found["states"]
    # Blender itself is never held up; the worker obeys within a step, or is ended after two seconds and buried.
    assert all(seconds < allowed_seconds(4.0) for seconds in found["seconds"].values()), found["seconds"]
    assert found["after"] == ["done", ""]


HELLO = """import json, os, sys, time
os.write(1, json.dumps(dict(kind="hello", protocol={protocol}, tasks=[])).encode() + b"\\n")
"""
RESULT = (
    HELLO.format(protocol=1)
    + """
job = json.loads(sys.stdin.readline())["job"]
files = {{name: json.dumps(content).encode() for name, content in {files}.items()}}
sent = [dict(name=name, bytes=len(content)) for name, content in files.items()]
head = json.dumps(dict(kind="result", job=job, findings={{}}, attachments=sent))
os.write(1, head.encode() + b"\\n" + b"".join(files.values()))
time.sleep(600)
"""
)
LENS = {"w": 8, "h": 8, "fl_x": 8.0, "fl_y": 8.0, "cx": 4.0, "cy": 4.0}
STANDS = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
FAULTS = {
    "no such Python": (None, "Cannot start the worker /no/such/python: No such file or directory. Choose"),
    "a Python without the project": ("import sys; sys.exit(1)", "ended with status 1. Its log says more"),
    "garbage": (HELLO.format(protocol=1) + "os.write(1, b'Loading\\n'); time.sleep(600)", "what is no message"),
    "another protocol": (HELLO.format(protocol=9) + "time.sleep(600)", "Update the older of the two."),
    "it hangs": (HELLO.format(protocol=1) + "time.sleep(600)", "no sign of life for 1 s and was ended. Run the job"),
    "it says nothing": ("import time; time.sleep(600)", "did not say hello within 2 s. See its log, or try again."),
    "kill -9": (HELLO.format(protocol=1) + "sys.stdin.readline(); os.kill(os.getpid(), 9)", "killed (SIGKILL)"),
    "a result without its files": (RESULT.format(files={}), "Expected views and their transforms.json from the worker"),
    "a camera that is none": (
        RESULT.format(files={"transforms.json": {"frames": [{"file_path": "views/000.png"}]}}),
        "Expected a camera with w, h,",
    ),
    "a picture elsewhere": (
        RESULT.format(files={"transforms.json": {"frames": [{"file_path": "../../../x.png"}]}}),
        "Expected pictures inside the result's folder",
    ),
    "a picture that is none": (
        RESULT.format(
            files={
                "transforms.json": {**LENS, "frames": [{"file_path": "transforms.json", "transform_matrix": STANDS}]}
            }
        ),
        "Expected a picture from the worker",
    ),
    "the memory is full": (
        HELLO.format(protocol=1)
        + "job = json.loads(sys.stdin.readline())['job']\n"
        + "said = dict(kind='error', job=job, cause='memory', what='A.', why='The memory is full.', what_to_do='Do.')\n"
        + "os.write(1, json.dumps(said).encode() + b'\\n'); time.sleep(600)",
        "The memory is full. Do.",
    ),
}


def test_what_is_wrong_with_a_worker_is_one_line_in_the_panel_and_the_scene_stays(
    shared_assets: Path, tmp_path: Path
) -> None:
    """One Blender meets one bad worker after another, then a good one."""
    workers = {}
    for place, (name, (program, _)) in enumerate(FAULTS.items()):
        file = tmp_path / f"worker{place}"
        if program is not None:
            file.write_text(f"#!{sys.executable} -SE\n{program}\n")
            file.chmod(0o755)
        workers[name] = str(file) if program is not None else "/no/such/python"
    found = run_addon(
        """
jobs.queue._patience = client.Patience(hello=2.0, silence=1.0, cancel=1.0, terminate=0.5)
settings.picture_path, settings.num_views = GIVEN["picture"], 4
before = things()
found["sentences"], found["reported"], found["problems"], found["seconds"] = {}, {}, {}, {}
for name, program in GIVEN["workers"].items():
    preferences.python = program
    began = time.monotonic()
    try:
        bpy.ops.onestep3d.generate_views()
    except RuntimeError as error:
        found["reported"][name] = str(error)
    found["seconds"][name] = time.monotonic() - began
    found["sentences"][name] = jobs.queue.jobs[-1].sentence
    ticks(lambda: jobs.queue.connection == "off" or jobs.queue.connection == "ready", 30)
    found["problems"][name] = jobs.queue.problem
    assert things() == before, name
preferences.python = GIVEN["python"]
jobs.queue._patience = client.Patience()
found["good"] = list(bpy.ops.onestep3d.generate_views())
found["problem"] = jobs.queue.problem
""",
        tmp_path,
        picture=str(shared_assets / "pictures" / "backpack.png"),
        workers=workers,
    )
    for name, (_, expected) in FAULTS.items():
        sentence = found["sentences"][name]
        assert expected in sentence, name
        assert len(sentence) < 500
        assert "\n" not in sentence
        assert sentence in found["reported"][name]
    assert (found["good"], found["problem"]) == (["FINISHED"], "")


def test_what_is_wrong_with_a_picture_is_said_as_a_person_says_it(tmp_path: Path) -> None:
    """Its name and what to do: not where the worker keeps it, nor what the worker's task is called."""
    from PIL import Image

    Image.new("RGB", (3, 3)).save(tmp_path / "three.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    found = run_addon(
        """
for name in ("three.png", "broken.png", "gone.png"):
    settings.picture_path = str(Path(GIVEN["pictures"]) / name)
    before = things()
    try:
        bpy.ops.onestep3d.generate_views()
    except RuntimeError:
        pass
    found[name] = [jobs.queue.jobs[-1].state, jobs.queue.jobs[-1].sentence, things() == before]
""",
        tmp_path,
        pictures=str(tmp_path),
    )
    assert found["three.png"][1].startswith("three.png: expected a picture of at least 16 x 16 pixels, got 3 x 3;")
    assert found["broken.png"][1].startswith("broken.png: expected a PNG picture, got a damaged")
    assert found["gone.png"][1].endswith("gone.png, which is not there. Choose it again.")
    for state, sentence, unchanged in found.values():
        assert (state, unchanged) == ("failed", True)
        assert "onestep3d-worker" not in sentence
        assert "image_to_views" not in sentence


def test_disabling_ends_the_job_and_the_worker_and_enabling_works_again(shared_assets: Path, tmp_path: Path) -> None:
    found = run_addon(
        """
jobs.start = lambda operator, request: jobs.submit(request) and {"FINISHED"}
settings.picture_path, settings.num_views = GIVEN["picture"], 4
bpy.ops.onestep3d.generate_views()
ticks(lambda: jobs.queue.jobs[-1].stage not in ("", "starting"))
process = jobs.queue._client._process
before = things()
addon_utils.disable("bl_ext.user_default.onestep3d")
found["worker ended"] = process.poll() is not None
found["scene as it was"] = things() == before
assert addon_utils.enable("bl_ext.user_default.onestep3d", default_set=True) is not None
found["jobs"] = len(jobs.queue.jobs)
bpy.ops.onestep3d.generate_views()
ticks(lambda: jobs.queue.jobs[-1].ended)
found["after"] = jobs.queue.jobs[-1].state
""",
        tmp_path,
        picture=str(shared_assets / "pictures" / "backpack.png"),
    )
    assert found == {"worker ended": True, "scene as it was": True, "jobs": 0, "after": "done"}
