import base64
import copy
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from gs_integration.formats.errors import FormatError
from gs_integration.formats.gltf import EXTENSION, decode_gltf, encode_gltf, read_gltf
from gs_integration.formats.gltf_file import decode_glb, encode_glb
from tests.gs_integration.formats.clouds import asymmetric_cloud, opacities, turns_between

PREFIX = EXTENSION + ":"


def parts_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    file = decode_glb(content)
    return copy.deepcopy(dict(file.document)), file.buffers[0]


def changed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    document, binary = parts_of(content)
    change(document)
    return encode_glb(document, binary)


def primitive_of(document: dict[str, Any]) -> dict[str, Any]:
    return document["meshes"][0]["primitives"][0]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_everything_is_kept(degree: int) -> None:
    splats = asymmetric_cloud(30, degree, axes="y-up")
    found = decode_gltf(encode_gltf(splats)).splats
    assert found.axes == "y-up"
    np.testing.assert_array_equal(found.means, splats.means)
    np.testing.assert_array_equal(found.harmonics, splats.harmonics)
    np.testing.assert_allclose(found.log_scales, splats.log_scales, atol=1e-6)
    np.testing.assert_allclose(opacities(found), opacities(splats), atol=1e-6)
    assert turns_between(found, splats).max() < 1e-3


def test_another_library_sees_coloured_points() -> None:
    splats = asymmetric_cloud(30, axes="y-up")
    scene = trimesh.load_scene(io.BytesIO(encode_gltf(splats)), file_type="glb")
    (cloud,) = scene.geometry.values()
    np.testing.assert_allclose(cloud.vertices, splats.means, atol=1e-6)
    display = np.clip(0.5 + 0.28209479 * splats.harmonics[:, 0], 0, 1)
    linear = np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(cloud.colors[:, :3] / 255, linear, atol=1 / 255)


def test_the_layout_is_what_the_extension_says() -> None:
    document, binary = parts_of(encode_gltf(asymmetric_cloud(4, 1)))
    primitive = primitive_of(document)
    assert document["extensionsUsed"] == [EXTENSION]
    assert primitive["mode"] == 0
    assert primitive["extensions"][EXTENSION] == {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    assert set(primitive["attributes"]) == {
        *("POSITION", "COLOR_0", PREFIX + "ROTATION", PREFIX + "SCALE", PREFIX + "OPACITY"),
        *(PREFIX + name for name in ("SH_DEGREE_0_COEF_0", *(f"SH_DEGREE_1_COEF_{n}" for n in range(3)))),
    }
    accessor = document["accessors"][primitive["attributes"][PREFIX + "ROTATION"]]
    place = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    assert np.linalg.norm(struct.unpack_from("<4f", binary, place)) == pytest.approx(1, abs=1e-6)
    assert len(binary) == document["buffers"][0]["byteLength"]
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])


def test_nodes_place_their_splats() -> None:
    splats = asymmetric_cloud(20, axes="y-up")
    s = np.sqrt(0.5)

    def place(document: dict[str, Any]) -> None:
        # A turn by 90 degrees about y under a translation; the parent doubles and moves.
        document["nodes"] = [
            {"children": [1], "scale": [2, 2, 2], "translation": [0, 0, 5]},
            {"mesh": 0, "rotation": [0, s, 0, s], "translation": [1, 0, 0]},
        ]

    found = decode_gltf(changed(encode_gltf(splats), place)).splats
    x, y, z = splats.means.T
    np.testing.assert_allclose(found.means, np.stack([2 * (z + 1), 2 * y, 5 - 2 * x], axis=1), atol=1e-5)
    np.testing.assert_allclose(found.log_scales, splats.log_scales + np.log(2), atol=1e-5)
    matrix = np.eye(4)
    matrix[:3] = [[0, 0, 2, 2], [0, 2, 0, 0], [-2, 0, 0, 5]]
    np.testing.assert_allclose(found.harmonics, splats.transformed(matrix).harmonics, atol=1e-5)

    def as_matrix(document: dict[str, Any]) -> None:
        document["nodes"] = [{"mesh": 0, "matrix": matrix.T.ravel().tolist()}]

    again = decode_gltf(changed(encode_gltf(splats), as_matrix)).splats
    np.testing.assert_allclose(again.means, found.means, atol=1e-5)


def test_a_gltf_reads_its_buffer_from_a_file_beside_it_or_from_itself(tmp_path: Path) -> None:
    splats = asymmetric_cloud(6, axes="y-up")
    document, binary = parts_of(encode_gltf(splats))
    (tmp_path / "the data.bin").write_bytes(binary)
    inside = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    for uri in ("the%20data.bin", inside):
        document["buffers"][0]["uri"] = uri
        (tmp_path / "splats.gltf").write_text(json.dumps(document))
        np.testing.assert_array_equal(read_gltf(tmp_path / "splats.gltf").splats.means, splats.means)


@pytest.mark.parametrize("uri", ["../data.bin", "%2e%2e/data.bin", "/data.bin", "http://a/b", "a\\b", "link.bin"])
def test_buffers_outside_the_folder_are_refused(uri: str, tmp_path: Path) -> None:
    document, binary = parts_of(encode_gltf(asymmetric_cloud(3)))
    (tmp_path / "data.bin").write_bytes(binary)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link.bin").symlink_to(tmp_path / "data.bin")
    document["buffers"][0]["uri"] = uri
    (tmp_path / "folder" / "splats.gltf").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="Refused"):
        read_gltf(tmp_path / "folder" / "splats.gltf")


def rename(document: dict[str, Any], old: str, new: str) -> None:
    attributes = primitive_of(document)["attributes"]
    attributes[new] = attributes.pop(old)


DAMAGE: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("not splats", lambda d: primitive_of(d).pop("extensions")),
    ("compressed", lambda d: primitive_of(d)["extensions"][EXTENSION].update(extensions={"X_compression_spz": {}})),
    ("list of nodes below 0", lambda d: d.update(nodes=[])),
    ("empty scene, not splats", lambda d: [d.pop("meshes"), d["nodes"][0].pop("mesh")]),
    ("mode 1", lambda d: primitive_of(d).update(mode=1)),
    ("kernel", lambda d: primitive_of(d)["extensions"][EXTENSION].update(kernel="box")),
    ("export them as sRGB", lambda d: primitive_of(d)["extensions"][EXTENSION].update(colorSpace="lin_rec709_display")),
    ("no attribute", lambda d: rename(d, PREFIX + "SCALE", "scale")),
    ("fit no degree", lambda d: rename(d, PREFIX + "SH_DEGREE_1_COEF_2", "other")),
    ("asks for number 99", lambda d: primitive_of(d)["attributes"].update(POSITION=99)),
    ("asks for number True", lambda d: primitive_of(d)["attributes"].update(POSITION=True)),
    ("cannot be of type", lambda d: d["accessors"][0].update(type="VEC2")),
    ("cannot be of type", lambda d: d["accessors"][0].update(type=[1])),
    ("beyond its buffer", lambda d: d["accessors"][0].update(count=10**9)),
    ("cannot be", lambda d: d["accessors"][0].update(count=-1)),
    ("different lengths", lambda d: d["accessors"][0].update(count=2)),
    ("sparse", lambda d: d["accessors"][0].pop("bufferView")),
    ("beyond its buffer", lambda d: d["bufferViews"][0].update(byteOffset=10**6)),
    ("cannot be", lambda d: d["bufferViews"][0].update(byteStride=1)),
    ("buffer 7", lambda d: d["bufferViews"][0].update(buffer=7)),
    ("should have", lambda d: d["buffers"][0].update(byteLength=10**12)),
    ("cycle", lambda d: d.update(nodes=[{"children": [1]}, {"children": [0]}])),
    ("cycle", lambda d: d["nodes"][0].update(children=[0])),
    ("list of nodes", lambda d: d["nodes"][0].update(children=[5])),
    ("list of nodes", lambda d: d["scenes"][0].update(nodes="0")),
    ("16 numbers", lambda d: d["nodes"][0].update(matrix=[1])),
    ("rotation of node 0 is zero", lambda d: d["nodes"][0].update(rotation=[0, 0, 0, 0])),
    ("shears or scales unevenly", lambda d: d["nodes"][0].update(scale=[1, 2, 1])),
    ("got determinant", lambda d: d["nodes"][0].update(scale=[1, -1, 1])),
    ("list of objects", lambda d: d.update(nodes=[3])),
    ("2.0", lambda d: d.update(asset={"version": "1.0"})),
    ("2.0", lambda d: d.update(asset=[])),
]


@pytest.mark.parametrize(("words", "change"), DAMAGE)
def test_damage_is_named(words: str, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(FormatError, match=words):
        decode_gltf(changed(encode_gltf(asymmetric_cloud(5, 1)), change))


@pytest.mark.parametrize(
    "text", [b'{"asset": NaN}', b'{"asset": 1e999}', b"[" * 100_000, b"[]", b"\xff", b"{", b"9" * 9000]
)
def test_json_that_cannot_be_is_refused(text: bytes) -> None:
    text += b" " * (-len(text) % 4)
    content = struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<I4s", len(text), b"JSON") + text
    with pytest.raises(FormatError, match=r"[dD]amaged"):
        decode_gltf(content)


EXPECTED_WORDS = {
    "zero_bytes.glb": "empty",
    "zero_bytes.gltf": "empty",
    "truncated_chunk.glb": "incomplete: expected 728 bytes, got 688",
    "wrong_magic.glb": "magic number",
    "version_1.glb": "glTF 1.0",
    "deep_json_100000.glb": "nested too deep",
    "node_cycle.glb": "cycle",
    "no_faces.glb": "not splats",
}


@pytest.mark.parametrize("name", EXPECTED_WORDS)
def test_bad_files_are_refused_in_a_sentence(name: str, shared_assets: Path) -> None:
    with pytest.raises(FormatError, match=EXPECTED_WORDS[name]):
        read_gltf(shared_assets / "bad_inputs" / name)
