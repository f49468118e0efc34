import math

import torch

from gs_integration.fitting.regularisers import _STRENGTH, ShapeLimits, add_shape_gradients
from gs_integration.splats import Splats


def test_needles_and_balloons_are_pushed_along_their_longest_axis_only():
    log_scales = torch.tensor([[0.0, -1.0, -4.0], [-3.0, -0.5, -3.1], [0.9, 0.8, 0.8], [-2.0, -2.0, -2.0]])
    splats = Splats(
        torch.zeros(4, 3), torch.ones(4, 4), log_scales.requires_grad_(), torch.zeros(4), torch.zeros(4, 1, 3)
    )
    limits = ShapeLimits(largest_elongation=math.e, largest_scale=math.exp(0.5))
    splats.log_scales.grad = torch.zeros(4, 3)
    add_shape_gradients(splats, limits)
    # Excess over the ratio: 0, 1.5, 0, 0; over the size: 0 - ... , 0, 0.4, 0.
    expected = torch.zeros(4, 3)
    expected[1, 1] = 2 * _STRENGTH / 4 * 1.5
    expected[2, 0] = 2 * _STRENGTH / 4 * 0.4
    torch.testing.assert_close(splats.log_scales.grad, expected, atol=1e-7, rtol=1e-5)
