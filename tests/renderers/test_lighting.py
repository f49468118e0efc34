"""Baked light against closed forms."""

import numpy as np

from renderers.lighting import Lobe, StudioLight, bake_light, sphere_directions
from renderers.meshes import TexturedMesh


def _mesh(vertices: list[list[float]], faces: list[list[int]]) -> TexturedMesh:
    return TexturedMesh(
        np.array(vertices, float),
        np.array(faces),
        np.zeros((len(faces), 3, 2), np.float32),
        (np.full((1, 1, 4), 255, np.uint8),),
        np.zeros(len(faces), np.int64),
        None,
        None,
        np.eye(4),
        "test",
    )


def _floor(size: float = 0.5) -> TexturedMesh:
    corners = [[-size, -size, 0], [size, -size, 0], [size, size, 0], [-size, size, 0]]
    return _mesh([[float(c) for c in corner] for corner in corners], [[0, 1, 2], [0, 2, 3]])


def test_a_white_sky_lights_an_open_surface_fully():
    light = StudioLight(sky=1.0, gradient=0.0, lobes=())
    _, received = bake_light(_floor(), light)
    # 96 directions sample the cosine's mean over the hemisphere to about a percent.
    np.testing.assert_allclose(received, 1, atol=0.02)


def test_a_sky_that_grows_with_height_gives_two_thirds():
    # (1 / pi) times the integral of cos^2 over the upper hemisphere is 2 / 3.
    _, received = bake_light(_floor(), StudioLight(sky=0.0, gradient=1.0, lobes=()), num_directions=400)
    np.testing.assert_allclose(received, 2 / 3, atol=0.01)


def test_a_wall_takes_half_of_the_sky():
    # A wall without end beside the floor hides half of the hemisphere from the foot of the wall.
    wall = [[0.0, -40.0, 0.0], [0.0, 40.0, 0.0], [0.0, 40.0, 40.0], [0.0, -40.0, 40.0]]
    floor = [[0.01, -0.05, 0.0], [0.1, 0.05, 0.0], [0.01, 0.05, 0.0]]
    mesh = _mesh(floor + wall, [[0, 1, 2], [3, 4, 5], [3, 5, 6]])
    cut, received = bake_light(mesh, StudioLight(sky=1.0, gradient=0.0, lobes=()), num_directions=400, max_edge=200.0)
    on_floor = np.abs(cut.vertices[cut.faces][..., 2]).max(1) < 1e-9
    np.testing.assert_allclose(received[on_floor].mean(), 0.5, atol=0.03)


def test_a_lobe_shines_from_its_side():
    directions = sphere_directions(500)
    light = StudioLight(sky=0.0, gradient=0.0, lobes=(Lobe((1.0, 0.0, 0.0), 2.0, 8.0),))
    radiance = light.radiance(directions)
    brightest = directions[radiance.argmax()]
    assert brightest[0] > 0.99
    np.testing.assert_allclose(radiance.max(), 2.0 * np.exp(8.0 * (brightest[0] - 1)), rtol=1e-6)
