from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
import trimesh

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.errors import Cancelled, UserError
from gs_integration.texturing.texture_projection import TextureProjection
from gs_integration.texturing.texture_scores import render_texture
from gs_integration.texturing.texture_views import EDGE_TRUST
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import TexturedMesh, normalised
from renderers.ray_casting import RayCaster
from renderers.texture_space.direction_charts import unwrap_by_direction
from tests.renderers.texturable_meshes import bare_mesh, charted_box

SIDE = 64
SLOPES = torch.tensor([[0.2, 0.1, -0.15], [-0.1, 0.2, 0.1], [0.05, -0.2, 0.2]])


def torus() -> TexturedMesh:
    """Hides parts of itself from most views."""
    shape = trimesh.creation.torus(0.7, 0.28, major_sections=40, minor_sections=24)
    turn = np.asarray(trimesh.transformations.rotation_matrix(1.0, [1, 0.3, 0]))[:3, :3]
    mesh = normalised(bare_mesh(shape.vertices @ turn.T, shape.faces))
    uvs = unwrap_by_direction(mesh.vertices, mesh.faces, texture_size=128, padding_texels=3)
    return replace(mesh, corner_uvs=uvs)


@pytest.fixture(scope="module")
def torus_projection() -> TextureProjection:
    return TextureProjection(torus(), fibonacci_rig(14, width=SIDE, height=SIDE), 128)


@pytest.fixture(scope="module")
def box_projection() -> TextureProjection:
    return TextureProjection(charted_box(), fibonacci_rig(12, width=SIDE, height=SIDE), 128)


def linear_colours(points: np.ndarray) -> torch.Tensor:
    """[..., 3] in 0..1 at points of the unit ball."""
    return 0.5 + torch.from_numpy(np.asarray(points, np.float32)) @ SLOPES.T


def linear_views(mesh: TexturedMesh, cameras: list[Camera]) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of a colour that is linear in the surface's position, from depth at pixel centres, and their masks."""
    rendered = render_views(prepare(mesh), cameras)
    pictures = []
    rows, columns = np.indices(rendered.depth.shape[1:]) + 0.5
    for camera, depth in zip(cameras, rendered.depth, strict=True):
        points = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=-1), depth.ravel())
        picture = linear_colours(points).T.reshape(3, *depth.shape)
        pictures.append(torch.where(torch.from_numpy(depth > 0), picture, 7.0))
    return torch.stack(pictures), torch.from_numpy(rendered.depth > 0)


def beside_a_jump(mesh: TexturedMesh, cameras: list[Camera]) -> torch.Tensor:
    """Pixels [V, h, w] whose neighbours' depth differs by more than slanted surfaces of these shapes do."""
    depth = torch.from_numpy(render_views(prepare(mesh), cameras).depth)
    nearest, farthest = (-functional.max_pool2d(-depth, 3, 1, 1), functional.max_pool2d(depth, 3, 1, 1))
    return farthest - nearest > 0.3


def linear_texture(projection: TextureProjection) -> torch.Tensor:
    """The linear colour at the texels of the surface; elsewhere a value that would be seen at once."""
    size = projection.texture_size
    texture = torch.full((size * size, 3), 7.0)
    texture[torch.from_numpy(projection.surface.texels)] = linear_colours(projection.surface.points)
    return texture.T.reshape(3, size, size)


@pytest.fixture(params=["box", "torus"])
def projection(
    request: pytest.FixtureRequest, box_projection: TextureProjection, torus_projection: TextureProjection
) -> TextureProjection:
    return box_projection if request.param == "box" else torus_projection


def test_a_constant_stays_constant_both_ways(projection: TextureProjection) -> None:
    colour = torch.tensor([0.2, 0.5, 0.9, -1.3])
    size = projection.texture_size
    views = projection.project(colour[:, None, None].expand(4, size, size))
    covered = projection.alpha[:, 0] > 0
    assert covered.float().mean() > 0.2
    torch.testing.assert_close(views.permute(0, 2, 3, 1)[covered], colour.expand(int(covered.sum()), 4))
    assert (views.permute(0, 2, 3, 1)[~covered] == 0).all()
    texture = projection.texture(colour[None, :, None, None].expand(len(projection.cameras), 4, SIDE, SIDE))
    torch.testing.assert_close(texture, colour[:, None, None].expand(4, size, size))


def test_a_linear_colour_survives_the_way_to_the_texture(projection: TextureProjection) -> None:
    mesh = charted_box() if projection.surface.owner.max() == 11 else torus()
    views, _ = linear_views(mesh, projection.cameras)
    summed, weight, _ = projection.unproject(views)
    seen = weight[0] > 0
    error = ((summed / weight.clamp(min=1e-30)) - linear_texture(projection))[:, seen].abs()
    # Bilinear weights reproduce what is linear on the screen. The colour is that up to perspective (1e-4 a pixel); by
    # edges, where neighbours are missing, a sample sits up to 0.7 of a pixel of 0.04 beside its place.
    assert error.mean() < 1e-3
    assert error.max() < 0.02


def test_a_linear_colour_survives_the_way_to_the_views(projection: TextureProjection) -> None:
    mesh = charted_box() if projection.surface.owner.max() == 11 else torus()
    views, _ = linear_views(mesh, projection.cameras)
    # Where one part hides another a pixel mixes both; the depth tells of its centre alone.
    inside = (projection.alpha[:, 0] == 1) & ~beside_a_jump(mesh, projection.cameras)
    error = (projection.project(linear_texture(projection)) - views).permute(0, 2, 3, 1)[inside].abs()
    # At the edge of a chart the outer texel's centre stands for what lies up to a texel further out.
    assert error.mean() < 3e-3
    assert error.max() < 0.06


def test_unproject_inverts_project_where_texels_are_seen(projection: TextureProjection) -> None:
    texture = linear_texture(projection)
    back = projection.texture(projection.project(texture))
    assert (back - texture)[:, projection.seen].abs().mean() < 3e-3


def test_views_agree_with_the_renderer_on_a_texture_with_detail(box_projection: TextureProjection) -> None:
    size = box_projection.texture_size
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = [torch.sin(rows / 10), torch.sin(columns / 14), torch.sin((rows + columns) / 18)]
    texture = box_projection.completed(0.5 + 0.3 * torch.stack(waves))
    rendered = render_texture(charted_box(), texture, box_projection.cameras)
    inside = (rendered[:, 3] > 0.999) & (box_projection.alpha[:, 0] == 1)
    error = (box_projection.project(texture) - rendered[:, :3]).permute(0, 2, 3, 1)[inside]
    # The renderer takes 2 x 2 samples, and so mixes charts at the box's edges; elsewhere it differs by mixing linear
    # light, by smaller copies of the picture on slanted sides and by eight bits (0.002).
    assert error.abs().quantile(0.9) < 0.01
    assert error.abs().mean() < 0.01


def test_the_order_of_views_changes_nothing(torus_projection: TextureProjection) -> None:
    order = torch.randperm(len(torus_projection.cameras)).tolist()
    cameras = [torus_projection.cameras[number] for number in order]
    other = TextureProjection(torus(), cameras, 128)
    views = torch.rand(len(order), 3, SIDE, SIDE)
    torch.testing.assert_close(other.texture(views[order]), torus_projection.texture(views), atol=1e-5, rtol=1e-5)
    texture = torch.rand(3, 128, 128)
    torch.testing.assert_close(other.project(texture), torus_projection.project(texture)[order], atol=1e-5, rtol=1e-5)


def test_texels_are_seen_where_rays_reach_them(torus_projection: TextureProjection) -> None:
    surface, mesh = torus_projection.surface, torus()
    caster = RayCaster(mesh, num_threads=1)
    weights = torus_projection._to_texture.matrix
    points = surface.points.astype(np.float64)
    agree = wrongly_seen = 0
    for view, camera in enumerate(torus_projection.cameras):
        block = weights[:, view * SIDE * SIDE : (view + 1) * SIDE * SIDE]
        weight = np.asarray(block.sum(axis=1)).ravel()[surface.texels]
        towards = camera.position - points
        cosine = (surface.normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
        visible = caster.visible(points + 1e-3 * surface.normals, camera.position) & (cosine > 0.1)
        agree += int(((weight > 0) == visible).sum())
        # Beside an outline a neighbouring pixel may still show the texel's surface. It is trusted little, or weighs
        # little, where the surface is so slanted that a jump in depth stays near its plane.
        hidden = ~caster.visible(points, camera.position, tolerance=0.1)
        wrongly_seen += int((hidden & (weight > 2 * EDGE_TRUST)).sum())
    # They differ along the outlines, a pixel wide of 64.
    assert agree / (len(points) * len(torus_projection.cameras)) > 0.95
    assert wrongly_seen == 0


def test_the_background_does_not_bleed_into_the_texture(torus_projection: TextureProjection) -> None:
    object_mask = torus_projection.alpha > 0.999
    views = torch.where(object_mask, 0.4, 100.0).expand(-1, 3, -1, -1)
    texture = torus_projection.texture(views)
    # Pixels that are part background are trusted a hundredth; all others are the object's.
    assert (texture - 0.4).abs().mean() < 0.02
    clean = torch.where(torus_projection.alpha > 0, 0.4, 100.0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(torus_projection.texture(clean), torch.full_like(texture, 0.4))


def test_a_thin_walls_sides_keep_their_own_colours() -> None:
    box = charted_box()
    wall = replace(box, vertices=box.vertices * [1.0, 0.004, 1.0])
    cameras = orbit_rig(8, elevations_degrees=(20,), width=SIDE, height=SIDE)
    views = torch.stack([torch.full((3, SIDE, SIDE), 0.2 if camera.position[1] < 0 else 0.8) for camera in cameras])
    projection = TextureProjection(wall, cameras, 128)
    texture = projection.texture(views)[0].flatten()[torch.from_numpy(projection.surface.texels)]
    side = torch.from_numpy(projection.surface.normals[:, 1])
    torch.testing.assert_close(texture[side < -0.9], torch.full_like(texture[side < -0.9], 0.2))
    torch.testing.assert_close(texture[side > 0.9], torch.full_like(texture[side > 0.9], 0.8))


def test_squared_weights_are_the_variance_of_independent_noise(box_projection: TextureProjection) -> None:
    num_draws = 600
    noise = torch.randn(len(box_projection.cameras), num_draws, SIDE, SIDE)
    summed, weight, squared = box_projection.unproject(noise)
    heavy = squared[0] > 1e-3
    ratio = summed[:, heavy].square().mean(dim=0) / squared[0, heavy]
    # The variance of a mean of n squares of normals is 2 / n; the mean over many texels is far tighter.
    assert abs(float(ratio.mean()) - 1) < 0.02
    assert float((ratio - 1).abs().max()) < 6 * (2 / num_draws) ** 0.5
    assert (squared <= weight.square() + 1e-6).all()


@pytest.mark.parametrize("texture_size", [48, 256])
def test_initial_noise_is_white_in_views_and_one_on_the_surface(texture_size: int) -> None:
    twice = orbit_camera(30, 20, width=SIDE, height=SIDE)
    cameras = [twice, twice, orbit_camera(200, -10, width=SIDE, height=SIDE)]
    projection = TextureProjection(charted_box(), cameras, texture_size)
    noise = projection.initial_noise(torch.Generator().manual_seed(1), channels=64)
    assert noise.shape == (3, 64, SIDE, SIDE)
    inside = projection.alpha[0, 0] == 1
    outside = projection.alpha[0, 0] == 0
    torch.testing.assert_close(noise[0][:, inside], noise[1][:, inside])
    assert (noise[0][:, outside] - noise[1][:, outside]).abs().mean() > 0.5
    # 4 / sqrt(n), of pixels and of neighbouring pairs.
    variance = noise[0].square().mean(dim=0)
    assert float((variance - 1).abs().max()) < 6 * (2 / 64) ** 0.5
    assert abs(float(variance.mean()) - 1) < 4 * (2 / noise[0].numel()) ** 0.5
    neighbours = (noise[0, :, :, 1:] * noise[0, :, :, :-1]).mean()
    assert abs(float(neighbours)) < 0.02


def test_noise_on_texels_keeps_unit_variance_in_views(box_projection: TextureProjection) -> None:
    size = box_projection.texture_size
    views = box_projection.project_noise(torch.randn(300, size, size))
    inside = box_projection.alpha[:, 0] > 0
    assert abs(float(views.square().mean(dim=1)[inside].mean()) - 1) < 0.01
    plain = box_projection.project(torch.randn(300, size, size)).square().mean(dim=1)[inside]
    assert float(plain.mean()) < 0.6  # interpolation averages


def test_gradients_are_those_of_the_transposed_map(box_projection: TextureProjection) -> None:
    size = box_projection.texture_size
    texture = torch.rand(3, size, size, requires_grad=True)
    direction, cotangent = torch.rand(3, size, size), torch.rand(len(box_projection.cameras), 3, SIDE, SIDE)
    (box_projection.project(texture) * cotangent).sum().backward()
    assert texture.grad is not None
    expected = (box_projection.project(direction) * cotangent).sum()
    torch.testing.assert_close((texture.grad * direction).sum(), expected, rtol=1e-4, atol=1e-2)


def test_what_no_view_sees_is_filled_from_the_nearest_surface_and_reported() -> None:
    front = [orbit_camera(0, 0, width=SIDE, height=SIDE)]
    projection = TextureProjection(charted_box(), front, 96)
    coverage = projection.coverage
    # Of the box's six sides, one camera in front sees one.
    assert coverage.surface_share == pytest.approx(1 / 6, abs=0.03)
    assert coverage.filled_share == pytest.approx(1 - coverage.surface_share)
    assert coverage.view_share > 0.9
    views, _ = linear_views(charted_box(), front)
    texture = projection.texture(views)
    assert torch.isfinite(texture).all()
    on_front = linear_colours(projection.surface.points[projection.surface.normals[:, 1] < -0.9])
    assert texture.min() >= on_front.min() - 0.02
    assert texture.max() <= on_front.max() + 0.02


def test_slanted_views_lose_against_straight_ones_as_the_power_says() -> None:
    straight, slanted = (orbit_camera(azimuth, 0, width=SIDE, height=SIDE) for azimuth in (0, 60))
    projection = TextureProjection(charted_box(), [straight, slanted], 96)
    views = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE)])
    surface = projection.surface
    middle = (surface.normals[:, 1] < -0.9) & (np.abs(surface.points[:, [0, 2]]).max(axis=1) < 0.05)
    for power in (0.0, 1.0, 3.0):
        texture = projection.with_cosine_power(power).texture(views)[0].flatten()
        share = float(texture[torch.from_numpy(surface.texels[middle])].mean())
        # In the middle of the front side the views are seen at cosines of 1 and 1/2, up to the eye's nearness.
        towards = slanted.position - np.array([0, -(1 / 3**0.5), 0])
        cosine = -towards[1] / np.linalg.norm(towards)
        assert share == pytest.approx(cosine**power / (1 + cosine**power), abs=0.02)


def test_a_mesh_inside_out_takes_the_same_texture() -> None:
    box = charted_box()
    flipped = replace(box, faces=box.faces[:, ::-1], corner_uvs=np.ascontiguousarray(box.corner_uvs[:, ::-1]))
    cameras = fibonacci_rig(6, width=SIDE, height=SIDE)
    views, _ = linear_views(box, cameras)
    one, other = TextureProjection(box, cameras, 96), TextureProjection(flipped, cameras, 96)
    torch.testing.assert_close(one.texture(views), other.texture(views), atol=1e-4, rtol=1e-4)


def test_fewer_texels_than_pixels_average_what_they_cover() -> None:
    cameras = fibonacci_rig(6, width=128, height=128)
    projection = TextureProjection(charted_box(), cameras, 24)
    checkers = (torch.arange(128)[:, None] + torch.arange(128)) % 2
    texture = projection.texture(checkers.float().expand(6, 1, 128, 128))
    # Single samples of a checkerboard are anywhere in 0..1; means over a texel of many pixels are near a half.
    assert float((texture[0][projection.seen] - 0.5).square().mean().sqrt()) < 0.12


def test_memory_grows_with_texels_and_pixels_not_with_their_product() -> None:
    def megabytes(texture_size: int, side: int) -> float:
        projection = TextureProjection(charted_box(), fibonacci_rig(4, width=side, height=side), texture_size)
        projection.project(torch.zeros(1, texture_size, texture_size))
        return projection.num_bytes / 1e6

    small, both = megabytes(64, 64), megabytes(128, 128)
    assert both < 5 * small  # the product would be 16


@pytest.mark.parametrize("texture_size", [0, -3, 100_000])
def test_an_impossible_texture_size_is_refused(texture_size: int) -> None:
    with pytest.raises(UserError, match=f"got {texture_size}"):
        TextureProjection(charted_box(), [orbit_camera(0, 0)], texture_size)


def test_missing_cameras_and_cameras_inside_are_refused() -> None:
    with pytest.raises(UserError, match="at least one view"):
        TextureProjection(charted_box(), [], 64)
    with pytest.raises(UserError, match="outside the object"):
        TextureProjection(charted_box(), [orbit_camera(0, 0, distance=0.1)], 64)


def test_a_cancelled_job_stops_between_views() -> None:
    class StopAtSecond:
        steps = 0

        def stage(self, name: str, total: int | None) -> None:
            assert (name, total) == ("views on the mesh", 5)

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            self.steps += 1
            if self.steps == 2:
                raise Cancelled

    progress = StopAtSecond()
    with pytest.raises(Cancelled):
        TextureProjection(charted_box(), fibonacci_rig(5, width=32, height=32), 64, progress=progress)
    assert progress.steps == 2
