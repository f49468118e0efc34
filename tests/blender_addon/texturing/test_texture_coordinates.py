"""A mesh to the worker and its new coordinates back: against the project's own reader, unwrapper and writer."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import trimesh

from renderers.mesh_saving import save_glb, wearing
from renderers.meshes import load_mesh
from renderers.texture_space.unwrapping import ready_for_texturing


@pytest.fixture(scope="module")
def modules(client_module: ModuleType) -> tuple[ModuleType, ModuleType, ModuleType]:
    names = ("texturing.mesh_export", "texturing.texture_coordinates", "queueing.job_queue")
    export, coordinates, queue = (importlib.import_module(f"onestep3d_addon.{name}") for name in names)
    return export, coordinates, queue


# Of a box, counter-clockwise seen from outside; corner i of the box is at the signs of its three bits.
BOX_SIDES = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]


def box_of_quads() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A box whose sides are cut into two triangles: corners [12, 3, 3], loops, faces."""
    places = np.array([[bit & 1, bit >> 1 & 1, bit >> 2 & 1] for bit in range(8)], np.float32) * 0.5 - 0.25
    loops = np.array([[4 * side + corner for corner in half] for side in range(6) for half in ((0, 1, 2), (0, 2, 3))])
    return places[np.array(BOX_SIDES).ravel()[loops]], loops, np.repeat(np.arange(6), 2)


def captured(export: ModuleType, corners: np.ndarray, loops: np.ndarray, polygons: np.ndarray, uvs: Any = None) -> Any:
    return export.CapturedMesh(
        name="thing",
        corners=corners.astype(np.float32),
        loops=loops,
        polygons=polygons,
        num_loops=int(loops.max()) + 1,
        uvs=uvs,
        uv_layer="" if uvs is None else "UVMap",
        layer_is_own=uvs is not None,
        world_to_unit=np.eye(4),
        reshaped=False,
    )


def apart(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners with loops of their own and a face each."""
    return corners, np.arange(3 * len(corners)).reshape(-1, 3), np.arange(len(corners))


def textured(
    export: ModuleType, thing: Any, folder: Path
) -> tuple[Path, dict[tuple[tuple[float, ...], ...], np.ndarray]]:
    """The file that the pipeline writes of a mesh without coordinates, and its coordinates by face and corner."""
    sent = load_mesh(export.glb_of(thing), file_type="glb", name="thing")
    mesh = ready_for_texturing(sent, texture_size=256).mesh
    save_glb(wearing(mesh, np.zeros((3, 256, 256), np.float32)), folder / "textured.glb")
    by_corner: dict[tuple[tuple[float, ...], ...], np.ndarray] = {}
    for face, uvs in zip(mesh.vertices[mesh.faces], mesh.corner_uvs, strict=True):
        for corner in range(3):
            by_corner[key(face, corner)] = uvs[corner]
    return folder / "textured.glb", by_corner


def key(face: np.ndarray, corner: int) -> tuple[tuple[float, ...], ...]:
    """A corner of a face by where both lie, whichever way round the face is wound."""
    rounded = np.round(face.astype(np.float64), 4) + 0.0
    places = [tuple(place) for place in rounded.tolist()]
    return (*sorted(places), places[corner])


def test_the_project_reads_what_was_captured(modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    export = modules[0]
    random = np.random.default_rng(0)
    corners = random.uniform(-1, 1, (20, 3, 3)).astype(np.float32)
    uvs = random.uniform(0, 1, (20, 3, 2)).astype(np.float32)
    thing = captured(export, *apart(corners), uvs=uvs)
    mesh = load_mesh(export.glb_of(thing), file_type="glb", name="thing")
    np.testing.assert_allclose(mesh.vertices[mesh.faces], corners, atol=1e-7)
    np.testing.assert_allclose(mesh.corner_uvs, uvs, atol=1e-6)  # v is turned over twice, in single precision


@pytest.mark.parametrize("shape", ["box", "ball"])
def test_coordinates_find_their_way_back(shape: str, modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    export, coordinates, _ = modules
    ball = np.asarray(trimesh.creation.icosphere(subdivisions=2).triangles)
    thing = captured(export, *(box_of_quads() if shape == "box" else apart(ball)))
    file, by_corner = textured(export, thing, tmp_path)
    found = coordinates.new_coordinates(file, thing)
    assert not len(found.split)  # both triangles of a flat side lie in one chart
    for number, face in enumerate(thing.corners):
        for corner in range(3):
            there = by_corner[key(face, corner)]
            np.testing.assert_allclose(found.by_triangle[number, corner], there, atol=1e-6)
            np.testing.assert_allclose(found.by_loop[thing.loops[number, corner]], there, atol=1e-6)


def test_a_face_in_two_places_of_the_texture_is_named(modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    export, coordinates, _ = modules
    corners, loops, polygons = box_of_quads()
    apart_in_texture = np.random.default_rng(1).uniform(0, 1, (12, 3, 2)).astype(np.float32)
    together = apart_in_texture.reshape(-1, 2)[loops.ravel() % 36].reshape(12, 3, 2)
    together[3] = apart_in_texture[3]
    file = tmp_path / "textured.glb"
    file.write_bytes(export.glb_of(captured(export, corners, loops, polygons, together)))
    mesh = load_mesh(file)
    save_glb(wearing(mesh, np.zeros((3, 16, 16), np.float32)), file)
    found = coordinates.new_coordinates(file, captured(export, corners, loops, polygons))
    assert found.split.tolist() == [1]


def test_faces_that_were_left_out_are_passed_over(modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    """An empty face has no place; one that stands where another does has the coordinates of that one."""
    export, coordinates, _ = modules
    corners = np.asarray(trimesh.creation.box().triangles, np.float32)
    empty = np.repeat(corners[:1, :1], 3, axis=1)
    doubled = corners[4:5, ::-1]
    thing = captured(export, *apart(np.concatenate([corners[:3], empty, corners[3:7], doubled, corners[7:]])))
    file, by_corner = textured(export, thing, tmp_path)
    found = coordinates.new_coordinates(file, thing).by_triangle
    assert not found[3].any()
    np.testing.assert_array_equal(found[8], found[5][::-1])
    for number in {*range(len(thing.corners))} - {3}:
        for corner in range(3):
            there = by_corner[key(thing.corners[number], corner)]
            np.testing.assert_allclose(found[number, corner], there, atol=1e-6)


def test_faces_that_were_turned_over_are_known_again(modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    export, coordinates, _ = modules
    corners = np.array(trimesh.creation.box().triangles, np.float32)
    corners[[2, 7]] = corners[[2, 7], ::-1]
    thing = captured(export, *apart(corners))
    file, by_corner = textured(export, thing, tmp_path)
    found = coordinates.new_coordinates(file, thing).by_triangle
    for number in range(len(corners)):
        for corner in range(3):
            there = by_corner[key(corners[number], corner)]
            np.testing.assert_allclose(found[number, corner], there, atol=1e-6)


def test_another_mesh_is_refused(modules: tuple[ModuleType, ...], tmp_path: Path) -> None:
    export, coordinates, queue = modules
    corners = np.asarray(trimesh.creation.box().triangles, np.float32)
    file, _ = textured(export, captured(export, *apart(corners)), tmp_path)
    moved = captured(export, *apart(corners + np.float32(0.01)))
    with pytest.raises(queue.JobError, match="another mesh"):
        coordinates.new_coordinates(file, moved)


@pytest.mark.parametrize(
    "content", [b"", b"glTF" + b"\0" * 40, b"{}", b'{"asset": {"version": "2.0"}, "meshes": [{}]}']
)
def test_a_damaged_file_is_refused_in_one_sentence(
    content: bytes, modules: tuple[ModuleType, ...], tmp_path: Path
) -> None:
    export, coordinates, queue = modules
    file = tmp_path / "textured.glb"
    file.write_bytes(content)
    thing = captured(export, *apart(np.asarray(trimesh.creation.box().triangles, np.float32)))
    with pytest.raises(queue.JobError, match="Run the job again"):
        coordinates.new_coordinates(file, thing)
