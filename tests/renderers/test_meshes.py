import csv
import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial import KDTree
from trimesh.visual.color import ColorVisuals

from distill_core.errors import UserError
from renderers.blender.up_axis import CUSTOMARY_UP, UpAxis
from renderers.meshes import MODEL_FILE_TYPES, TexturedMesh, load_mesh, normalised, transformed
from tests.renderers.loading.model_files import CUBE_FACES, CUBE_VERTICES, cube_builder, cube_obj


def area(mesh: TexturedMesh) -> float:
    corners = mesh.vertices[mesh.faces]
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


def volume(mesh: TexturedMesh) -> float:
    """Signed by the winding, from the divergence theorem."""
    corners = mesh.vertices[mesh.faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def trimesh_of(path: Path) -> trimesh.Trimesh:
    return trimesh.load_scene(path).to_mesh()


@pytest.mark.parametrize("file_type", ["glb", "obj", "ply", "stl", "dae"])
def test_a_cube_keeps_area_volume_and_outside_in_every_format(file_type: str, tmp_path: Path) -> None:
    path = tmp_path / f"cube.{file_type}"
    trimesh.creation.box((1, 2, 3)).export(path)
    mesh = load_mesh(path)
    assert area(mesh) == pytest.approx(2 * (2 + 3 + 6), rel=1e-6)
    assert volume(mesh) == pytest.approx(6, rel=1e-6)
    # glTF, .obj and the .dae that trimesh writes have y up; .ply and .stl are taken as z up.
    expected = (1, 2, 3) if file_type in ("ply", "stl") else (1, 3, 2)
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), expected, rtol=1e-6)


@pytest.mark.parametrize("file_type", ["obj", "ply", "stl"])
@pytest.mark.parametrize("up", [0, 1, 2])
def test_a_model_stands_along_the_axis_on_which_it_ends_at_zero(
    file_type: str, up: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A cone with its round end on zero points upwards; `--up-axis` overrules that."""
    cone = trimesh.creation.cone(radius=1, height=3)
    turn = np.eye(4)
    turn[:3] = np.roll(turn[:3], up - 2, axis=0)
    cone.apply_transform(turn)
    assert np.argmax(np.ptp(cone.vertices, axis=0)) == up
    path = tmp_path / f"cone.{file_type}"
    cone.export(path)
    with caplog.at_level(logging.INFO):
        mesh = load_mesh(path)
    assert f"{'xyz'[up]} is taken" in caplog.text
    np.testing.assert_allclose(mesh.vertices[mesh.vertices[:, 2].argmax()], [0, 0, 3], atol=1e-6)
    laid = load_mesh(path, up_axis="xyz"[up - 1])  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(np.ptp(laid.vertices[:, 2]), 2, atol=0.1)


@pytest.mark.parametrize(
    "name",
    [
        *("eval/cow/cow.obj", "eval/fuze/fuze.obj", "eval/Duck.glb", "eval/CesiumMilkTruck.glb"),
        *("eval/armchair/armchair.gltf", "eval/pizza/pizza.obj", "mixed_formats/hierarchy.glb"),
        *("mixed_formats/ycb_025_mug.ply", "texturing/featuretype.stl", "texturing/many_parts_50.glb"),
        *("texturing/suzanne_quads.obj", "mixed_formats/ycb_063_b_marbles_draco.glb"),
    ],
)
def test_models_have_the_area_that_trimesh_finds(name: str, shared_assets: Path) -> None:
    customary = CUSTOMARY_UP.get(Path(name).suffix[1:])
    mesh, other = load_mesh(shared_assets / name, up_axis=customary), trimesh_of(shared_assets / name)
    assert len(mesh.faces) == len(other.faces)
    assert area(mesh) == pytest.approx(other.area, rel=1e-5)
    # The corners of the box, with the axes turned as the format says.
    low, high = mesh.vertices[np.unique(mesh.faces)].min(axis=0), mesh.vertices[np.unique(mesh.faces)].max(axis=0)
    scale = np.abs(other.bounds).max()
    if Path(name).suffix in (".glb", ".gltf", ".obj"):
        (x0, y0, z0), (x1, y1, z1) = other.bounds
        np.testing.assert_allclose([low, high], [[x0, -z1, y0], [x1, -z0, y1]], atol=1e-6 * scale)
    else:
        np.testing.assert_allclose([low, high], other.bounds, atol=1e-6 * scale)


def test_every_evaluation_model_is_textured_and_upright(shared_assets: Path) -> None:
    with (shared_assets / "eval" / "INDEX.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    for row in rows:
        path = shared_assets / "eval" / row["file"]
        up_axis: UpAxis | None = (
            None if path.suffix.lower() == ".dae" else ("z" if row["up axis as loaded"] == "Z" else "y")
        )
        mesh = normalised(load_mesh(path, up_axis=up_axis))
        widest = max(picture.shape[1] for picture in mesh.base_colours)
        assert widest >= 512, row["file"]
        lengths = np.linalg.norm(mesh.vertices[np.unique(mesh.faces)], axis=1)
        assert lengths.max() == pytest.approx(1, abs=1e-12)
        depth, height = np.ptp(mesh.vertices, axis=0)[1:]
        if row["object"] in ("bottle", "statue of a cat", "potted plant, cut-out leaves"):
            assert height > 1.4 * depth, row["file"]


def test_the_cabinet_is_the_same_from_dae_and_glb(shared_assets: Path) -> None:
    dae = load_mesh(shared_assets / "eval/aws_TVCabinet_01/meshes/aws_TVCabinet_01_visual.DAE")
    glb = load_mesh(shared_assets / "eval/aws_TVCabinet_01.glb")
    assert area(normalised(dae)) == pytest.approx(area(normalised(glb)), rel=1e-4)
    # The converter rounded.
    assert_same_corners(dae, glb, tolerance=3e-3)


def assert_same_corners(one: TexturedMesh, other: TexturedMesh, *, tolerance: float) -> None:
    """Both meshes, normalised, have corners at the same places with the same texture coordinates, in any order."""
    tables = [
        np.concatenate([mesh.vertices[mesh.faces], mesh.corner_uvs], axis=-1).reshape(-1, 5)
        for mesh in (normalised(one), normalised(other))
    ]
    assert KDTree(tables[0]).query(tables[1])[0].max() < tolerance
    assert KDTree(tables[1]).query(tables[0])[0].max() < tolerance


def test_obj_and_glb_of_the_cow_wear_the_texture_the_same_way(shared_assets: Path) -> None:
    obj = load_mesh(shared_assets / "mixed_formats/spot_quads/spot.obj")
    glb = load_mesh(shared_assets / "mixed_formats/crane_Spot_full.glb")
    # The .glb holds the picture as JPEG.
    assert np.abs(obj.base_colours[0].astype(int) - glb.base_colours[0]).mean() < 0.5
    assert len(obj.faces) == len(glb.faces)
    assert_same_corners(obj, glb, tolerance=1e-4)


def test_colours_per_vertex_are_decoded_to_linear_light(shared_assets: Path) -> None:
    path = shared_assets / "mixed_formats" / "ycb_025_mug.ply"
    mesh, other = load_mesh(path), trimesh.load_mesh(path, process=False)
    assert mesh.corner_colours is not None
    assert isinstance(other.visual, ColorVisuals)
    srgb = np.asarray(other.visual.vertex_colors)[other.faces][..., :3] / 255
    back = np.where(
        mesh.corner_colours <= 0.0031308, mesh.corner_colours * 12.92, 1.055 * mesh.corner_colours ** (1 / 2.4) - 0.055
    )
    np.testing.assert_allclose(back[..., :3], srgb, atol=1e-5)
    np.testing.assert_array_equal(mesh.base_colours[0], np.full((1, 1, 4), 255))


def test_parts_share_pictures_and_keep_their_own(shared_assets: Path) -> None:
    truck = load_mesh(shared_assets / "eval" / "CesiumMilkTruck.glb")
    assert [picture.shape[:2] for picture in truck.base_colours] == [(2048, 2048), (1, 1)]
    assert truck.corner_colours is not None
    bare = truck.face_picture == 1
    colours = np.unique(truck.corner_colours[bare].reshape(-1, 4).round(4), axis=0)
    # The two untextured materials of the file: window trim and glass.
    np.testing.assert_allclose(colours, [[0, 0.0405, 0.0212, 1], [0.064, 0.064, 0.064, 1]], atol=1e-4)
    assert (truck.corner_colours[~bare] == 1).all()


def test_cut_outs_survive_only_where_materials_ask_for_them(shared_assets: Path) -> None:
    plant = load_mesh(shared_assets / "eval/plant/plant.obj", up_axis="z")
    assert plant.base_colours[0][..., 3].min() == 0
    aeroplane = load_mesh(shared_assets / "eval/cesium_air/Cesium_Air.dae")
    assert sorted(int(picture[..., 3].min()) < 128 for picture in aeroplane.base_colours) == [False, True]
    # alphaMode OPAQUE, whatever the picture's alpha says.
    helmet = load_mesh(shared_assets / "eval/FlightHelmet.glb")
    assert sum(bool((picture[..., 3] < 255).any()) for picture in helmet.base_colours) <= 1


def test_texture_coordinates_outside_the_picture_are_kept(shared_assets: Path) -> None:
    stacked = load_mesh(shared_assets / "texturing" / "suzanne_stacked_uv.obj")
    assert stacked.corner_uvs.min() == -3
    assert stacked.corner_uvs.max() == 4


@settings(max_examples=25, deadline=None)
@given(st.floats(-300, 250), st.floats(-3, 3), st.integers(0, 2**31))
def test_normalised_meshes_touch_the_unit_ball_at_any_size_and_place(exponent: float, away: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = 10.0**exponent
    vertices = (generator.uniform(-1, 1, (8, 3)) + away) * size
    mesh = TexturedMesh(
        vertices=vertices,
        faces=CUBE_FACES,
        corner_uvs=np.zeros((12, 3, 2), np.float32),
        base_colours=(np.zeros((1, 1, 4), np.uint8),),
        face_picture=np.zeros(12, np.int64),
        corner_colours=None,
        corner_normals=None,
        source_to_object=np.eye(4),
        name="cube",
    )
    unit = normalised(mesh)
    # A few roundings of doubles; `away` costs as many digits as it is extents away.
    np.testing.assert_allclose(unit.vertices.min(axis=0), -unit.vertices.max(axis=0), atol=1e-13)
    assert np.linalg.norm(unit.vertices, axis=1).max() == pytest.approx(1, abs=1e-13)
    again = vertices @ unit.source_to_object[:3, :3].T + unit.source_to_object[:3, 3]
    np.testing.assert_allclose(again, unit.vertices, atol=1e-13)


def test_source_to_object_leads_from_the_file_to_the_ball(tmp_path: Path) -> None:
    path = tmp_path / "cube.obj"
    path.write_text(cube_obj())
    mesh = transformed(normalised(load_mesh(path)), np.diag([-2.0, 1, 1, 1]))
    original = CUBE_VERTICES @ mesh.source_to_object[:3, :3].T + mesh.source_to_object[:3, 3]
    distance = np.linalg.norm(original[:, None] - mesh.vertices[None], axis=-1)
    assert distance.min(axis=1).max() < 1e-12


def test_mirrors_keep_the_outside_outside() -> None:
    mesh = load_mesh(cube_builder().glb(), file_type="glb")
    assert volume(mesh) == pytest.approx(1, rel=1e-6)
    assert volume(transformed(mesh, np.diag([-1.0, 1, 1, 1]))) == pytest.approx(1, rel=1e-6)


def test_bytes_and_path_give_the_same_mesh(shared_assets: Path) -> None:
    path = shared_assets / "mixed_formats" / "Große Tasse – 茶杯 №1.glb"
    one, other = load_mesh(path), load_mesh(path.read_bytes(), file_type="glb", name=path.stem)
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.corner_uvs, other.corner_uvs)
    assert one.name == other.name == path.stem


def test_textures_of_all_kinds_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Palette, grey, 16 bits, CMYK, upper case, a space in the name, options and backslashes before it."""
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:2] = (255, 0, 0)
    (tmp_path / "deep folder").mkdir()
    pictures = {
        "palette.png": Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE),
        "grey.PNG": Image.fromarray(rgb[..., 0]),
        "sixteen.png": Image.fromarray(rgb[..., 0].astype(np.uint16) * 257),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
        "deep folder/a b.png": Image.fromarray(rgb),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    reference = {name: name for name in pictures} | {"deep folder/a b.png": "deep folder\\a b.png"}
    for name, written in reference.items():
        (tmp_path / "cube.mtl").write_text(f"newmtl paint\nKd 0.1 0.1 0.1\nmap_Kd {written}\n")
        text = "mtllib cube.mtl\nusemtl paint\nvt 0 0\nvt 1 0\nvt 0 1\n" + cube_obj().split("f ")[0] + "f 1/1 2/2 4/3\n"
        (tmp_path / "cube.obj").write_text(text)
        mesh = load_mesh(tmp_path / "cube.obj")
        assert mesh.base_colours[0].shape == (4, 4, 4), name
        assert mesh.base_colours[0][0, 0, 0] > 200
        assert mesh.base_colours[0][3, 0, 0] < 60
        assert mesh.corner_colours is None
    assert not caplog.records


def test_obj_polygons_and_relative_indices(tmp_path: Path) -> None:
    """A pentagonal prism with its faces as polygons, counted back from the end, between the vertex lines."""
    angles = np.linspace(0, 2 * np.pi, 6)[:5]
    ring = [(np.cos(angle), np.sin(angle)) for angle in angles]
    lines = [f"v {x} {y} 0" for x, y in ring] + ["f -1 -2 -3 -4 -5"]
    lines += [f"v {x} {y} 1" for x, y in ring] + ["f -5 -4 -3 -2 -1"]
    lines += [f"f {k + 1} {(k + 1) % 5 + 1} {(k + 1) % 5 + 6} \\\n {k + 6}" for k in range(5)]
    path = tmp_path / "prism.obj"
    path.write_text("\n".join(lines))
    mesh = load_mesh(path)
    assert len(mesh.faces) == 3 + 3 + 10
    pentagon = 2.5 * np.sin(2 * np.pi / 5)
    assert volume(mesh) == pytest.approx(pentagon, rel=1e-6)
    assert area(mesh) == pytest.approx(2 * pentagon + 5 * 2 * np.sin(np.pi / 5), rel=1e-6)


def test_file_types_that_are_not_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "chair.fbx"
    path.write_bytes(b"Kaydara FBX Binary")
    with pytest.raises(UserError, match=r"\.fbx"):
        load_mesh(path)
    assert "fbx" not in MODEL_FILE_TYPES
    with pytest.raises(UserError, match="check the path"):
        load_mesh(tmp_path / "none.glb")


def test_far_away_models_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "far.obj"
    path.write_text(cube_obj().replace("v -0.5", "v 999999.5").replace("v 0.5", "v 1000000.5"))
    with caplog.at_level(logging.WARNING):
        mesh = normalised(load_mesh(path))
    assert len(caplog.records) == 1
    np.testing.assert_allclose(np.abs(mesh.vertices), 3**-0.5, atol=1e-6)
