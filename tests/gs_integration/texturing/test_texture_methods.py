"""Textures painted view by view or distilled, with generators whose pictures are known beforehand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.diffusion.samplers import consistency_step
from distill_core.diffusion.schedules import VariancePreserving
from distill_core.diffusion.time_grids import uniform_times
from distill_core.guide import Guide
from distill_core.models.condition import ViewCondition
from distill_core.rays import stack_cameras
from distill_core.synchronization.view_updates import Trimap
from gs_integration.texturing.texture_methods import (
    SurfaceViews,
    distilled_surface,
    nearest_first,
    painted_surface,
    with_painted,
)
from gs_integration.texturing.texture_projection import TextureProjection
from tests.renderers.texturable_meshes import charted_box

SIDE = 32


class Copies:
    """Paints what its guide knows as it is, and the rest in its own colours in turn: 0.2, 0.4, 0.6, ..."""

    sample_shape = (4, SIDE, SIDE)
    schedule = VariancePreserving()

    def __init__(self, colours: list[float]) -> None:
        self.colours = colours
        self.calls = 0
        self.told: list[ViewCondition] = []

    def __call__(self, noisy: Tensor, time: Tensor, condition: ViewCondition) -> Tensor:
        guide = condition.guide
        own = self.colours[min(self.calls, len(self.colours) - 1)]
        self.calls += 1
        self.told.append(condition)
        colour = guide.colour * guide.seen + own * (1 - guide.seen)
        return torch.cat([colour * guide.mask, guide.mask], 1) * 2 - 1


def condition_of(cameras: list[Camera], mask: Tensor) -> ViewCondition:
    views = len(cameras)
    empty = torch.zeros(views, 1, SIDE, SIDE)
    colours = torch.zeros(views, 3, SIDE, SIDE)
    guide = Guide(colours, empty, mask, empty, colours, empty, torch.tensor([0.0, 1, 1]).expand(views, 3))
    source = torch.zeros(1, 4, SIDE, SIDE)
    tokens, present = torch.zeros(1, 1, 1), torch.ones(1)
    return ViewCondition(source, stack_cameras(cameras[:1]), stack_cameras(cameras), views, guide, tokens, present)


def surface_of(network: Any, cameras: list[Camera], texture_size: int) -> SurfaceViews:
    projection = TextureProjection(charted_box(), cameras, texture_size)
    return SurfaceViews(projection, network, condition_of(cameras, (projection.alpha > 0.5).float()), None)


def test_views_next_to_the_picture_come_first_and_sides_take_turns():
    ring = orbit_rig(6, elevations_degrees=(20.0,), start_azimuth_degrees=30, width=8, height=8)
    above = orbit_camera(0, 80, width=8, height=8)
    order = nearest_first([above, *ring], orbit_camera(30, 20, width=8, height=8))
    assert order[0] == 1
    assert set(order[1:4]) == {0, 2, 6}
    assert order[4:] == [3, 5, 4]


def test_what_is_painted_is_told_as_a_known_colour_and_nothing_else():
    camera = orbit_camera(0, 0, width=SIDE, height=SIDE)
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 4:-4, 4:-4] = 1
    generate = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    generate[:, SIDE // 2 :] = True
    known = torch.full((3, SIDE, SIDE), 0.5)
    trimap = Trimap(0, known, generate, torch.zeros_like(generate), ~generate)
    guide = with_painted(condition_of([camera], mask), trimap).guide
    told = (mask * ~generate).expand(1, 3, SIDE, SIDE)
    assert torch.equal(guide.colour, 0.75 * told)
    assert torch.equal(guide.seen, told[:, :1])
    assert guide.present.tolist() == [[1, 1, 1]]
    nothing = Trimap(0, known, torch.ones_like(generate), torch.zeros_like(generate), torch.zeros_like(generate))
    untouched = with_painted(condition_of([camera], mask), nothing).guide
    assert not bool(untouched.colour.any())
    assert untouched.present.tolist() == [[0, 1, 1]]


def test_views_are_painted_into_what_earlier_ones_left():
    # From 45 degrees above a box's top and sides are seen at one slant, so no view sees better what another painted.
    cameras = orbit_rig(4, elevations_degrees=(45.0,), width=SIDE, height=SIDE)
    network = Copies([0.2, 0.4, 0.6, 0.8])
    surface = surface_of(network, cameras, 48)
    result = painted_surface(
        surface, uniform_times(1), lambda: consistency_step, torch.Generator().manual_seed(0), order=[0, 1, 3, 2]
    )
    assert network.calls == 4
    # The generator was told of what is painted, the top, but for the first view.
    shares = [float(told.guide.seen.sum() / told.guide.mask.sum()) for told in network.told]
    assert shares[0] == 0
    assert min(shares[1:]) > 0.25
    # The first view goes on showing its own colour, up to pixels at the box's edges.
    inside = surface.projection.alpha[0].expand(3, -1, -1) == 1
    first = result.instances[0][inside] * 0.5 + 0.5
    assert float(((first - 0.2).abs() < 0.02).float().mean()) > 0.85
    # Sides that meet none but the painting view's own have its colour: of five seen sides two are the first view's.
    seen = surface.projection.seen
    values = (result.canonical[0][seen] * 0.5 + 0.5).clamp(0, 1)
    shown = [float(((values - colour).abs() < 0.02).float().mean()) for colour in network.colours]
    assert shown[0] > 0.3
    assert min(shown[1:]) > 0.12
    assert result.coverage == pytest.approx(float(seen.float().mean()), abs=0.02)


def test_a_distilled_texture_takes_the_colour_that_the_generator_finds_likely():
    cameras = fibonacci_rig(5, width=SIDE, height=SIDE)
    # Twice as fine as the views: texels between their pixels' samples have to follow.
    surface = surface_of(Copies([0.7]), cameras, 128)
    result = distilled_surface(surface, 80, torch.Generator().manual_seed(0))
    seen = surface.projection.seen
    values = result.canonical[0][seen] * 0.5 + 0.5
    # From 0.5; the gradient of the last steps still moves it by their rate.
    assert abs(float(values.mean()) - 0.7) < 0.03
    assert float(((values - 0.7).abs() < 0.1).float().mean()) > 0.95
    # Every view had its turn.
    assert bool((result.own_clean.flatten(1).abs().sum(dim=1) > 0).all())
