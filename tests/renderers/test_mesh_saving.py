from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from trimesh.visual import TextureVisuals

from distill_core.cameras import orbit_rig
from renderers.mesh_rendering import prepare, render_views
from renderers.mesh_saving import glb_bytes, save_glb, wearing
from renderers.meshes import load_mesh
from tests.renderers.texturable_meshes import charted_box


def test_a_textured_glb_reopens_with_its_texture_where_it_was(tmp_path: Path) -> None:
    texture = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    mesh = wearing(charted_box(), texture)
    save_glb(mesh, tmp_path / "textured.glb")
    again = load_mesh(tmp_path / "textured.glb")
    assert len(again.faces) == len(mesh.faces)
    np.testing.assert_array_equal(again.base_colours[0], mesh.base_colours[0])
    np.testing.assert_allclose(again.vertices[again.faces], mesh.vertices[mesh.faces], atol=1e-6)
    np.testing.assert_allclose(again.corner_uvs, mesh.corner_uvs, atol=1e-6)
    cameras = orbit_rig(3, elevations_degrees=(25,), width=48, height=48)
    one, other = (render_views(prepare(some), cameras).colour for some in (mesh, again))
    assert np.abs(one - other).mean() < 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["textured.glb"]


def test_others_find_the_picture_and_the_normals_too() -> None:
    mesh = wearing(charted_box(), np.tile(np.linspace(0, 1, 32, dtype=np.float32), (3, 32, 1)))
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(glb_bytes(mesh)), file_type="glb")
    (part,) = scene.geometry.values()
    assert isinstance(part, trimesh.Trimesh)
    assert isinstance(part.visual, TextureVisuals)
    picture = np.asarray(getattr(part.visual.material, "baseColorTexture", None))
    np.testing.assert_array_equal(picture[..., :3], mesh.base_colours[0][..., :3])
    # A box's corners carry the normals of three sides each.
    assert len(part.vertices) == 24
    assert part.volume == pytest.approx((2 / 3**0.5) ** 3, rel=1e-5)
    # y up: what was at the top (z) is at the top (y).
    top = part.vertex_normals[:, 1] > 0.9
    assert part.vertices[top][:, 1].min() == pytest.approx(1 / 3**0.5, rel=1e-5)


def test_two_pictures_stay_two(tmp_path: Path) -> None:
    box = charted_box()
    red, blue = (np.full((4, 4, 4), colour, np.uint8) for colour in ((255, 0, 0, 255), (0, 0, 255, 255)))
    mesh = replace(box, base_colours=(red, blue), face_picture=np.arange(12) // 6)
    save_glb(mesh, tmp_path / "two.glb")
    again = load_mesh(tmp_path / "two.glb")
    assert len(again.base_colours) == 2
    worn = np.stack([again.base_colours[number][0, 0] for number in again.face_picture])
    assert (worn[:, 0] == 255).sum() == 6
    assert (worn[:, 2] == 255).sum() == 6


def test_colours_at_corners_are_not_lost_in_silence() -> None:
    with pytest.raises(ValueError, match="corners"):
        glb_bytes(replace(charted_box(), corner_colours=np.ones((12, 3, 4), np.float32)))


def test_a_texture_is_clipped_and_rounded_to_eight_bits() -> None:
    picture = wearing(charted_box(), np.array([[[-1.0]], [[0.5]], [[2.0]]])).base_colours[0]
    assert picture[0, 0].tolist() == [0, 128, 255, 255]
