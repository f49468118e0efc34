"""Broken and hostile model files: those of the assets, and damage done here byte by byte."""

import csv
import json
import logging
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_core.errors import UserError
from renderers.meshes import MODEL_FILE_TYPES, load_mesh, normalised
from tests.renderers.loading.model_files import cube_builder, cube_obj, glb_bytes

# What the message must name, by file: expected and got in the words of the table beside the files.
WORDS = {
    "truncated_chunk.glb": ("incomplete", "728", "688"),
    "wrong_magic.glb": ("magic", "glTX"),
    "version_1.glb": ("1.0", "2.0"),
    "accessor_out_of_range.glb": ("accessor 0", "beyond"),
    "nan_vertices.glb": ("2 vertices", "not finite"),
    "no_faces.glb": ("no faces",),
    "huge_index.glb": ("face 5", "60000", "8"),
    "image_path_escapes.glb": ("inside the folder", "../pictures/chair.png"),
    "node_cycle.glb": ("cycle",),
    "deep_json_100000.glb": ("nested too deep",),
    "missing_mtl.obj": ("does_not_exist.mtl",),
    "missing_texture.obj": ("not_here.png",),
    "no_faces.obj": ("no faces",),
    "index_zero.obj": ("out of range", "line 9"),
    "degenerate.obj": ("no area",),
    "huge_and_far.obj": ("double precision",),
    "truncated_binary.stl": ("incomplete", "1,000"),
    "point_cloud.ply": ("point cloud",),
    "ply_count_negative.ply": ("-5",),
    "ply_header_never_ends.ply": ("end_header",),
}


def test_every_bad_model_does_what_its_table_says(shared_assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shared_assets / "bad_inputs"
    with (folder / "README.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if Path(row["file"]).suffix[1:] in MODEL_FILE_TYPES]
    assert set(WORDS) <= {row["file"] for row in rows}
    for row in rows:
        path = folder / row["file"]
        expected = "error" if path.name.startswith(("splat", "zero_bytes")) else row["expected"]
        words = ("empty",) if path.name.startswith("zero_bytes") else WORDS.get(path.name, ("splats",))
        if path.name == "mesh_where_splats_expected.ply":
            assert len(load_mesh(path).faces) == 12
            continue
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            if expected == "error":
                with pytest.raises(UserError) as caught:
                    load_mesh(path)
                said = str(caught.value)
                assert "\n" not in said
                assert path.name in said
            else:
                mesh = normalised(load_mesh(path))
                assert np.isfinite(mesh.vertices).all()
                assert len(caplog.records) == 1, path.name
                said = caplog.text
        assert all(word in said for word in words), (path.name, said)


@pytest.mark.parametrize("keep", [0.999, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize(
    "name",
    [
        *("eval/Fox.glb", "mixed_formats/ycb_063_b_marbles_draco.glb", "eval/aws_TVCabinet_01.glb"),
        *("mixed_formats/ycb_025_mug.ply", "mixed_formats/ycb_048_hammer.stl", "mixed_formats/ycb_011_banana.ply"),
    ],
)
def test_cut_off_files_are_refused(name: str, keep: float, shared_assets: Path) -> None:
    data = (shared_assets / name).read_bytes()
    with pytest.raises(UserError):
        load_mesh(data[: int(len(data) * keep)], file_type=Path(name).suffix[1:])


def mutated(value: Any, generator: random.Random) -> Any:
    """The JSON value with one thing in it replaced by something that may not stand there."""
    if isinstance(value, dict) and value and generator.random() < 0.9:
        key = generator.choice(list(value))
        return {**value, key: mutated(value[key], generator)}
    if isinstance(value, list) and value and generator.random() < 0.9:
        place = generator.randrange(len(value))
        return [*value[:place], mutated(value[place], generator), *value[place + 1 :]]
    return generator.choice([None, -1, 2**31, 2**62, 1.5, True, "x", [], {}, [[]], "../../x", float("nan"), 1e300])


def test_any_damaged_number_is_refused_or_read_but_never_crashes() -> None:
    builder = cube_builder()
    builder.mesh(
        {
            "POSITION": np.eye(3, dtype=np.float32),
            "TEXCOORD_0": np.zeros((3, 2), np.float32),
            "JOINTS_0": np.zeros((3, 4), np.uint8),
            "WEIGHTS_0": np.tile(np.array([1, 0, 0, 0], np.float32), (3, 1)),
        },
        material=builder.material(
            np.zeros((2, 2, 3), np.uint8), {"extensions": {"KHR_texture_transform": {"scale": [2, 2]}}}
        ),
    )
    joint = builder.node(translation=[0, 1, 0], rotation=[0, 0, 0, 1], scale=[1, 1, 1])
    builder.node(mesh=1, skin=0, children=[builder.node(root=False, mesh=0)])
    bind = builder.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    builder.tree["skins"] = [{"joints": [joint], "inverseBindMatrices": bind}]
    data = builder.glb()
    length = struct.unpack_from("<I", data, 12)[0]
    tree, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    assert len(load_mesh(data, file_type="glb").faces) == 12 + 12 + 1
    said = [complaint(glb_bytes(mutated(tree, random.Random(seed)), binary)) for seed in range(600)]
    assert sum(words is not None for words in said) > 100
    assert sum(words is None for words in said) > 20
    assert not any("\n" in words for words in said if words)


def complaint(data: bytes) -> str | None:
    """What is said of a file that is refused; None where a sound mesh comes of it."""
    try:
        mesh = load_mesh(data, file_type="glb")
    except UserError as error:
        return str(error)
    assert np.isfinite(mesh.vertices).all()
    return None


def test_flipped_bytes_never_crash() -> None:
    data = bytearray(cube_builder().glb())
    for seed in range(200):
        generator = random.Random(seed)
        broken = bytearray(data)
        for _ in range(3):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        assert complaint(bytes(broken)) != ""


def ply_file(vertices: str, faces: str, *, vertex_count: int = 3, face_count: int = 1) -> bytes:
    return (
        f"ply\nformat ascii 1.0\nelement vertex {vertex_count}\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {face_count}\nproperty list uchar int vertex_indices\nend_header\n{vertices}\n{faces}\n"
    ).encode()


TRIANGLE = "0 0 0\n1 0 0\n0 1 0"


@pytest.mark.parametrize(
    ("data", "file_type", "words"),
    [
        (ply_file(TRIANGLE, "3 0 1 7"), "ply", "vertex 7, there are 3"),
        (ply_file(TRIANGLE, "3 0 1 -1"), "ply", "ply"),
        (ply_file("nan 0 0\n1 0 0\n0 1 0", "3 0 1 2"), "ply", "not finite"),
        (ply_file(TRIANGLE, "3 0 1 2", vertex_count=10**15), "ply", "incomplete"),
        (ply_file(TRIANGLE, "3 0 1 2", face_count=10**9), "ply", "incomplete"),
        (b"ply\nformat odd 1.0\nelement face 3\nproperty float x\nend_header\n", "ply", "format"),
        (cube_obj(more="f 1 2 zebra\n").encode(), "obj", "zebra"),
        (cube_obj(more="f 1 2 -100\n").encode(), "obj", "line 21"),
        (cube_obj(more="f 1/5 2/5 3/5\n").encode(), "obj", "out of range 1 to 0"),
        (b"solid\nfacet normal 0 0 1\n", "stl", "stl"),
        (b"\0" * 84, "stl", "no faces"),
        (b"<html>", "dae", "COLLADA"),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "b">]><COLLADA>&b;</COLLADA>', "dae", "document type"),
        (b'<?xml version="1.0"?><COLLADA><library', "dae", "cannot be read"),
        (b"{}", "gltf", "asset"),
        (b'{"asset": {"version": "2.0"}}', "gltf", "no faces"),
    ],
)
def test_damage_is_named(data: bytes, file_type: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_mesh(data, file_type=file_type)


def test_deep_xml_does_not_crash() -> None:
    deep = b"<COLLADA>" + b"<node>" * 100_000 + b"</node>" * 100_000 + b"</COLLADA>"
    with pytest.raises(UserError):
        load_mesh(deep, file_type="dae")


@pytest.mark.parametrize("reference", ["../secret.png", "a/../../secret.png", "..\\secret.png", "%2e%2e/secret.png"])
@pytest.mark.parametrize("folder", ["model", "meshes"])
def test_textures_do_not_leave_the_folder_but_for_packages(reference: str, folder: str, tmp_path: Path) -> None:
    from PIL import Image

    place = tmp_path / folder
    (place / "a").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    Image.new("RGB", (4, 4)).save(tmp_path.parent / "secret.png")
    (place / "cube.mtl").write_text(f"newmtl paint\nmap_Kd {reference}\n")
    text = "mtllib cube.mtl\nusemtl paint\nvt 0 0\n" + cube_obj().split("f ")[0] + "f 1/1 2/1 4/1\n"
    (place / "cube.obj").write_text(text)
    if folder == "meshes":
        # A robot package: meshes/ beside materials/. One step up is inside the package.
        assert load_mesh(place / "cube.obj").base_colours[0].shape == (4, 4, 4)
        (place / "cube.mtl").write_text(f"newmtl paint\nmap_Kd ../{reference}\n")
    with pytest.raises(UserError, match="inside the folder"):
        load_mesh(place / "cube.obj")


def test_symbolic_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (place / "paint.png").symlink_to(tmp_path / "secret.png")
    builder = cube_builder()
    builder.tree["images"] = [{"uri": "paint.png"}]
    path = place / "cube.glb"
    path.write_bytes(builder.glb())
    with pytest.raises(UserError, match="inside the folder"):
        load_mesh(path)


def test_a_texture_bomb_is_refused_from_its_header(shared_assets: Path) -> None:
    bomb = (shared_assets / "bad_inputs" / "bomb_60000x60000.png").read_bytes()
    builder = cube_builder()
    builder.tree["images"] = [{"bufferView": builder.view(bomb)}]
    builder.tree["textures"] = [{"source": 0}]
    builder.tree["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    builder.tree["meshes"][0]["primitives"][0]["material"] = 0
    with pytest.raises(UserError, match="60000"):
        load_mesh(builder.glb(), file_type="glb")


def test_a_texture_bomb_beside_an_obj_is_refused_too(shared_assets: Path, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes((shared_assets / "bad_inputs" / "bomb_60000x60000.png").read_bytes())
    (tmp_path / "cube.mtl").write_text("newmtl paint\nmap_Kd bomb.png\n")
    (tmp_path / "cube.obj").write_text("mtllib cube.mtl\nusemtl paint\n" + cube_obj())
    with pytest.raises(UserError, match="60000"):
        load_mesh(tmp_path / "cube.obj")


@pytest.mark.parametrize("content", [b"no picture at all", b"\x89PNG\r\n\x1a\n", b""])
def test_a_broken_texture_beside_an_obj_is_said(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    (tmp_path / "cube.mtl").write_text("newmtl paint\nmap_Kd broken.png\n")
    (tmp_path / "cube.obj").write_text("mtllib cube.mtl\nusemtl paint\n" + cube_obj())
    load_mesh(tmp_path / "cube.obj")
    assert "broken.png" in caplog.text
    assert len(caplog.records) == 1


def test_a_broken_texture_is_said_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    builder = cube_builder()
    builder.tree["images"] = [{"bufferView": builder.view(b"no picture at all")}]
    builder.tree["textures"] = [{"source": 0}]
    builder.tree["materials"] = [
        {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 0, 0, 1]}}
    ]
    builder.tree["meshes"][0]["primitives"][0]["material"] = 0
    mesh = load_mesh(builder.glb(), file_type="glb")
    assert "could not be read" in caplog.text
    assert len(caplog.records) == 1
    assert mesh.corner_colours is not None
    np.testing.assert_array_equal(mesh.corner_colours[0, 0], (1, 0, 0, 1))
