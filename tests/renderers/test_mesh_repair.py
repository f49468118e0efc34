import numpy as np
import pytest
import trimesh

from distill_core.errors import UserError
from renderers.mesh_repair import repaired
from renderers.mesh_topology import shared_edges
from renderers.meshes import TexturedMesh, transformed
from tests.renderers.texturable_meshes import bare_mesh, volume


def sphere() -> TexturedMesh:
    shape = trimesh.creation.icosphere(subdivisions=2)
    return bare_mesh(shape.vertices, shape.faces)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_closed_mesh_inside_out_is_turned_right_side_out(scale: float) -> None:
    right = transformed(sphere(), np.diag([scale, scale, scale, 1.0]))
    far = np.eye(4)
    far[:3, 3] = 1e3 * scale
    right = transformed(right, far)
    wrong = bare_mesh(right.vertices, right.faces[:, ::-1])
    assert volume(wrong) < 0
    np.testing.assert_allclose(volume(repaired(wrong)), volume(right), rtol=1e-9)
    np.testing.assert_array_equal(repaired(right).faces, right.faces)


def test_single_faces_that_are_turned_over_are_turned_back_with_their_coordinates() -> None:
    right = sphere()
    rng = np.random.default_rng(0)
    uvs = rng.random((len(right.faces), 3, 2)).astype(np.float32)
    turned = rng.random(len(right.faces)) < 0.3
    faces = np.where(turned[:, None], right.faces[:, ::-1], right.faces)
    wrong = bare_mesh(right.vertices, faces, np.where(turned[:, None, None], uvs[:, ::-1], uvs))
    mended = repaired(wrong)
    np.testing.assert_array_equal(mended.faces, right.faces)
    np.testing.assert_array_equal(mended.corner_uvs, uvs)
    assert not shared_edges(mended.vertices, mended.faces).turned.any()


def test_each_part_is_judged_alone() -> None:
    one, other = sphere(), transformed(sphere(), np.array([[1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    both = bare_mesh(
        np.concatenate([one.vertices, other.vertices]),
        np.concatenate([one.faces, other.faces[:, ::-1] + len(one.vertices)]),
    )
    assert volume(both) == pytest.approx(0, abs=1e-9)
    assert volume(repaired(both)) == pytest.approx(2 * volume(one))


def test_an_open_sheet_keeps_the_side_that_most_of_it_faces() -> None:
    vertices = np.array([[x, y, 0.0] for y in range(4) for x in range(4)], float)
    quads = [(4 * y + x, 4 * y + x + 1, 4 * y + x + 5, 4 * y + x + 4) for y in range(3) for x in range(3)]
    faces = np.array([half for a, b, c, d in quads for half in ((a, b, c), (a, c, d))])
    mixed = faces.copy()
    mixed[[2, 7, 9]] = mixed[[2, 7, 9], ::-1]
    np.testing.assert_array_equal(repaired(bare_mesh(vertices, mixed)).faces, faces)


def test_a_moebius_strip_has_no_winding_and_is_left_alone() -> None:
    steps = 12
    angle = np.arange(steps) * 2 * np.pi / steps
    centre = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    across = 0.3 * np.stack(
        [np.cos(angle / 2) * np.cos(angle), np.cos(angle / 2) * np.sin(angle), np.sin(angle / 2)], -1
    )
    vertices = np.concatenate([centre - across, centre + across])
    faces = []
    for k in range(steps):
        a, b, c, d = k, k + steps, (k + 1) % steps, (k + 1) % steps + steps
        if k == steps - 1:
            c, d = d, c
        faces += [(a, c, b), (b, c, d)]
    strip = bare_mesh(vertices, np.array(faces))
    np.testing.assert_array_equal(repaired(strip).faces, strip.faces)


def test_empty_and_repeated_faces_are_left_out() -> None:
    right = sphere()
    faces = np.concatenate([right.faces, right.faces[:5], right.faces[5:9, ::-1], [[0, 0, 1], [3, 7, 3]]])
    assert len(repaired(bare_mesh(right.vertices, faces)).faces) == len(right.faces)
    with pytest.raises(UserError, match="without any"):
        repaired(bare_mesh(right.vertices, np.array([[0, 0, 1], [3, 7, 3]])))


def test_shared_edges_are_those_that_trimesh_finds() -> None:
    shape = trimesh.creation.torus(1, 0.3, major_sections=9, minor_sections=7)
    found = shared_edges(np.asarray(shape.vertices), np.asarray(shape.faces, np.int64))
    expected = {tuple(sorted(pair)) for pair in shape.face_adjacency.tolist()}
    assert {tuple(sorted(pair)) for pair in found.faces.tolist()} == expected
    corners = shape.faces.tolist()
    for (one, other), (edge, other_edge) in zip(found.faces.tolist(), found.edges.tolist(), strict=True):
        ends = {corners[one][edge], corners[one][(edge + 1) % 3]}
        assert ends == {corners[other][other_edge], corners[other][(other_edge + 1) % 3]}
