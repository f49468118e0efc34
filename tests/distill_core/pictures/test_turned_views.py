import math
from dataclasses import replace

import numpy as np
import pytest

from distill_core.cameras import Camera, look_at, orbit_camera
from distill_core.errors import UserError
from distill_core.metrics import psnr
from distill_core.pictures.images import composite
from distill_core.pictures.turned_views import ball_camera, turned_view
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import TexturedMesh
from tests.renderers.texturable_meshes import charted_box

POSITION = (1.4, -2.6, 1.1)


def tilted(width: int, height: int, focal: float) -> Camera:
    """A camera that looks past the object, with its horizon aslant and its principal point off the middle."""
    pose = look_at(POSITION, (0.15, 0.1, -0.2), up=(0.4, 0.0, 1.0))
    return Camera(width, height, focal, 1.1 * focal, 0.45 * width, 0.6 * height, pose)


def painted_box() -> TexturedMesh:
    """A box with eight by eight squares of colour on its texture."""
    squares = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    squares[..., 3] = 255
    return replace(charted_box(), base_colours=(squares.repeat(16, axis=0).repeat(16, axis=1),))


def test_the_ball_just_fills_the_picture() -> None:
    camera = ball_camera(tilted(100, 60, 90.0), 64)
    np.testing.assert_allclose(camera.position, POSITION, atol=1e-12)
    generator = np.random.default_rng(0)
    points = generator.normal(size=(20_000, 3))
    pixels, _ = camera.project(points / np.linalg.norm(points, axis=1, keepdims=True))
    # The tangent cone of the ball, of half angle asin(1 / distance), spans the picture from edge to edge.
    assert 0 <= pixels.min() < 0.5
    assert 63.5 < pixels.max() <= 64
    assert camera.field_of_view_degrees[0] == pytest.approx(2 * math.degrees(math.asin(1 / np.linalg.norm(POSITION))))


def test_a_camera_in_the_ball_is_refused() -> None:
    with pytest.raises(UserError, match="move it away"):
        ball_camera(orbit_camera(0, 0, distance=1.0), 64)


def test_the_same_camera_sees_the_same() -> None:
    camera = orbit_camera(20, 30, width=24, height=24)
    rgba = np.random.default_rng(0).random((4, 24, 24), np.float32)
    rgba[3] = rgba[3] * 0.5 + 0.5
    np.testing.assert_allclose(turned_view(rgba, camera, camera), rgba, atol=1e-5)


@pytest.mark.parametrize("focal", [60.0, 250.0])
def test_a_turned_picture_is_the_one_that_the_camera_takes(focal: float) -> None:
    """The same mesh rendered from both cameras; the picture that is turned has pixels to spare."""
    target = tilted(120, 80, focal)
    mesh = prepare(painted_box())
    whole = ball_camera(target, 512)
    taken = render_views(mesh, [target], supersampling=4).colour[0]
    turned = turned_view(render_views(mesh, [whole], supersampling=4).colour[0], whole, target)
    assert turned.shape == taken.shape
    assert 0.02 < float(taken[3].mean())
    assert float(psnr(composite(turned), composite(taken))) > 30


def test_beyond_the_picture_nothing_is_known() -> None:
    source = orbit_camera(0, 0, field_of_view_degrees=20, width=16, height=16, distance=3.0)
    wide = orbit_camera(0, 0, field_of_view_degrees=60, width=16, height=16, distance=3.0)
    seen = turned_view(np.ones((4, 16, 16), np.float32), source, wide)
    assert seen[3, 8, 8] == pytest.approx(1)
    assert seen[3, 0].max() == 0
    behind = source.moved(look_at((0, -3, 0), (0, -6, 0)))
    assert turned_view(np.ones((4, 16, 16), np.float32), source, behind)[3].max() == 0
    with pytest.raises(ValueError, match="same place"):
        turned_view(np.ones((4, 16, 16), np.float32), source, orbit_camera(90, 0))
