import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera, orbit_rig
from distill_core.models.view_directions import neighbouring_views, view_words


@pytest.mark.parametrize(
    ("azimuth", "elevation", "words"),
    [
        (0, 15, "front view"),
        (-40, 0, "front view"),
        (90, 15, "side view"),
        (-90, -30, "side view"),
        (180, 15, "back view"),
        (220, 0, "back view"),
        (0, 89, "top view"),
        (123, 90, "top view"),
        (0, -90, "bottom view"),
    ],
)
@pytest.mark.parametrize("front", [0.0, 35.0, -300.0])
def test_views_are_named_from_the_front(azimuth: float, elevation: float, words: str, front: float):
    assert view_words(orbit_camera(azimuth + front, elevation, width=8, height=8), front) == words


def test_views_of_a_ring_look_at_both_neighbours_and_the_front():
    cameras = orbit_rig(8, width=8, height=8, start_azimuth_degrees=20.0)
    rows = neighbouring_views(cameras, 20.0).tolist()
    for view in (2, 3, 4, 5, 6):
        assert rows[view][:2] == [view, 0]
        assert set(rows[view][2:]) == {(view - 1) % 8, (view + 1) % 8}
    assert rows[0][0] == 0
    assert {1, 7} < set(rows[0])
    # Another front is another view.
    assert all(4 in row for row in neighbouring_views(cameras, 200.0).tolist())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_no_view_is_looked_at_twice(count: int):
    rows = neighbouring_views(orbit_rig(count, width=8, height=8), 0.0)
    assert rows.shape == (count, min(count, 4))
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    assert rows[:, 0].tolist() == list(range(count))


def test_neighbours_depend_on_cameras_and_not_on_their_order():
    random = np.random.default_rng(0)
    cameras = [orbit_camera(*angles, width=8, height=8) for angles in random.uniform(-60, 60, (7, 2))]
    rows = neighbouring_views(cameras, 0.0)
    order = torch.from_numpy(random.permutation(7))
    moved = neighbouring_views([cameras[view] for view in order.tolist()], 0.0)
    for place, row in enumerate(moved):
        assert set(order[row].tolist()) == set(rows[order[place]].tolist())
