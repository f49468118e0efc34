"""The contract of a Denoiser, asked of the view network: sets, views, dropped conditions, the boundary."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from distill_core.diffusion.samplers import consistency_step, sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.models.settings import ViewNetworkSettings
from distill_core.models.view_network import ViewNetwork
from distill_core.rays import CameraTensors
from tests.distill_core.distillation import toys

SIDE, SETS, VIEWS = 16, 2, 3
SETTINGS = ViewNetworkSettings(
    resolution_px=SIDE, patch_px=4, widths=(16, 16, 32), blocks=1, embedding=16, fine_channels=8
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = ViewNetwork(SETTINGS, source_features=16).eval().requires_grad_(requires_grad=False)
    for parameter in network.parameters():
        # Layers that begin at zero would hide what passes through them.
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(scope="module")
def condition():
    return toys.condition(SETS, VIEWS, SIDE)


@pytest.fixture(scope="module")
def noisy():
    return torch.randn(SETS * VIEWS, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def time_of_sets(*times):
    return torch.tensor(times).repeat_interleave(VIEWS)


def same(a, b):
    # Sums of float32 in another order.
    torch.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)


def test_a_batch_of_sets_equals_each_set_alone(network, condition, noisy):
    time = time_of_sets(0.7, 0.3)
    together = network(noisy, time, condition)
    for number in range(SETS):
        views = slice(number * VIEWS, (number + 1) * VIEWS)
        same(together[views], network(noisy[views], time[views], condition.select_sets(torch.tensor([number]))))


def test_permuting_the_views_of_a_set_permutes_the_results(network, condition, noisy):
    order, time = torch.tensor([2, 0, 1, 4, 3, 5]), time_of_sets(0.7, 0.3)
    permuted = condition.select_views(order, VIEWS)
    same(network(noisy[order], time, permuted), network(noisy, time, condition)[order])


def test_views_of_a_set_attend_to_each_other_and_sets_do_not(network, condition, noisy):
    # At little noise, where a noisy view tells the others the most.
    time, changed = time_of_sets(0.2, 0.2), noisy.clone()
    changed[1] += 1
    difference = (network(changed, time, condition) - network(noisy, time, condition)).flatten(1).abs().amax(1)
    assert (difference[:VIEWS] > 1e-5).all()
    assert (difference[VIEWS:] == 0).all()


def test_a_set_of_one_view_is_legal(network, condition, noisy):
    alone = condition.select_views(torch.tensor([1, 4]), 1)
    assert network(noisy[[1, 4]], torch.tensor([0.7, 0.3]), alone).shape == (2, 4, SIDE, SIDE)


def test_time_0_returns_the_input(network, condition, noisy):
    assert torch.equal(network(noisy, torch.zeros(SETS * VIEWS), condition), noisy)


def other_values(condition, part):
    """The condition with other values of one part."""
    guide = condition.guide
    match part:
        case "colour":
            return replace(condition, guide=replace(guide, colour=1 - guide.colour, seen=1 - guide.seen))
        case "shape":
            return replace(condition, guide=replace(guide, mask=1 - guide.mask, depth=-guide.depth))
        case "normals":
            return replace(condition, guide=replace(guide, normals=-guide.normals))
        case _:
            return replace(condition, source=-condition.source, source_tokens=-condition.source_tokens)


DROPPED = {"colour": [True, False, False], "shape": [False, True, False], "normals": [False, False, True]}


@pytest.mark.parametrize("part", [*DROPPED, "source"])
def test_what_is_dropped_is_not_read_and_what_is_not_is(network, condition, noisy, part):
    time = time_of_sets(0.9, 0.5)
    other = other_values(condition, part)
    parts = torch.tensor(DROPPED.get(part, [False] * 3)).expand(SETS * VIEWS, 3)
    source = torch.tensor([part == "source"] * SETS)
    kept = (network(noisy, time, condition) - network(noisy, time, other)).flatten(1).abs().amax(1)
    assert (kept > 1e-4).all()
    assert torch.equal(
        network(noisy, time, condition.dropped(parts, source)), network(noisy, time, other.dropped(parts, source))
    )


def test_a_dropped_part_is_told_from_one_that_says_zero(network, condition, noisy):
    time = time_of_sets(0.9, 0.5)
    parts, none = torch.tensor([[False, False, True]]).expand(SETS * VIEWS, 3), torch.zeros(SETS, dtype=torch.bool)
    silent = replace(condition, guide=replace(condition.guide, normals=torch.zeros_like(condition.guide.normals)))
    difference = network(noisy, time, silent) - network(noisy, time, condition.dropped(parts, none))
    assert (difference.flatten(1).abs().amax(1) > 1e-4).all()


def test_without_source_nothing_of_the_object_is_left(network, condition, noisy):
    time, other = time_of_sets(1.0, 1.0), condition
    for part in (*DROPPED, "source"):
        other = other_values(other, part)
    assert torch.equal(network(noisy, time, condition.without_source()), network(noisy, time, other.without_source()))


def test_turning_the_world_about_its_vertical_changes_nothing(network, condition, noisy):
    angle = torch.tensor(0.7)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])

    def turned(cameras):
        return CameraTensors(cameras.intrinsics, turn @ cameras.camera_to_world, cameras.width, cameras.height)

    moved = replace(
        condition,
        source_cameras=turned(condition.source_cameras),
        target_cameras=turned(condition.target_cameras),
    )
    time = time_of_sets(0.9, 0.5)
    # Angles and rays are recomputed from turned positions of size 3; features run up to 8 pi of them.
    torch.testing.assert_close(network(noisy, time, moved), network(noisy, time, condition), atol=1e-3, rtol=1e-3)


def test_one_and_several_steps_sample_finite_views(network, condition):
    def noise(shape):
        return torch.randn(SETS * VIEWS, *shape, generator=generator)

    for steps in (1, 3):
        generator = torch.Generator().manual_seed(0)
        views = sample(network, condition, uniform_times(steps), consistency_step, noise)
        assert views.shape == (SETS * VIEWS, *network.sample_shape)
        assert torch.isfinite(views).all()
