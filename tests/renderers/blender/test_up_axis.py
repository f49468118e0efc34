import itertools

import numpy as np
import pytest

from renderers.blender.up_axis import CUSTOMARY_UP, standing_axis, upward_axis


@pytest.mark.parametrize("up", [0, 1, 2])
@pytest.mark.parametrize("scale", [1e-3, 1, 500])
def test_a_thing_that_stands_on_zero_stands_along_that_axis(up: int, scale: float) -> None:
    lowest, highest = np.array([-0.5, -0.4, -0.3]), np.array([0.4, 0.6, 0.5])
    highest[up] -= lowest[up] + 0.01  # a scan goes a little through its floor
    lowest[up] = -0.01
    assert standing_axis((lowest * scale).tolist(), (highest * scale).tolist()) == "xyz"[up]


def test_a_thing_that_stands_nowhere_or_in_a_corner_says_nothing() -> None:
    assert standing_axis([-1, -1, -1], [1, 1, 1]) is None
    for one, other in itertools.combinations(range(3), 2):
        lowest = np.full(3, -1.0)
        lowest[[one, other]] = 0
        assert standing_axis(lowest.tolist(), [1, 1, 1]) is None
    assert standing_axis([0, 0, 0], [0, 0, 0]) is None


@pytest.mark.parametrize("file_type", CUSTOMARY_UP)
def test_what_does_not_stand_goes_by_the_custom_of_its_format(file_type: str) -> None:
    assert upward_axis(file_type, [-1, -1, -1], [1, 1, 1]) == CUSTOMARY_UP[file_type]
    for place, axis in enumerate("xyz"):
        lowest = np.full(3, -1.0)
        lowest[place] = 0
        assert upward_axis(file_type, lowest.tolist(), [1, 1, 1]) == axis
