from pathlib import Path

import numpy as np
import pytest
import trimesh

from distill_core.errors import UserError
from renderers.meshes import TexturedMesh, load_mesh, normalised
from renderers.normals import shading_normals
from renderers.subdivision import subdivided
from tests.renderers.loading.model_files import exported


def edge_lengths(mesh: TexturedMesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=-1)


def test_edges_are_short_and_area_texture_area_and_volume_stay(shared_assets: Path) -> None:
    mesh = normalised(load_mesh(shared_assets / "eval" / "aws_TVCabinet_01.glb"))
    fine = subdivided(mesh, max_edge=0.07)
    assert edge_lengths(fine).max() <= 0.07
    assert len(fine.faces) > 4 * len(mesh.faces)

    def areas(corners: np.ndarray) -> float:
        one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        return float(np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum() / 2)

    for axes in ((0, 1), (1, 2), (2, 0)):
        plane = [m.vertices[m.faces][..., axes] for m in (mesh, fine)]
        assert areas(plane[1]) == pytest.approx(areas(plane[0]), rel=1e-9)
    # Texture coordinates are kept in single precision.
    assert areas(fine.corner_uvs) == pytest.approx(areas(mesh.corner_uvs), rel=1e-4)


def test_a_closed_mesh_stays_closed() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=1)
    mesh = load_mesh(exported(trimesh.Trimesh(sphere.vertices, sphere.faces), "stl"), file_type="stl")
    merged = trimesh.Trimesh(mesh.vertices, mesh.faces)
    mesh = load_mesh(exported(merged, "ply"), file_type="ply")
    fine = subdivided(mesh, max_edge=0.13)
    assert trimesh.Trimesh(fine.vertices, fine.faces).is_watertight


def test_normals_and_pictures_go_with_their_faces(shared_assets: Path) -> None:
    mesh = normalised(load_mesh(shared_assets / "eval" / "armchair" / "armchair.gltf"))
    fine = subdivided(mesh, max_edge=0.05)
    assert fine.corner_normals is not None
    np.testing.assert_allclose(np.linalg.norm(fine.corner_normals, axis=-1), 1, atol=1e-5)
    assert set(np.unique(fine.face_picture)) == {0, 1}
    # The parts keep their share of the area.
    for picture in (0, 1):
        sums = []
        for m in (mesh, fine):
            corners = m.vertices[m.faces[m.face_picture == picture]]
            sums.append(
                np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
            )
        assert sums[1] == pytest.approx(sums[0], rel=1e-9)


def test_short_edges_are_left_alone(shared_assets: Path) -> None:
    mesh = normalised(load_mesh(shared_assets / "mixed_formats" / "ycb_006_mustard_bottle.glb"))
    fine = subdivided(mesh, max_edge=3.0)
    np.testing.assert_array_equal(fine.faces, mesh.faces)
    assert fine.corner_normals is not None
    np.testing.assert_allclose(fine.corner_normals, shading_normals(mesh), atol=1e-6)


def test_impossible_lengths_are_refused(shared_assets: Path) -> None:
    mesh = load_mesh(shared_assets / "eval" / "aws_TVCabinet_01.glb")
    with pytest.raises(ValueError, match="positive"):
        subdivided(mesh, max_edge=0.0)
    with pytest.raises(UserError, match="triangles"):
        subdivided(mesh, max_edge=1e-4)
