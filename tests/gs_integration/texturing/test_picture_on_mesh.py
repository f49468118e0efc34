import numpy as np
import pytest
import torch

from distill_core.cameras import Camera, orbit_camera
from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from gs_integration.texturing.picture_on_mesh import fitted_camera, picture_texture, stretched_camera
from renderers.mesh_rendering import prepare, render_depth, render_views
from renderers.texture_space.texel_surface import texel_surface
from tests.gs_integration.texturing.test_texture_projection import linear_colours, torus
from tests.renderers.texturable_meshes import bare_mesh, charted_box

SIDE = 256


def moved(camera: Camera, zoom: float, across: float, down: float) -> Camera:
    """The camera's picture magnified about its middle and shifted, in pixels."""
    return Camera(
        width=camera.width,
        height=camera.height,
        fx=camera.fx * zoom,
        fy=camera.fy * zoom,
        cx=camera.cx + across,
        cy=camera.cy + down,
        camera_to_world=camera.camera_to_world,
    )


def test_a_camera_is_found_from_its_outline():
    mesh = prepare(torus())
    true = moved(orbit_camera(30, 25, width=SIDE, height=SIDE), 0.85, 12, -9)
    alpha = (render_depth(mesh, [true])[0] > 0).astype(np.float32)
    fit = fitted_camera(mesh, alpha, 30.0, [15.0, 5.0, 10.0, 20.0, 25.0, 30.0])
    assert fit.elevation_degrees == 25
    # Outlines are compared at 128 px, where the torus' outlines are some 600 px long and cover 4000.
    assert fit.outline_iou > 0.93
    assert (fit.camera.width, fit.camera.height) == (SIDE, SIDE)
    assert abs(fit.camera.fx / true.fx - 1) < 0.01
    assert np.hypot(fit.camera.cx - true.cx, fit.camera.cy - true.cy) < 1.5


def test_an_outline_of_another_shape_does_not_fit():
    mesh = prepare(torus())
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[100:140, 20:240] = 1
    assert fitted_camera(mesh, alpha, 0.0, [0.0]).outline_iou < 0.6


def test_a_stretched_picture_has_the_box_of_the_outline():
    mesh, camera = prepare(torus()), orbit_camera(30, 25, width=SIDE, height=SIDE)
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[100:140, 20:240] = 1
    rows, columns = np.nonzero(render_depth(mesh, [stretched_camera(mesh, alpha, camera)])[0])
    # Outlines are found to a pixel, and 1.6 of one after stretching.
    assert np.abs(np.array([rows.min(), rows.max(), columns.min(), columns.max()]) - [100, 139, 20, 239]).max() <= 2


@pytest.mark.parametrize("make", [charted_box, torus])
def test_a_picture_comes_back_on_the_mesh_where_it_is_believed(make):
    mesh = make()
    camera = orbit_camera(25, 30, width=SIDE, height=SIDE)
    rendered = render_views(prepare(mesh), [camera])
    rows, columns = np.indices((SIDE, SIDE)) + 0.5
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    points = camera.unproject(pixels, rendered.depth[0].ravel())
    picture = linear_colours(points).numpy().T.reshape(3, SIDE, SIDE)
    rgba = np.concatenate([picture, rendered.colour[0, 3:]]).astype(np.float32)
    known = picture_texture(mesh, rgba, camera, 128, SilentProgress())
    surface = texel_surface(mesh, 128)
    trust = known.trust.ravel()[surface.texels]
    error = (known.colour.reshape(3, -1).T[surface.texels] - linear_colours(surface.points)).abs().amax(dim=1)
    # A pixel is 0.008 wide, colours change by 0.3 a unit.
    assert error[trust > 0].max() < 0.02
    towards = camera.position - surface.points
    cosine = (surface.normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
    # Straight on and off the edges a picture is believed, beyond the slant (and its smooth normals) it is not.
    assert (trust[torch.from_numpy(cosine > 0.65)] > 0.9).float().mean() > 0.5
    assert trust[torch.from_numpy(cosine < 0)].max() < 0.05


def test_a_sheet_is_looked_at_from_where_it_shows_and_refused_from_its_edge():
    corners = np.array([[-0.6, -0.6, 0], [0.6, -0.6, 0], [0.6, 0.6, 0], [-0.6, 0.6, 0]])
    sheet = prepare(bare_mesh(corners, np.array([[0, 1, 2], [0, 2, 3]])))
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[100:140, 20:240] = 1
    assert fitted_camera(sheet, alpha, 30.0, [0.0, 20.0]).elevation_degrees == 20
    with pytest.raises(UserError, match="flat one with its edge"):
        fitted_camera(sheet, alpha, 30.0, [0.0])
    with pytest.raises(UserError, match="flat one with its edge"):
        stretched_camera(sheet, alpha, orbit_camera(30, 0, width=SIDE, height=SIDE))
