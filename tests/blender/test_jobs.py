"""Whole jobs through the program: formats, kills, and models that mean harm."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.blender_kills import children, contents
from distill_core.records.multi_view_record import read_record
from renderers.blender.worker_process import worker_command
from tests.blender.shapes import box_and_balls, write_ply
from tests.scripts.processes import REPOSITORY, environment, start_program

pytestmark = pytest.mark.blender

PROGRAM = str(REPOSITORY / "scripts" / "render_dataset.py")
QUICK = ["--resolution", "48", "--samples", "2", "--num-views", "2", "--rig", "orbit", "--workers", "2"]
QUICK += ["--denoiser", "none", "--lighting", "uniform"]
PATIENCE_SECONDS = 500


def render(source: Path, output: Path, *options: str) -> tuple[int, str]:
    process = start_program([PROGRAM, str(source), "--output-dir", str(output), *options], errors_with_output=True)
    text, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, text


def report(output: Path) -> dict[str, dict]:
    return {thing["uid"]: thing for thing in json.loads((output / "report.json").read_text())["objects"]}


def linked(source: Path, folder: Path, *names: str) -> Path:
    """A folder with some of the models of another."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / Path(name).name).write_bytes((source / name).read_bytes())
    return folder


# --- formats ------------------------------------------------------------------------------------------------

# Different formats and ways to be coloured: a texture, colours per vertex, materials of an FBX.
THREE = ("market_taxi.glb", "ycb_025_mug.ply", "quaternius_Furniture_Chair.fbx")


def check_three(output: Path, *names: str) -> None:
    for name in names:
        record = read_record(output / name)
        pictures = np.asarray(record.pictures)
        covered = pictures[:, 3] > 0.5
        assert len(record) == 2
        # In frame, and some of it there: the unit ball touches the edges.
        assert 0.05 < covered.mean() < 0.8
        border = np.ones(covered.shape[1:], bool)
        border[1:-1, 1:-1] = False
        assert not (covered & border).any()
        # Coloured: not grey all over.
        colours = pictures[:, :3].transpose(0, 2, 3, 1)[covered]
        assert np.ptp(colours, axis=1).max() > 0.2, name
        np.testing.assert_array_equal(np.asarray(record.depth) > 0, np.abs(np.asarray(record.normals)).sum(axis=1) > 0)


def test_three_formats(shared_assets: Path, tmp_path: Path) -> None:
    source = linked(shared_assets / "mixed_formats", tmp_path / "source", *THREE)
    status, text = render(source, tmp_path / "out", *QUICK)
    assert status == 0, text
    check_three(tmp_path / "out", *THREE)
    assert (tmp_path / "out" / "contact_sheet.png").is_file()
    assert {thing["state"] for thing in report(tmp_path / "out").values()} == {"done"}
    mug, taxi = (read_record(tmp_path / "out" / name) for name in ("ycb_025_mug.ply", "market_taxi.glb"))
    # Upright: the mug is about as high as wide, the taxi longer than high.
    height, width = (np.ptp(axis) for axis in np.nonzero(taxi.pictures[0][3] > 0.5))
    assert height < 1.2 * width
    assert mug.metadata["renderer"]["program"] == "Blender"


def test_the_same_through_an_executable(installed_blender: str, shared_assets: Path, tmp_path: Path) -> None:
    source = linked(shared_assets / "mixed_formats", tmp_path / "source", *THREE, "ycb_013_apple_vertex_colours.glb")
    status, text = render(source, tmp_path / "out", *QUICK, "--blender", installed_blender)
    assert status == 0, text
    check_three(tmp_path / "out", *THREE, "ycb_013_apple_vertex_colours.glb")
    fox = linked(shared_assets / "mixed_formats", tmp_path / "fox", "Fox.glb")
    options = ["--frames", "3", "--clip", "Run", "--passes", "albedo", "object-index"]
    status, text = render(fox, tmp_path / "moving", *QUICK, *options, "--blender", installed_blender)
    assert status == 0, text
    record = read_record(tmp_path / "moving" / "Fox.glb")
    assert record.metadata["animation"] == {"clip": "Run", "seconds": pytest.approx(1.158, abs=0.01)}
    one, other = record.pictures[0], record.pictures[2]
    assert (np.abs(one - other).max(axis=0) > 0.2).sum() > 20


@pytest.mark.usefixtures("display")
def test_eevee_shows_what_cycles_shows(installed_blender: str, shared_assets: Path, tmp_path: Path) -> None:
    source = linked(shared_assets / "mixed_formats", tmp_path / "source", "market_taxi.glb")
    records = {}
    for engine in ("eevee", "cycles"):
        options = ["--engine", engine, "--samples", "32", "--denoiser", "none", "--blender", installed_blender]
        options += ["--num-views", "2", "--rig", "orbit", "--resolution", "128"]
        status, text = render(source, tmp_path / engine, *options)
        assert status == 0, text
        records[engine] = read_record(tmp_path / engine / "market_taxi.glb")
    for one, other in zip(records["eevee"].pictures, records["cycles"].pictures, strict=True):
        assert np.minimum(one[3], other[3]).sum() / np.maximum(one[3], other[3]).sum() > 0.97
        inside = (one[3] > 0.99) & (other[3] > 0.99)
        one, other = one[:3, inside], other[:3, inside]
        # EEVEE's shadows and mirrors are approximations, its base colours are not.
        hues = [colours / colours.max(axis=0) for colours in (one, other)]
        assert np.abs(hues[0] - hues[1]).mean() < 0.05
        # OpenGL in software (Mesa's llvmpipe) leaves stripes of a surface without light.
        assert np.quantile(np.abs(one - other), 0.25) < 0.05
        assert (one.max(axis=0) < other.max(axis=0) + 0.1).mean() > 0.9


# --- kills --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    for number in range(4):
        mesh = box_and_balls()
        mesh.apply_scale((1 + number, 1, 1))
        write_ply(mesh, folder / f"box_{number}.ply")
    return folder


@pytest.fixture(scope="module")
def undisturbed(boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    status, text = render(boxes, output, *QUICK)
    assert status == 0, text
    return contents(output)


@pytest.mark.parametrize("victim", ["worker", "supervisor", "group"])
def test_a_job_that_is_killed_goes_on(victim: str, boxes: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [PROGRAM, str(boxes), "--output-dir", str(output), *QUICK]
    with (tmp_path / "log").open("w") as log:
        # A group of its own, as a shell gives it, so that the tests survive its death.
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment(),
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not list(output.glob("*/transforms.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(float(np.random.default_rng().uniform(0, 0.5)))  # anywhere in the middle of the next ones
        first = {path: path.stat().st_mtime_ns for path in output.glob("*/transforms.json")}
        workers = children(process.pid)
        if victim == "worker":
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()
        else:
            (os.kill if victim == "supervisor" else os.killpg)(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_SECONDS)
    assert first
    end = time.monotonic() + 20  # the kernel ends the workers with their parent
    while any(Path(f"/proc/{worker}").is_dir() for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{worker}").is_dir() for worker in workers)
    for record in output.glob("[!.]*/"):
        read_record(record)  # whole, or not there
    status, text = render(boxes, output, *QUICK)
    assert status == 0, text
    assert contents(output) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in first} == first  # what was done was not done again
    assert not [entry for entry in output.iterdir() if entry.name.startswith(".") and entry.name != ".lock"]


def test_a_full_disk_ends_the_job_and_costs_no_model(boxes: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk in memory")
    try:
        status, text = render(boxes, disk / "out", *QUICK, "--resolution", "128")
        assert status == 2, text
        assert "0 MiB left" in text or "the disk is full" in text
        assert "left out" not in text
        assert "Traceback" not in text
        assert (
            not (disk / "out" / "journal.jsonl").exists() or "left out" not in (disk / "out/journal.jsonl").read_text()
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# --- hostile models -----------------------------------------------------------------------------------------


def blend_files(folder: Path, proof: Path) -> None:
    """A .blend whose script and driver write a file where they may, and one that unfolds to 10^14 faces."""
    program = f"""
import bpy, _bpy
write = "open({str(proof)!r}, 'a').write('ran')"
bpy.ops.wm.read_factory_settings()
text = bpy.data.texts.new("start.py")
text.write(write)
text.use_module = True
driver = bpy.data.objects["Cube"].driver_add("location", 0).driver
driver.type, driver.expression = "SCRIPTED", "__import__('builtins')." + write + " and 0"
bpy.ops.wm.save_as_mainfile(filepath={str(folder / "script.blend")!r})
bpy.ops.wm.open_mainfile(filepath={str(folder / "script.blend")!r}, use_scripts=True)
bpy.ops.wm.read_factory_settings()
for _ in range(2):
    bomb = bpy.data.objects["Cube"].modifiers.new("bomb", "SUBSURF")
    bomb.levels = bomb.render_levels = 11
# Not through bpy.ops, which would unfold it first.
_bpy.ops.call("wm.save_as_mainfile", {{"filepath": {str(folder / "bomb.blend")!r}}})
import os
import re
os._exit(0)
"""
    scratch = {"BLENDER_USER_RESOURCES": str(folder.parent / "blender_user")}
    python = worker_command(None)[0]
    subprocess.run([python, "-c", program], env=environment(**scratch), check=True, timeout=PATIENCE_SECONDS)


def test_hostile_models_cost_themselves_alone(shared_assets: Path, tmp_path: Path) -> None:
    bad = shared_assets / "bad_inputs"
    names = ["node_cycle.glb", "nan_vertices.glb", "no_faces.obj", "degenerate.obj"]
    names += ["missing_texture.obj", "missing_texture.mtl", "huge_and_far.obj"]
    source = linked(bad, tmp_path / "source", *names)
    proof = tmp_path / "proof"
    blend_files(source, proof)
    assert proof.exists()  # it does run where scripts are allowed
    proof.unlink()
    claim = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    )
    claim += "element face 100000000\nproperty list uchar int vertex_indices\nend_header\n"
    (source / "claims.ply").write_bytes(claim.encode() + bytes(36))
    depth = 200_000  # Blender's reader follows it until its stack ends
    (source / "crash.usda").write_text("#usda 1.0\n" + 'def Xform "a" {\n' * depth + "}" * depth)
    air = (bad.parent / "eval" / "cesium_air" / "Cesium_Air.dae").read_text()
    geometry = re.findall(r'<geometry id="([^"]+)"', air)
    assert geometry
    for name in geometry:
        air = air.replace(f'"{name}"', f'"{name} 1"').replace(f'"#{name}"', f'"#{name} 1"')
    (source / "spaces.dae").write_text(air)
    write_ply(box_and_balls(), source / "good.ply")
    limits = ["--time-limit-seconds", "60", "--memory-limit-gib", "2"]
    status, text = render(source, tmp_path / "out", *QUICK, *limits)
    assert status == 2, text
    assert "Traceback" not in text
    found = report(tmp_path / "out")
    done = {uid for uid, thing in found.items() if thing["state"] == "done"}
    assert done == {"good.ply", "script.blend", "missing_texture.obj", "huge_and_far.obj"}
    assert not proof.exists()
    for uid, expected in {
        "node_cycle.glb": "cycle",
        "nan_vertices.glb": "finite",
        "no_faces.obj": "no faces",
        "spaces.dae": "an id has spaces",
        "claims.ply": "incomplete",
        "crash.usda": "SIGSEGV",
    }.items():
        assert expected in found[uid]["reason"], found[uid]
    assert found["bomb.blend"]["reason"].endswith("twice.")
    textures = read_record(tmp_path / "out" / "missing_texture.obj").metadata["missing_textures"]
    assert textures == ["not_here.png"]
    # The same command again: nothing is tried a second time.
    began = time.monotonic()
    status, again = render(source, tmp_path / "out", *QUICK, *limits)
    assert status == 2, again
    assert report(tmp_path / "out") == found
    assert time.monotonic() - began < PATIENCE_SECONDS
