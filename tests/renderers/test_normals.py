import numpy as np
import pytest
import trimesh

from renderers.meshes import load_mesh
from renderers.normals import crease_normals, shading_normals
from tests.renderers.loading.model_files import CUBE_FACES, CUBE_VERTICES, GltfBuilder


def brute_force(vertices: np.ndarray, faces: np.ndarray, crease_degrees: float) -> np.ndarray:
    """The rule spelled out: around each position, walk from face to face over edges that turn by less."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    places = [[tuple(corner) for corner in face] for face in corners.tolist()]
    result = np.zeros((len(faces), 3, 3))
    for face in range(len(faces)):
        for corner in range(3):
            position = places[face][corner]
            reached, queue = {face}, [face]
            while queue:
                current = queue.pop()
                for other in range(len(faces)):
                    if other in reached or position not in places[other]:
                        continue
                    shared = set(places[current]) & set(places[other])
                    turn = np.degrees(np.arccos(np.clip(normals[current] @ normals[other], -1, 1)))
                    if len(shared) >= 2 and position in shared and turn < crease_degrees:
                        reached.add(other)
                        queue.append(other)
            total = np.zeros(3)
            for other in reached:
                place = places[other].index(position)
                a, b = (corners[other, (place + k) % 3] - corners[other, place] for k in (1, 2))
                total += np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)) * normals[other]
            result[face, corner] = total / np.linalg.norm(total)
    return result


@pytest.mark.parametrize("crease_degrees", [10.0, 40.0, 80.0, 179.0])
@pytest.mark.parametrize("merged", [True, False])
def test_the_rule_spelled_out_gives_the_same_normals(crease_degrees: float, merged: bool) -> None:
    shape = trimesh.creation.capsule(height=1.0, radius=0.4, count=(7, 6))
    vertices, faces = np.array(shape.vertices), np.array(shape.faces)
    if not merged:
        # Positions repeated at every corner, as at texture seams.
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
    found = crease_normals(vertices, faces, crease_degrees=crease_degrees)
    # Single precision of the result.
    np.testing.assert_allclose(found, brute_force(vertices, faces, crease_degrees), atol=1e-6)


def test_a_cube_keeps_its_edges_sharp() -> None:
    found = crease_normals(CUBE_VERTICES, CUBE_FACES, crease_degrees=40.0)
    corners = CUBE_VERTICES[CUBE_FACES]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_allclose(found, np.repeat(flat[:, None], 3, axis=1), atol=1e-7)


def test_a_fine_sphere_is_smooth() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3)
    found = crease_normals(np.array(sphere.vertices), np.array(sphere.faces), crease_degrees=40.0)
    # The vertex normals of an icosphere differ from the sphere's by less than half a degree.
    cosines = np.einsum("fkd,fkd->fk", found, sphere.vertices[sphere.faces])
    assert cosines.min() > np.cos(np.radians(0.5))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_normals_do_not_depend_on_size(scale: float) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=1)
    vertices, faces = np.array(sphere.vertices), np.array(sphere.faces)
    one = crease_normals(vertices, faces, crease_degrees=60.0)
    np.testing.assert_allclose(crease_normals(vertices * scale, faces, crease_degrees=60.0), one, atol=1e-6)


def test_faces_without_area_take_no_part_and_do_not_break_others() -> None:
    faces = np.concatenate([CUBE_FACES, [[0, 0, 1], [2, 2, 2]]])
    found = crease_normals(CUBE_VERTICES, faces, crease_degrees=40.0)
    np.testing.assert_array_equal(found[:12], crease_normals(CUBE_VERTICES, CUBE_FACES, crease_degrees=40.0))
    assert np.isfinite(found).all()


def test_stored_normals_win_where_there_are_any() -> None:
    builder = GltfBuilder()
    triangle = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    tilted = np.tile(np.array([0.6, 0, 0.8], np.float32), (3, 1))
    builder.mesh({"POSITION": triangle, "NORMAL": tilted})
    builder.mesh({"POSITION": triangle + 3})
    builder.mesh({"POSITION": triangle + 6, "NORMAL": -tilted})
    for mesh in range(3):
        builder.node(mesh=mesh)
    found = shading_normals(load_mesh(builder.glb(), file_type="glb"))
    # y up to z up: (x, y, z) becomes (x, -z, y). The third was stored on the back of its face.
    np.testing.assert_allclose(found[0], np.tile([0.6, -0.8, 0], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(found[1], np.tile([0, -1, 0], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)
