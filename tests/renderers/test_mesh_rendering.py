from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open3d as o3d
import pytest

from distill_core.cameras import Camera, look_at, orbit_camera
from distill_core.errors import UserError
from renderers.mesh_rendering import RenderedViews, prepare, render_depth, render_views
from renderers.meshes import TexturedMesh, load_mesh, normalised
from renderers.normals import shading_normals

OFF_CENTRE = Camera(97, 61, 130.0, 110.0, 40.3, 33.7, look_at((1.9, -2.6, 1.3), (0.1, 0.05, -0.1)))
# The encoding to sRGB goes through a table of 4096 linear pieces, steepest at black: its error is below 1/3 of 1/255.
HALF_A_LEVEL = 0.5 / 255


def mesh_of(
    vertices: np.ndarray, faces: npt.ArrayLike, corner_uvs: np.ndarray | None = None, picture: np.ndarray | None = None
) -> TexturedMesh:
    faces = np.asarray(faces, np.int64)
    return TexturedMesh(
        vertices=np.asarray(vertices, np.float64),
        faces=faces,
        corner_uvs=np.zeros((len(faces), 3, 2), np.float32) if corner_uvs is None else corner_uvs.astype(np.float32),
        base_colours=(np.full((1, 1, 4), 255, np.uint8) if picture is None else picture,),
        face_picture=np.zeros(len(faces), np.int64),
        corner_colours=None,
        corner_normals=None,
        source_to_object=np.eye(4),
        name="test",
    )


def quad(picture: np.ndarray, *, repeats: int = 1) -> TexturedMesh:
    """A square of side 2 in the plane y = 0, seen from -y with x to the right and z up."""
    corners = np.array([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]])
    uvs = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]) * repeats
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return mesh_of(corners, faces, uvs[faces], picture)


def facing_camera(pixels: int) -> Camera:
    """A camera whose picture the quad fills exactly."""
    distance = 5.0
    focal = pixels * distance / 2
    return Camera(pixels, pixels, focal, focal, pixels / 2, pixels / 2, look_at((0, -distance, 0)))


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encoded(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)


def render(mesh: TexturedMesh, camera: Camera, supersampling: int = 1) -> RenderedViews:
    return render_views(prepare(mesh), [camera], supersampling=supersampling)


def open3d_hits(mesh: TexturedMesh, camera: Camera) -> dict[str, np.ndarray]:
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(mesh.vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(mesh.faces.astype(np.uint32)),
    )
    rays = scene.create_rays_pinhole(
        o3d.core.Tensor.from_numpy(camera.intrinsics.copy()),
        o3d.core.Tensor.from_numpy(camera.world_to_camera.copy()),
        camera.width,
        camera.height,
    )
    return {key: value.numpy() for key, value in scene.cast_rays(rays).items()}


@pytest.mark.parametrize("camera", [OFF_CENTRE, orbit_camera(70, -35, width=64, height=48), orbit_camera(0, 90)])
def test_a_vertex_lands_on_its_pixel(camera: Camera) -> None:
    """The centroid of a small diamond around a vertex, parallel to the picture, is where the vertex lies."""
    right, down = camera.camera_to_world[:3, :2].T
    for seed in range(6):
        offset = np.random.default_rng(seed).uniform(-0.4, 0.4, 3)
        vertex = offset @ camera.camera_to_world[:3, :3].T
        size = 0.05 * np.linalg.norm(camera.position)
        # Turned, so that its edges do not run along the diagonals of the samples.
        one, other = 0.9 * right + 0.44 * down, 0.9 * down - 0.44 * right
        diamond = vertex + size * np.array([one, other, -one, -other])
        mesh = mesh_of(np.concatenate([[vertex], diamond]), [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
        alpha = render(mesh, camera, supersampling=8).colour[0, 3]
        rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
        found = np.array([(alpha * columns).sum(), (alpha * rows).sum()]) / alpha.sum()
        # By hand: the point in camera axes, divided by its depth.
        x, y, z = np.linalg.inv(camera.camera_to_world)[:3] @ [*vertex, 1]
        expected = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
        # A side of the diamond is ten pixels or so in 64 sample rows: far below a tenth.
        np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize(
    "name", ["eval/cow/cow.obj", "eval/Duck.glb", "eval/aws_TVCabinet_01.glb", "mixed_formats/gazebo_playground.glb"]
)
@pytest.mark.parametrize("camera", [OFF_CENTRE, orbit_camera(200, 30, width=80, height=80)])
def test_depth_faces_and_normals_are_those_of_ray_casting(name: str, camera: Camera, shared_assets: Path) -> None:
    mesh = normalised(load_mesh(shared_assets / name))
    views = render(mesh, camera)
    hits = open3d_hits(mesh, camera)
    met = np.isfinite(hits["t_hit"])
    # At outlines and between touching faces, single precision decides; they differ at few pixels.
    assert ((views.face_ids[0] >= 0) != met).mean() < 2e-3
    np.testing.assert_array_equal(views.colour[0, 3] == 1, views.face_ids[0] >= 0)
    np.testing.assert_array_equal(views.depth[0] > 0, views.face_ids[0] >= 0)
    both = (views.face_ids[0] >= 0) & met
    # Open3D's rays have z = 1 in camera axes, so that t is the z-depth.
    difference = np.abs(views.depth[0] - hits["t_hit"])[both]
    assert np.quantile(difference, 0.995) < 1e-4
    same = both & (views.face_ids[0] == hits["primitive_ids"])
    assert same.sum() > 0.97 * both.sum()
    second, third = hits["primitive_uvs"][same].T
    weights = np.stack([1 - second - third, second, third], axis=1)
    corners = shading_normals(mesh)[views.face_ids[0][same]]
    expected = np.einsum("nk,nkd->nd", weights, corners)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    positions = np.einsum("nk,nkd->nd", weights, mesh.vertices[mesh.faces[views.face_ids[0][same]]])
    geometric = hits["primitive_normals"][same]
    behind = np.einsum("nd,nd->n", geometric, positions - camera.position) > 0
    expected[behind] *= -1
    found = views.normals[0][:, same].T
    # Weights of single precision across normals that turn by up to 180 degrees within a face.
    assert np.quantile(np.abs(found - expected), 0.995) < 5e-3
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_normals_face_the_camera_on_both_sides() -> None:
    mesh = quad(np.full((1, 1, 4), 255, np.uint8))
    for azimuth, sign in ((0, -1), (180, 1)):
        normals = render(mesh, orbit_camera(azimuth, 20)).normals[0][:, 64, 64]
        np.testing.assert_allclose(normals, (0, sign, 0), atol=1e-6)


def test_render_depth_is_the_depth_of_render_views(shared_assets: Path) -> None:
    mesh = prepare(normalised(load_mesh(shared_assets / "eval/cow/cow.obj")))
    cameras = [orbit_camera(angle, 20, width=64, height=64) for angle in (0, 100)]
    np.testing.assert_array_equal(render_depth(mesh, cameras), render_views(mesh, cameras).depth)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_supersampling_is_the_box_average_of_a_larger_picture(samples: int, shared_assets: Path) -> None:
    mesh = prepare(normalised(load_mesh(shared_assets / "eval/plant/plant.obj", up_axis="z")))
    large = OFF_CENTRE.resized(OFF_CENTRE.width * samples, OFF_CENTRE.height * samples)
    one = render_views(mesh, [OFF_CENTRE], supersampling=samples).colour[0]
    many = render_views(mesh, [large], supersampling=1).colour[0]
    boxes = many.reshape(4, OFF_CENTRE.height, samples, OFF_CENTRE.width, samples)
    alpha = boxes[3].mean(axis=(1, 3))
    premultiplied = (boxes[:3] * boxes[3:]).mean(axis=(2, 4))
    np.testing.assert_allclose(one[3], alpha, atol=1e-6)
    np.testing.assert_allclose(one[:3] * one[3], premultiplied, atol=1e-5)


def test_depth_and_faces_do_not_depend_on_supersampling(shared_assets: Path) -> None:
    mesh = prepare(normalised(load_mesh(shared_assets / "eval/Fox.glb")))
    one, two = (render_views(mesh, [OFF_CENTRE], supersampling=samples) for samples in (1, 3))
    for name in ("depth", "normals", "face_ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_coverage_converges_to_the_area_of_the_triangle() -> None:
    """Alpha sums to the area of the projected triangle: the shoelace formula in pixels."""
    mesh = mesh_of(np.array([[-0.8, 0.3, -0.5], [0.7, -0.2, -0.4], [0.1, 0.4, 0.6]]), [[0, 1, 2]])
    (ax, ay), (bx, by), (cx, cy) = OFF_CENTRE.project(mesh.vertices)[0]
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    alpha = render(mesh, OFF_CENTRE, supersampling=16).colour[0, 3]
    assert alpha.sum() == pytest.approx(area, rel=2e-3)


def test_colour_is_straight_at_outlines() -> None:
    picture = np.full((1, 1, 4), (30, 120, 250, 255), np.uint8)
    mesh = replace(quad(picture), vertices=quad(picture).vertices * 0.63)
    colour = render(mesh, OFF_CENTRE, supersampling=4).colour[0]
    partly = (colour[3] > 0) & (colour[3] < 1)
    assert partly.sum() > 50
    np.testing.assert_allclose(
        colour[:3, partly].T, np.broadcast_to([30, 120, 250], (partly.sum(), 3)) / 255, atol=1e-3
    )
    assert (colour[:3, colour[3] == 0] == 0).all()


def random_picture(height: int, width: int) -> np.ndarray:
    picture = np.random.default_rng(3).integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture[..., 3] = 255
    return picture


def test_a_texture_on_its_own_pixels_is_shown_unchanged() -> None:
    picture = random_picture(48, 48)
    colour = render(quad(picture), facing_camera(48)).colour[0]
    np.testing.assert_allclose(colour.transpose(1, 2, 0), picture / 255, atol=HALF_A_LEVEL)


def test_textures_repeat_and_their_first_row_is_on_top() -> None:
    picture = random_picture(16, 16)
    colour = render(quad(picture, repeats=3), facing_camera(48)).colour[0]
    np.testing.assert_allclose(colour.transpose(1, 2, 0), np.tile(picture, (3, 3, 1)) / 255, atol=HALF_A_LEVEL)


def test_a_texture_seen_small_is_averaged_in_linear_light() -> None:
    picture = random_picture(128, 128)
    colour = render(quad(picture), facing_camera(32)).colour[0, :3].transpose(1, 2, 0)
    boxes = linear(picture[..., :3] / 255).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(colour, encoded(boxes), atol=HALF_A_LEVEL)


def test_a_texture_seen_large_is_interpolated_along_true_perspective() -> None:
    """Against rays of Open3D and bilinear interpolation written out in numpy."""
    picture = random_picture(12, 20)
    mesh = quad(picture)
    camera = replace(OFF_CENTRE, camera_to_world=look_at((2.0, -1.6, 1.1)))
    colour = render(mesh, camera).colour[0]
    hits = open3d_hits(mesh, camera)
    shown = np.isfinite(hits["t_hit"]) & (colour[3] > 0)
    second, third = hits["primitive_uvs"][shown].T.astype(np.float64)
    weights = np.stack([1 - second - third, second, third], axis=1)
    u, v = np.einsum("nk,nkd->dn", weights, mesh.corner_uvs[hits["primitive_ids"][shown]])
    x, y = u * 20 - 0.5, (1 - v) * 12 - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    texels = linear(picture[..., :3] / 255)
    wx, wy = (x - x0)[:, None], (y - y0)[:, None]
    expected = (
        texels[y0 % 12, x0 % 20] * (1 - wx) * (1 - wy)
        + texels[y0 % 12, (x0 + 1) % 20] * wx * (1 - wy)
        + texels[(y0 + 1) % 12, x0 % 20] * (1 - wx) * wy
        + texels[(y0 + 1) % 12, (x0 + 1) % 20] * wx * wy
    )
    assert shown.sum() > 500
    # Hits of single precision move the look-up by some 1e-5 texels.
    np.testing.assert_allclose(colour[:3, shown].T, encoded(expected), atol=2 * HALF_A_LEVEL)


def test_corner_colours_and_light_multiply_in_linear_light() -> None:
    picture = np.full((1, 1, 4), (255, 128, 64, 255), np.uint8)
    factors = np.zeros((2, 3, 4), np.float32)
    factors[...] = (0.5, 0.25, 1, 1)
    mesh = replace(quad(picture), corner_colours=factors)
    light = np.full((2, 3, 3), 0.5, np.float32)
    colour = render_views(prepare(mesh, corner_light=light), [facing_camera(8)]).colour[0, :3, 4, 4]
    expected = encoded(linear(np.array([255, 128, 64]) / 255) * (0.25, 0.125, 0.5))
    np.testing.assert_allclose(colour, expected, atol=HALF_A_LEVEL)


def test_alpha_cuts_holes_through_which_things_behind_are_seen() -> None:
    picture = np.full((2, 2, 4), 255, np.uint8)
    picture[:, 0, 3] = 0
    front = quad(picture)
    alpha = render(front, facing_camera(32)).colour[0, 3]
    # Bilinear alpha falls below one half left of the middle and, repeated, right of the edges' middle.
    np.testing.assert_array_equal(alpha[:, 1:15], 0)
    np.testing.assert_array_equal(alpha[:, 17:31], 1)
    red = np.full((1, 1, 4), (255, 0, 0, 255), np.uint8)
    both = replace(
        front,
        vertices=np.concatenate([front.vertices, front.vertices * 2 + (0, 1, 0)]),
        faces=np.concatenate([front.faces, front.faces + 4]),
        corner_uvs=np.concatenate([front.corner_uvs] * 2),
        base_colours=(picture, red),
        face_picture=np.array([0, 0, 1, 1]),
    )
    views = render(both, facing_camera(32))
    np.testing.assert_allclose(views.colour[0, :, 16, 8], (1, 0, 0, 1), atol=1e-4)
    np.testing.assert_allclose(views.colour[0, :, 16, 24], (1, 1, 1, 1), atol=1e-4)
    np.testing.assert_allclose(views.depth[0, 16, [8, 24]], (6, 5), rtol=1e-6)


def test_views_do_not_depend_on_those_beside_them(shared_assets: Path) -> None:
    mesh = prepare(normalised(load_mesh(shared_assets / "eval/Fox.glb")))
    cameras = [orbit_camera(angle, 10, width=48, height=40) for angle in (10, 130, 250)]
    together = render_views(mesh, cameras)
    for index, camera in enumerate(cameras):
        alone = render_views(mesh, [camera])
        for name in ("colour", "depth", "normals", "face_ids"):
            np.testing.assert_array_equal(getattr(together, name)[index], getattr(alone, name)[0])


def test_cameras_inside_and_of_different_sizes_are_refused() -> None:
    mesh = prepare(quad(np.full((1, 1, 4), 255, np.uint8)))
    with pytest.raises(UserError, match="outside the object"):
        render_views(mesh, [orbit_camera(0, 90, distance=0.5)])
    with pytest.raises(ValueError, match="one picture size"):
        render_views(mesh, [orbit_camera(0, 0), orbit_camera(0, 0, width=64)])
