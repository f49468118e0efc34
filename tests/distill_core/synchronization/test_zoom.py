import itertools

import pytest
import torch

from distill_core.synchronization.projections import average
from distill_core.synchronization.zoom import ZoomStack
from tests.distill_core.synchronization.projection_laws import (
    assert_linear,
    assert_noise_is_standard_normal,
    assert_round_trip_is_identity,
    assert_unprojecting_noise_keeps_the_promised_variance,
)

STACKS = {
    "three by two": (3, 2, 16, 2),
    "two by four": (2, 2, 16, 4),
    "five by two": (5, 1, 16, 2),
    "one": (1, 2, 8, 2),
}


@pytest.mark.parametrize("shape", STACKS.values(), ids=STACKS)
def test_a_stack_keeps_the_laws_of_projections(shape):
    stack = ZoomStack(*shape)
    assert_linear(stack)
    # Levels that agree: what is rendered shows the same in each middle as the next level does as a whole.
    assert_round_trip_is_identity(stack, stack.project(torch.randn(stack.canonical_shape)))
    assert_noise_is_standard_normal(stack)
    assert_unprojecting_noise_keeps_the_promised_variance(stack)


def test_the_middle_of_a_view_is_the_next_view_reduced():
    stack = ZoomStack(3, 2, 16, 2)
    views = stack.project(torch.randn(stack.canonical_shape))
    for wide, near in itertools.pairwise(views):
        reduced = torch.nn.functional.avg_pool2d(near[None], 2)[0]
        torch.testing.assert_close(wide[:, 4:12, 4:12], reduced)


def test_noise_in_the_middle_is_the_next_noise_with_its_variance_restored():
    stack = ZoomStack(2, 1, 16, 4)
    wide, near = stack.initial_noise(torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide[:, 6:10, 6:10], 4 * torch.nn.functional.avg_pool2d(near[None], 4)[0])


def test_a_wider_view_changes_only_the_coarse_bands_of_a_layer():
    stack = ZoomStack(2, 1, 16, 2)
    views = stack.project(torch.randn(stack.canonical_shape))
    before = average(stack.unproject(views))[1]
    views[0] += 1
    after = average(stack.unproject(views))[1]
    # Two views vote on the mean of each block of 2 x 2 pixels; details are the nearer view's alone.
    torch.testing.assert_close(after - before, torch.full_like(before, 0.5))
    noisy = views.clone()
    noisy[0] += torch.randn_like(noisy[0])
    change = average(stack.unproject(noisy))[1] - after
    pooled = torch.nn.functional.avg_pool2d(change[None], 2)[0]
    torch.testing.assert_close(change, pooled.repeat_interleave(2, 1).repeat_interleave(2, 2))


@pytest.mark.parametrize(("side", "magnification"), [(10, 4), (6, 2), (9, 2)])
def test_a_middle_that_is_not_whole_is_refused(side, magnification):
    with pytest.raises(ValueError, match="whole and lies in the middle"):
        ZoomStack(2, 3, side, magnification)
