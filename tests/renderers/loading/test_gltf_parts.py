import base64
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from distill_core.errors import UserError
from renderers.meshes import TexturedMesh, load_mesh
from tests.renderers.loading.model_files import CUBE_FACES, CUBE_VERTICES, GltfBuilder, cube_builder, png_bytes

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
TRIANGLES = np.array([0, 1, 2, 0, 2, 3], np.uint8)


def load(builder: GltfBuilder) -> TexturedMesh:
    return load_mesh(builder.glb(), file_type="glb")


def y_up(mesh: TexturedMesh) -> np.ndarray:
    """Corners [F, 3, 3] back in the axes of the file."""
    return mesh.vertices[mesh.faces] @ mesh.source_to_object[:3, :3]


def test_node_transforms_are_those_of_trimesh() -> None:
    builder = cube_builder()
    builder.tree["nodes"][0] |= {"translation": [1, 2, 3], "rotation": [0.1, 0.7, -0.3, 0.64], "scale": [1, 2, -0.5]}
    matrix = np.eye(4)
    matrix[:3] = [[0, -2, 0, 5], [1, 0, 0.3, 0], [0, 0, 1, -1]]
    child = builder.node(root=False, mesh=0, matrix=matrix.T.ravel().tolist())
    builder.tree["nodes"][0]["children"] = [child]
    mesh = load(builder)
    other = trimesh.load_scene(trimesh.util.wrap_as_stream(builder.glb()), file_type="glb").to_mesh()
    for corners in (y_up(mesh), np.array(other.triangles)):
        assert len(corners) == 24
    found, expected = (
        np.unique(corners.reshape(-1, 3).round(5), axis=0) for corners in (y_up(mesh), np.array(other.triangles))
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)
    corners = mesh.vertices[mesh.faces]
    # The mirrored cubes are still closed around positive volumes.
    volumes = (
        np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).reshape(2, 12).sum(axis=1) / 6
    )
    np.testing.assert_allclose(volumes, [1, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("mode", "indices"), [(4, [0, 1, 2, 0, 2, 3]), (5, [1, 2, 0, 3]), (6, [0, 1, 2, 3]), (4, None)]
)
def test_lists_strips_and_fans_face_the_same_way(mode: int, indices: list[int] | None) -> None:
    builder = GltfBuilder()
    positions = SQUARE if indices is not None else SQUARE[TRIANGLES]
    builder.mesh({"POSITION": positions}, None if indices is None else np.array(indices, np.uint32), mode=mode)
    builder.node(mesh=0)
    corners = y_up(load(builder))
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_allclose(areas, [[0, 0, 1], [0, 0, 1]], atol=1e-7)


def test_points_and_lines_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    builder = cube_builder()
    builder.mesh({"POSITION": SQUARE}, mode=1)
    builder.node(mesh=1)
    assert len(load(builder).faces) == 12
    assert "left out" in caplog.text


def test_base_colours_are_kept_to_float_precision_and_multiply() -> None:
    builder = GltfBuilder()
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]], np.uint8)
    material = builder.material(pbr={"baseColorFactor": [0.001, 0.5, 1.0, 0.3]})
    builder.mesh({"POSITION": SQUARE, "COLOR_0": colours}, TRIANGLES, material=material)
    builder.node(mesh=0)
    found = load(builder).corner_colours
    assert found is not None
    np.testing.assert_allclose(found[0, 0], (0.001, 0, 0, 0.3), rtol=1e-6)
    np.testing.assert_allclose(found[1, 2], (0.001 * 128 / 255, 0.5 * 128 / 255, 128 / 255, 0.3), rtol=1e-6)


def test_specular_glossiness_gives_its_diffuse_colour() -> None:
    builder = GltfBuilder()
    glossy = {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [0.2, 0.4, 0.6, 1]}}
    builder.mesh({"POSITION": SQUARE}, TRIANGLES, material=builder.material(extensions=glossy))
    builder.node(mesh=0)
    found = load(builder).corner_colours
    assert found is not None
    np.testing.assert_allclose(found[0, 0], (0.2, 0.4, 0.6, 1), rtol=1e-6)


def test_the_second_set_of_coordinates_whole_numbers_and_transforms() -> None:
    builder = GltfBuilder()
    uvs = np.array([[0, 0], [65535, 0], [65535, 65535], [0, 65535]], np.uint16)
    transform = {"offset": [0.25, 0.5], "rotation": math.pi / 2, "scale": [2, 2]}
    material = builder.material(
        np.zeros((2, 2, 3), np.uint8), {"texCoord": 1, "extensions": {"KHR_texture_transform": transform}}
    )
    attributes = {"POSITION": SQUARE, "TEXCOORD_0": np.full((4, 2), 9, np.float32), "TEXCOORD_1": uvs}
    builder.mesh(attributes, TRIANGLES, material=material)
    builder.node(mesh=0)
    mesh = load(builder)
    # Coordinates (v down) turn counter-clockwise as seen: (1, 0) goes up, to (0, -1).
    corners = {(0, 0): (0.25, 0.5), (1, 0): (0.25, -1.5), (1, 1): (2.25, -1.5), (0, 1): (2.25, 0.5)}
    for position, uv in zip(y_up(mesh).reshape(-1, 3), mesh.corner_uvs.reshape(-1, 2), strict=True):
        u, v_down = corners[round(position[0]), round(position[1])]
        np.testing.assert_allclose(uv, (u, 1 - v_down), atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "cutoff", "expected"),
    [
        ("OPAQUE", None, [255, 255, 255]),
        ("MASK", None, [0, 100, 200]),
        ("MASK", 0.25, [0, 200, 255]),
        ("BLEND", None, [0, 100, 200]),
    ],
)
def test_alpha_modes_say_what_cuts(mode: str, cutoff: float | None, expected: list[int]) -> None:
    picture = np.zeros((1, 3, 4), np.uint8)
    picture[0, :, 3] = (0, 100, 200)
    builder = GltfBuilder()
    extra: dict[str, Any] = {"alphaMode": mode} | ({} if cutoff is None else {"alphaCutoff": cutoff})
    material = builder.material(picture, None, **extra)
    builder.mesh({"POSITION": SQUARE, "TEXCOORD_0": SQUARE[:, :2].copy()}, TRIANGLES, material=material)
    builder.node(mesh=0)
    np.testing.assert_array_equal(load(builder).base_colours[0][0, :, 3], expected)


def test_glass_is_drawn_opaque() -> None:
    picture = np.full((1, 1, 4), 90, np.uint8)
    builder = GltfBuilder()
    material = builder.material(picture, alphaMode="BLEND")
    builder.mesh({"POSITION": SQUARE, "TEXCOORD_0": SQUARE[:, :2].copy()}, TRIANGLES, material=material)
    builder.node(mesh=0)
    np.testing.assert_array_equal(load(builder).base_colours[0], [[[90, 90, 90, 255]]])


def test_a_skin_in_the_pose_it_was_bound_in_changes_nothing_and_follows_its_joints() -> None:
    def skinned(joint: dict) -> np.ndarray:
        builder = GltfBuilder()
        weights = np.tile(np.array([0.25, 0.75, 0, 0], np.float32), (4, 1))
        joints = np.tile(np.array([0, 1, 0, 0], np.uint8), (4, 1))
        builder.mesh({"POSITION": SQUARE, "JOINTS_0": joints, "WEIGHTS_0": weights}, TRIANGLES)
        builder.tree["accessors"][1]["normalized"] = False
        still = builder.node(translation=[0, 5, 0])
        moved = builder.node(**joint)
        # The node of a skinned mesh has no say (glTF 2.0, 3.7.3.3).
        builder.node(mesh=0, skin=0, translation=[100, 0, 0])
        bind = np.stack([np.eye(4, dtype=np.float32)] * 2)
        bind[0, 1, 3], bind[1, 0, 3] = -5, -2
        inverse = builder.accessor(bind.transpose(0, 2, 1).reshape(2, 16).copy())
        builder.tree["skins"] = [{"joints": [still, moved], "inverseBindMatrices": inverse}]
        return y_up(load(builder))

    at_rest = skinned({"translation": [2, 0, 0]})
    np.testing.assert_allclose(at_rest.reshape(-1, 3), SQUARE[TRIANGLES], atol=1e-6)
    raised = skinned({"translation": [2, 0, 4]})
    np.testing.assert_allclose(raised - at_rest, np.broadcast_to([0, 0, 3], (2, 3, 3)), atol=1e-6)


def test_interleaved_and_external_data(tmp_path: Path) -> None:
    table = np.zeros((8, 8), np.float32)
    table[:, 1:4] = CUBE_VERTICES
    indices = CUBE_FACES.astype(np.uint16).ravel()
    tree = {
        "asset": {"version": "2.0"},
        "buffers": [
            {"uri": "my%20cube.bin", "byteLength": table.nbytes},
            {
                "uri": "data:application/octet-stream;base64," + base64.b64encode(indices.tobytes()).decode(),
                "byteLength": 72,
            },
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": table.nbytes, "byteStride": 32},
            {"buffer": 1, "byteLength": 72},
        ],
        "accessors": [
            {"bufferView": 0, "byteOffset": 4, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
    }
    (tmp_path / "my cube.bin").write_bytes(table.tobytes())
    path = tmp_path / "cube.gltf"
    path.write_text("\ufeff" + json.dumps(tree), encoding="utf-8")
    corners = y_up(load_mesh(path))
    np.testing.assert_array_equal(corners, CUBE_VERTICES[CUBE_FACES])
    (tmp_path / "my cube.bin").unlink()
    with pytest.raises(UserError, match=r"my%20cube\.bin"):
        load_mesh(path)


def test_missing_pictures_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = cube_builder()
    builder.tree["images"] = [{"uri": "lost.png"}]
    builder.tree["textures"] = [{"source": 0}]
    builder.tree["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}] * 2
    builder.tree["meshes"][0]["primitives"][0]["material"] = 0
    path = tmp_path / "cube.glb"
    path.write_bytes(builder.glb())
    with caplog.at_level(logging.WARNING):
        load_mesh(path)
    assert [record.getMessage() for record in caplog.records] == [
        "cube.glb: lost.png was not found; going on without it."
    ]
    (tmp_path / "lost.png").write_bytes(png_bytes(np.zeros((2, 2, 3), np.uint8)))
    caplog.clear()
    load_mesh(path)
    # The cube has no texture coordinates.
    assert "no texture coordinates" in caplog.text


@pytest.mark.parametrize("extension", ["EXT_meshopt_compression", "KHR_texture_basisu", "KHR_mesh_quantization"])
def test_required_extensions_that_are_not_read_are_named(extension: str) -> None:
    builder = cube_builder()
    builder.tree["extensionsRequired"] = [extension]
    with pytest.raises(UserError, match=extension):
        load(builder)


def test_draco_gives_the_vertices_of_the_uncompressed_file(shared_assets: Path) -> None:
    mesh = load_mesh(shared_assets / "mixed_formats" / "ycb_063_b_marbles_draco.glb")
    other = trimesh.load_scene(shared_assets / "mixed_formats" / "ycb_063_b_marbles_draco.glb").to_mesh()
    np.testing.assert_array_equal(y_up(mesh).astype(np.float32), np.array(other.triangles, np.float32))


def test_colours_of_texels_that_are_cut_away_do_not_reach_the_rims() -> None:
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[:, :2] = (10, 200, 30, 255)
    builder = GltfBuilder()
    material = builder.material(picture, alphaMode="MASK")
    builder.mesh({"POSITION": SQUARE, "TEXCOORD_0": SQUARE[:, :2].copy()}, TRIANGLES, material=material)
    builder.node(mesh=0)
    found = load(builder).base_colours[0]
    np.testing.assert_array_equal(found[..., 3], picture[..., 3])
    np.testing.assert_array_equal(found[..., :3], np.broadcast_to([10, 200, 30], (4, 4, 3)))
