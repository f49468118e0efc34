"""The guide against spheres, whose silhouettes and depths are known in closed form."""

import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera
from distill_core.guide import (
    Guide,
    extended_colours,
    guide_from_solid,
    guide_from_surface,
    lift_source,
)
from distill_core.rays import CameraTensors, pixel_rays, project_points, stack_cameras
from distill_core.solids import Solid, render_solid

_RADIUS = 0.6


def _sphere_depth(cameras: CameraTensors) -> torch.Tensor:
    """Z-depth [B, 1, H, W] of a sphere about the origin, 0 where the ray misses."""
    origins, directions = pixel_rays(cameras)
    along = -(origins * directions).sum(1)
    inside = _RADIUS**2 - (origins.square().sum(1) - along.square())
    distance = along - inside.clamp(min=0).sqrt()
    cosine = torch.einsum("bchw,bc->bhw", directions, cameras.camera_to_world[:, :3, 2])
    return (distance * cosine * (inside > 0))[:, None]


def _sphere_solid(side: int = 64, bins: int = 64) -> Solid:
    source = stack_cameras([orbit_camera(20, 10, width=side, height=side)])
    nearest = float(source.positions.norm()) - 1
    depths = nearest + (torch.arange(bins) + 0.5) * 2 / bins
    _, directions = pixel_rays(source)
    forward = source.camera_to_world[0, :3, 2]
    scale = depths[:, None, None] / torch.einsum("chw,c->hw", directions[0], forward)
    points = source.positions[0] + scale[..., None] * directions[0].permute(1, 2, 0)
    # Half a cell of softness, so that the surface lies where occupancy crosses one half.
    occupancy = ((_RADIUS - points.norm(dim=-1)) / (2 / bins) + 0.5).clamp(0, 1)
    return Solid(occupancy[None], source)


def _targets(side: int = 32) -> CameraTensors:
    return stack_cameras([orbit_camera(azimuth, 25, width=side, height=side) for azimuth in (20, 75, 200)])


def _sets() -> torch.Tensor:
    return torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize("grad", [False, True], ids=["kernel", "torch"])
def test_rendered_sphere_has_its_silhouette_and_depth(grad: bool):
    solid, targets = _sphere_solid(), _targets()
    with torch.set_grad_enabled(grad):
        mask, depth, thickness = render_solid(solid, _sets(), targets, samples=64)
    truth = _sphere_depth(targets)
    overlap = ((mask > 0.5) & (truth > 0)).sum() / ((mask > 0.5) | (truth > 0)).sum()
    assert overlap > 0.95
    # A sample every 1/32 of the radius, interpolated; grazing rays at the rim are left out.
    core = torch.nn.functional.avg_pool2d((truth > 0).float(), 5, 1, 2) == 1
    assert (depth - truth)[core].abs().max() < 0.05
    assert (depth - truth)[core].abs().mean() < 0.01
    # The longest chord is the diameter; the cells of the solid are 1/16 deep.
    assert thickness.amax((1, 2, 3)).numpy() == pytest.approx(2 * _RADIUS, abs=0.08)
    assert thickness[mask < 0.01].max() < 0.01


def test_kernels_equal_torch():
    generator = torch.Generator().manual_seed(1)
    solid = Solid(
        torch.rand(2, 16, 24, 24, generator=generator),
        stack_cameras([orbit_camera(a, 10, width=24, height=24) for a in (0, 100)]),
    )
    targets = stack_cameras([orbit_camera(a, 30, width=40, height=30) for a in (10, 130, 250)])
    sets = torch.tensor([0, 1, 1])
    source = torch.rand(2, 4, 48, 48, generator=generator)
    with torch.no_grad():
        mask, depth, thickness = render_solid(solid, sets, targets)
        colour, seen = lift_source(source, solid.front_depth(), solid.cameras, sets, targets, depth)
    with torch.enable_grad():
        mask_torch, depth_torch, thickness_torch = render_solid(solid, sets, targets)
        colour_torch, seen_torch = lift_source(source, solid.front_depth(), solid.cameras, sets, targets, depth)
    # float32 against float64 positions; a threshold crossing may fall to the neighbouring sample in rare pixels.
    torch.testing.assert_close(mask, mask_torch, atol=2e-4, rtol=0)
    torch.testing.assert_close(thickness, thickness_torch, atol=2e-4, rtol=0)
    hit = mask > 0.1
    assert ((depth - depth_torch).abs()[hit] < 1e-3).float().mean() > 0.99
    solid_pixels = (seen_torch > 0.05).expand_as(colour)
    torch.testing.assert_close(colour[solid_pixels], colour_torch[solid_pixels], atol=2e-2, rtol=0)
    assert ((seen - seen_torch).abs() < 1e-2).float().mean() > 0.99


def test_lifted_pixels_come_from_the_point_that_they_show():
    """The source is painted with the world position of what it shows; lifted, each target must show its own."""
    source_cameras = stack_cameras([orbit_camera(20, 10, width=96, height=96)])
    targets = _targets(64)
    source_depth, target_depth = _sphere_depth(source_cameras), _sphere_depth(targets)

    def positions(cameras: CameraTensors, depth: torch.Tensor) -> torch.Tensor:
        origins, directions = pixel_rays(cameras)
        cosine = torch.einsum("bchw,bc->bhw", directions, cameras.camera_to_world[:, :3, 2])[:, None]
        return origins + directions * depth / cosine

    painted = (positions(source_cameras, source_depth) * 0.5 + 0.5).clamp(0, 1) * (source_depth > 0)
    source = torch.cat([painted, (source_depth > 0).float()], 1)
    with torch.no_grad():
        guide = guide_from_surface(source, source_depth, source_cameras, _sets(), targets, target_depth, None)
    seen = guide.seen[:, 0] > 0.9
    assert seen[0].sum() > seen[1].sum() > seen[2].sum()
    shown = guide.colour.permute(0, 2, 3, 1)[seen] * 2 - 1
    expected = positions(targets, target_depth).permute(0, 2, 3, 1)[seen]
    # One source pixel is 0.022 wide on the sphere; towards the rim it covers more.
    assert (shown - expected).norm(dim=-1).median() < 0.02
    # What faces away from the source by more than a right angle is not seen by it.
    facing = torch.einsum("bchw,c->bhw", positions(targets, target_depth), source_cameras.positions[0])
    assert guide.seen[:, 0][(target_depth[:, 0] > 0) & (facing < -0.3)].max() < 0.1


def test_the_source_view_of_a_solid_shows_the_source():
    solid = _sphere_solid()
    source_cameras = solid.cameras.resized(64, 64)
    alpha = (_sphere_depth(source_cameras) > 0).float()
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (64, 64), mode="bilinear")
    source = torch.cat([smooth * alpha, alpha], 1)
    with torch.no_grad():
        guide = guide_from_solid(solid, source, torch.zeros(1, dtype=torch.long), source_cameras)
    core = torch.nn.functional.avg_pool2d(alpha, 5, 1, 2)[:, 0] == 1
    assert (guide.colour - smooth).abs().permute(0, 2, 3, 1)[core].max() < 0.02


def test_dropped_parts_cannot_be_read():
    targets = _targets()
    generator = torch.Generator().manual_seed(2)
    colour, seen, mask, depth, normals, thickness = (
        torch.rand(3, channels, 32, 32, generator=generator) for channels in (3, 1, 1, 1, 3, 1)
    )
    guide = Guide(colour, seen, mask, depth, normals, thickness, torch.ones(3, 3))
    assert len(targets) == 3
    dropped = guide.dropped(torch.tensor([[True, False, False], [False, True, False], [True, True, True]]))
    assert not dropped.colour[0].any()
    assert not dropped.seen[0].any()
    assert torch.equal(dropped.mask[0], guide.mask[0])
    assert not dropped.mask[1].any()
    assert not dropped.depth[1].any()
    assert not dropped.thickness[1].any()
    assert torch.equal(dropped.colour[1], guide.colour[1])
    assert not dropped.channels()[2].any()
    assert torch.equal(dropped.present, torch.tensor([[0.0, 1, 1], [1, 0, 1], [0, 0, 0]]))


def test_projection_of_a_lifted_depth_is_the_pixel():
    targets = _targets()
    depth = _sphere_depth(targets)
    origins, directions = pixel_rays(targets)
    cosine = torch.einsum("bchw,bc->bhw", directions, targets.camera_to_world[:, :3, 2])[:, None]
    points = (origins + directions * depth / cosine).flatten(2).transpose(1, 2)
    _, z = project_points(points, targets)
    np.testing.assert_allclose(z.numpy(), depth.flatten(1).numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_colours_go_on_beside_the_silhouette(size: tuple[int, int]):
    """A ramp of colour on a disc: known inside, within the disc's range and near its edge's colour outside."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    ramp = (columns * 0.5 + 0.5).expand(1, 3, -1, -1)
    alpha = (rows.hypot(columns) < 0.5).float()[None, None]
    extended = extended_colours(torch.cat([ramp * alpha, alpha], 1))
    inside = (alpha > 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(extended[inside], ramp[inside])
    assert extended.min() >= ramp[inside].min() - 1e-6
    assert extended.max() <= ramp[inside].max() + 1e-6
    row = alpha[0, 0, size[0] // 2]
    first, last = int(row.argmax()), size[1] - 1 - int(row.flip(0).argmax())
    beside = extended[0, 0, size[0] // 2]
    assert beside[first - 2] < 0.4 < 0.6 < beside[last + 2]
