"""Blender's pictures against closed forms and against the project's own renderer: cameras, depth, normals, outlines."""

from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import Camera, look_at, orbit_camera
from distill_core.records.multi_view_record import MultiViewRecord, RecordView
from renderers.blender.rigs import Rig
from renderers.blender.settings import DatasetSettings, RenderSettings
from renderers.blender.up_axis import CUSTOMARY_UP
from renderers.blender.worker_process import WorkerProcess
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import load_mesh, normalised
from tests.blender import tasks
from tests.blender.shapes import BALL_CENTRES, BALL_RADIUS, box_and_balls, write_ply

pytestmark = pytest.mark.blender

SETTINGS = DatasetSettings(render=RenderSettings(samples=16, denoiser="none", lighting="uniform"))


def cameras() -> list[Camera]:
    """Two common ones, and one with another width than height, pixels that are not square, off centre and rolled."""
    odd = Camera(144, 96, 170.0, 150.0, 60.5, 55.25, look_at((1.9, -1.6, 1.4), (0.05, 0.0, -0.1), up=(0.3, 0.1, 1.0)))
    return [orbit_camera(20, 25), orbit_camera(140, -10), odd]


def rendered(worker: WorkerProcess, model: Path, folder: Path) -> MultiViewRecord:
    return tasks.rendered(worker, model, Rig("test", "unit-ball", cameras()), SETTINGS, folder)[0]


def geometry(view: RecordView) -> tuple[np.ndarray, np.ndarray]:
    assert view.depth is not None
    assert view.normals is not None
    return view.depth, view.normals


@pytest.fixture(scope="module")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ply(box_and_balls(), tmp_path_factory.mktemp("model") / "box_and_balls.ply")


@pytest.fixture(scope="module")
def own_record(worker: WorkerProcess, own_model: Path, tmp_path_factory: pytest.TempPathFactory) -> MultiViewRecord:
    return rendered(worker, own_model, tmp_path_factory.mktemp("own"))


def test_a_known_vertex_lands_on_its_pixel(own_record: MultiViewRecord) -> None:
    """The centre of mass of a small ball's picture is where its centre projects."""
    matrix = np.array(own_record.metadata["source_to_object"])
    centres = BALL_CENTRES @ matrix[:3, :3].T + matrix[:3, 3]
    radius = BALL_RADIUS * matrix[0, 0]
    compared = 0
    for index, camera in enumerate(own_record.cameras):
        view = own_record.read_view(index)
        view_depth, _ = geometry(view)
        pixels, depth = camera.project(centres)
        rows, columns = np.indices(view.rgba.shape[1:]) + 0.5
        for (x, y), z in zip(pixels, depth, strict=True):
            near = np.hypot((columns - x) / camera.fx, (rows - y) / camera.fy) * z < 1.6 * radius
            at_its_depth = (view_depth == 0) | (np.abs(view_depth - z) < 1.5 * radius)
            if not at_its_depth[near].all():  # something else is there too
                continue
            weights = view.rgba[3] * near
            assert abs((weights * columns).sum() / weights.sum() - x) < 0.1
            assert abs((weights * rows).sum() / weights.sum() - y) < 0.1
            compared += 1
    assert compared >= 6


def test_a_point_of_one_view_lies_on_the_surface_in_another(own_record: MultiViewRecord) -> None:
    one, other = own_record.read_view(0), own_record.read_view(2)
    (one_depth, _), (other_depth, other_normals) = geometry(one), geometry(other)
    rows, columns = np.nonzero(one_depth)
    points = one.camera.unproject(np.stack([columns, rows], -1) + 0.5, one_depth[rows, columns])
    pixels, depth = other.camera.project(points)
    column, row = np.floor(pixels).astype(int).T
    inside = (row >= 0) & (row < other_depth.shape[0]) & (column >= 0) & (column < other_depth.shape[1])
    surface = np.where(inside, other_depth[row.clip(0, 95), column.clip(0, 143)], 0)
    seen = (surface > 0) & (depth < surface + 0.05)  # not behind something
    assert seen.sum() > 200
    # The radius is 1. A pixel is 0.02 of it here, so that the other view's own surface is off by up to half of that
    # times its slope; the distance to it along the view's own ray is compared at a point of its surface.
    there = other.camera.unproject(np.floor(pixels[seen]) + 0.5, surface[seen])
    normals = other_normals[:, row[seen], column[seen]].T
    off = np.abs(np.einsum("nd,nd->n", points[seen] - there, normals))
    assert np.median(off) < 0.003


def test_points_of_a_box_lie_in_its_faces(own_record: MultiViewRecord) -> None:
    """Depth is along the optical axis and through the middles of pixels, or planes would bend or be off."""
    matrix = np.array(own_record.metadata["source_to_object"])
    box = box_and_balls().split()[0]
    assert len(box.faces) == 12
    origins = box.triangles_center @ matrix[:3, :3].T + matrix[:3, 3]
    for index in range(len(own_record)):
        view = own_record.read_view(index)
        depth, _ = geometry(view)
        rows, columns = np.nonzero(depth)
        points = view.camera.unproject(np.stack([columns, rows], -1) + 0.5, depth[rows, columns])
        on_box = np.linalg.norm(points - origins.mean(axis=0), axis=1) < 0.65 * matrix[0, 0]
        from_faces = np.abs(np.einsum("nfd,fd->nf", points[:, None] - origins, box.face_normals)).min(axis=1)
        # Depth files have steps of 0.001.
        assert on_box.sum() > 300
        assert from_faces[on_box].max() < 0.0011


@pytest.mark.parametrize("name", ["own", "crane_Spot_full.glb", "market_taxi.glb", "hierarchy.glb", "Fox.glb"])
def test_cycles_agrees_with_the_fast_renderer(
    name: str, worker: WorkerProcess, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if name == "own":
        model, record = request.getfixturevalue("own_model"), request.getfixturevalue("own_record")
    else:
        model = request.getfixturevalue("shared_assets") / "mixed_formats" / name
        record = rendered(worker, model, tmp_path)
    prepared = prepare(normalised(load_mesh(model)))
    for index, camera in enumerate(record.cameras):
        view = record.read_view(index)
        depth, normals = geometry(view)
        fast = render_views(prepared, [camera], supersampling=4)
        alpha, fast_alpha = view.rgba[3], fast.colour[0, 3]
        overlap = np.minimum(alpha, fast_alpha).sum() / np.maximum(alpha, fast_alpha).sum()
        assert overlap >= 0.99, (index, overlap)
        both = (depth > 0) & (fast.depth[0] > 0)
        assert (both.sum() / ((depth > 0) | (fast.depth[0] > 0)).sum()) > 0.995
        off = np.abs(depth - fast.depth[0])[both]
        # The file's steps of 0.001; rays that graze an edge may meet either side of it.
        assert np.quantile(off, 0.98) < 0.001, (index, np.quantile(off, 0.98))
        cosine = np.einsum("chw,chw->hw", normals, fast.normals[0])[both].clip(-1, 1)
        degrees = np.degrees(np.arccos(cosine))
        # Eight bits a channel are 0.3 degrees; Blender keeps stored normals in 16 bits.
        assert np.median(degrees) < 0.4, (index, np.median(degrees))
        assert np.quantile(degrees, 0.97) < 2, (index, np.quantile(degrees, 0.97))


# Some of each format that both read. Of the .obj files the first has z up and the second y; nothing in them says so.
# Alpha of the last two's pictures cuts out propellers and leaves.
@pytest.mark.parametrize(
    "name",
    [
        *("mixed_formats/kaykit_oven/kaykit_oven.gltf", "mixed_formats/ycb_072_a_toy_airplane.glb"),
        *("mixed_formats/gso_Room_Essentials_Mug_White_Yellow/model.obj", "mixed_formats/spot_quads/spot.obj"),
        *("mixed_formats/ycb_025_mug.ply", "mixed_formats/ycb_048_hammer.stl", "texturing/featuretype.stl"),
        *("texturing/stanford_bunny.ply", "texturing/armadillo_16k.ply", "texturing/teapot.obj"),
        *("eval/fuze/fuze.obj", "eval/cesium_air/Cesium_Air.dae", "eval/plant/plant.obj"),
    ],
)
def test_files_of_every_format_stand_alike_in_both_renderers(
    name: str, worker: WorkerProcess, shared_assets: Path, tmp_path: Path
) -> None:
    model, camera = shared_assets / name, orbit_camera(30, 20, width=192, height=192)
    settings = DatasetSettings(render=RenderSettings(samples=8, denoiser="none", lighting="uniform"))
    record, answer = tasks.rendered(worker, model, Rig("test", "unit-ball", [camera]), settings, tmp_path)
    mesh = normalised(load_mesh(model))
    upward = "xyz"[np.abs(mesh.source_to_object[2, :3]).argmax()]
    assert answer["up_axis"] == (upward if model.suffix[1:] in CUSTOMARY_UP else None)
    np.testing.assert_allclose(answer["source_to_object"][0][0], mesh.source_to_object[:3, :3].max(), rtol=1e-5)
    alpha, fast_alpha = record.pictures[0][3], render_views(prepare(mesh), [camera], supersampling=4).colour[0, 3]
    overlap = np.minimum(alpha, fast_alpha).sum() / np.maximum(alpha, fast_alpha).sum()
    # Eight samples a pixel know its alpha to an eighth, and a plant is all edge.
    assert overlap >= 0.97, overlap
