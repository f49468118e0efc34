"""Passes beside colour and geometry, light from pictures, and what Cycles says of itself."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.ndimage import minimum_filter
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from distill_core.cameras import orbit_camera
from distill_core.pictures.srgb import linear_to_srgb
from distill_core.records.multi_view_record import MultiViewRecord
from renderers.blender.multilayer_exr import read_texts
from renderers.blender.passes import reported_seconds
from renderers.blender.rigs import Rig
from renderers.blender.settings import DatasetSettings, RenderSettings
from renderers.blender.supervisor import raw_to_record
from renderers.blender.tasks import worker_task
from renderers.blender.worker_process import WorkerProcess
from tests.blender.shapes import box_and_balls, write_ply
from tests.blender.tasks import answered, rendered

pytestmark = pytest.mark.blender

CAMERAS = [orbit_camera(azimuth, 15, width=128, height=128) for azimuth in (0, 90, 180, 270)]
RIG = Rig("test", "unit-ball", CAMERAS)
# Linear base colours; names are those of the file's nodes.
COLOURS = {"metal": (0.8, 0.1, 0.05), "clay": (0.1, 0.6, 0.2), "sign": (0.05, 0.2, 0.7)}


def three_things(path: Path) -> Path:
    """A mirror, something dull and something that is shown without light, side by side."""
    scene = trimesh.Scene()
    for place, (name, colour) in enumerate(COLOURS.items()):
        ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
        ball.apply_translation((1.2 * place, 0, 0))
        material = PBRMaterial(
            name=name,
            baseColorFactor=[*(round(255 * value) for value in colour), 255],
            metallicFactor=float(name == "metal"),
            roughnessFactor=0.1,
        )
        ball.visual = TextureVisuals(uv=np.zeros((len(ball.vertices), 2)), material=material)
        scene.add_geometry(ball, node_name=name, geom_name=name)
    content = scene.export(file_type="glb")
    assert isinstance(content, bytes)
    (length,) = struct.unpack_from("<I", content, 12)
    tree = json.loads(content[20 : 20 + length])
    tree["extensionsUsed"] = ["KHR_materials_unlit"]
    sign = next(material for material in tree["materials"] if material["name"] == "sign")
    sign["extensions"] = {"KHR_materials_unlit": {}}
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + content[20 + length :]
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
    return path


def test_albedo_is_the_base_colour_and_objects_are_told_apart(worker: WorkerProcess, tmp_path: Path) -> None:
    settings = DatasetSettings(render=RenderSettings(samples=16, denoiser="none", passes=("albedo", "object-index")))
    record, answer = rendered(worker, three_things(tmp_path / "three.glb"), RIG, settings, tmp_path)
    assert sorted(answer["objects"]) == sorted(COLOURS)
    seen = set()
    for index in range(len(record)):
        view = record.read_view(index)
        assert view.albedo is not None
        assert view.object_indices is not None
        assert view.depth is not None
        np.testing.assert_array_equal(view.object_indices > 0, view.depth > 0)
        # Edges of 16 samples: both count the same surface.
        assert np.abs(view.albedo[3] - view.rgba[3]).mean() < 0.01
        for number, name in enumerate(answer["objects"], 1):
            # Without its edges, where objects share pixels.
            inside: np.ndarray = minimum_filter(view.object_indices == number, 3)
            if inside.sum() < 100:
                continue
            seen.add(name)
            # trimesh writes factors of 8 bits, records pictures of 8 bits.
            expected = linear_to_srgb(np.round(np.array(COLOURS[name]) * 255) / 255)
            off = np.abs(view.albedo[:3, inside] - expected[:, None])
            assert off.max() < 1.5 / 255, name
            # Light does make a difference to what is no albedo.
            assert np.ptp(view.rgba[:3, inside], axis=1).max() > 0.1 or name == "sign"
    assert seen == set(COLOURS)


def test_cycles_states_its_seconds(worker: WorkerProcess, tmp_path: Path) -> None:
    model = write_ply(box_and_balls(), tmp_path / "box.ply")
    settings = DatasetSettings(render=RenderSettings(samples=64, denoiser="none", lighting="uniform"))
    _, answer = rendered(worker, model, RIG, settings, tmp_path)
    stated = read_texts(tmp_path / "raw" / "000.colour.exr")
    assert any(name.endswith("total_time") for name in stated), sorted(stated)
    around = answer["seconds"]["colours"] + answer["seconds"]["geometry"]
    # Rounded down to hundredths, eight times.
    assert 0.2 * around < reported_seconds(tmp_path / "raw") <= around + 0.08


# --- light from a picture -----------------------------------------------------------------------------------


def write_hdr(path: Path, light: np.ndarray) -> Path:
    """Radiance's format without compression: light [height, width], grey. From 2^-128 * mantissa / 256 a pixel."""
    mantissa, exponent = np.frexp(light)
    pixels = np.stack([np.floor(mantissa * 256)] * 3 + [np.where(light > 0, exponent + 128, 0)], -1).astype(np.uint8)
    height, width = light.shape
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n"
    path.write_bytes(header.encode() + pixels.tobytes())
    return path


def lit(worker: WorkerProcess, folder: Path, lights: list[dict]) -> MultiViewRecord:
    folder.mkdir()
    (folder / "raw").mkdir()
    ball = trimesh.creation.icosphere(subdivisions=4, radius=1)
    model = write_ply(ball, folder / "ball.ply")
    settings = DatasetSettings(render=RenderSettings(samples=32, denoiser="none"))
    task = worker_task(model, "ball", folder / "raw", RIG, settings, seed=1, threads=1) | {"lights": lights}
    assert answered(worker, task)["event"] == "done"
    return raw_to_record(folder / "raw", RIG, {}, settings)


def surroundings(path: Path, turn_degrees: float) -> list[dict]:
    return [{"kind": "picture", "path": str(path), "turn_degrees": turn_degrees, "strength": 1.0}]


def test_a_picture_of_even_light_is_even_light(worker: WorkerProcess, tmp_path: Path) -> None:
    picture = write_hdr(tmp_path / "even.hdr", np.ones((16, 32)))
    one = lit(worker, tmp_path / "picture", surroundings(picture, 77))
    other = lit(worker, tmp_path / "uniform", [{"kind": "uniform", "strength": 1.0}])
    for mine, expected in zip(one.pictures, other.pictures, strict=True):
        # The noise of 64 samples; in the mean it is gone.
        assert np.abs(mine - expected)[:3, 40:88, 40:88].mean() < 0.02
        assert mine[:3, 40:88, 40:88].mean() == pytest.approx(expected[:3, 40:88, 40:88].mean(), abs=0.005)


@pytest.mark.parametrize("turn_degrees", [0.0, 120.0])
def test_a_picture_lights_from_where_it_shows_light(turn_degrees: float, worker: WorkerProcess, tmp_path: Path) -> None:
    """One bright spot at a quarter of the picture's width: in Blender's equirectangular pictures that is +y."""
    light = np.zeros((32, 64))
    light[14:18, 14:18] = 60.0
    record = lit(worker, tmp_path / "spot", surroundings(write_hdr(tmp_path / "spot.hdr", light), turn_degrees))
    mean = np.zeros(3)
    assert record.normals is not None
    for picture, normals in zip(record.pictures, record.normals, strict=True):
        mean += (normals * picture[:3].mean(axis=0)).sum(axis=(1, 2))
    azimuth = np.degrees(np.arctan2(mean[1], mean[0]))
    assert abs((azimuth - (90 - turn_degrees) + 180) % 360 - 180) < 5
