import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.correspondences import correspondences_from_depth, other_views_of_set
from distill_core.rays import CameraTensors, stack_cameras

SIDE, FOCAL, BASELINE = 16, 20.0, 0.5


def side_by_side() -> CameraTensors:
    """Two cameras that look along z, the second one `BASELINE` to the right."""
    poses = [np.eye(4), np.eye(4)]
    poses[1][0, 3] = BASELINE
    return stack_cameras([Camera(SIDE, SIDE, FOCAL, FOCAL, SIDE / 2, SIDE / 2, pose) for pose in poses])


BOTH = torch.tensor([[1], [0]])


def test_disparity_is_focal_length_times_baseline_over_depth():
    depth = torch.full((2, SIDE, SIDE), 4.0)
    depth[1, :8] = 4.1  # within the tolerance
    found = correspondences_from_depth(side_by_side(), depth, BOTH)
    columns = torch.arange(SIDE) + 0.5
    disparity = FOCAL * BASELINE / 4.0
    expected = torch.stack(torch.meshgrid(columns - disparity, columns, indexing="xy"), -1)
    torch.testing.assert_close(found.positions[0, 0], expected, atol=1e-4, rtol=0)
    assert torch.equal(found.visible[0, 0], (columns - disparity >= 0).expand(SIDE, SIDE))


def test_what_stands_before_hides_what_is_behind():
    depth = torch.full((2, SIDE, SIDE), 4.0)
    # The second view has something near in its middle; the first sees the far wall through that place.
    depth[1, :, 6:10] = 2.0
    found = correspondences_from_depth(side_by_side(), depth, BOTH)
    reached = (torch.arange(SIDE) + 0.5 - FOCAL * BASELINE / 4.0).floor()
    hidden = (reached >= 6) & (reached < 10)
    assert torch.equal(found.visible[0, 0], ((reached >= 0) & ~hidden).expand(SIDE, SIDE))
    # Near things are seen from the far wall's view where they project to: nothing there stands before them.
    assert bool(found.visible[1, 0][:, 6:10].all())


def test_empty_pixels_correspond_to_nothing():
    depth = torch.full((2, SIDE, SIDE), 4.0)
    depth[0, 3] = 0
    found = correspondences_from_depth(side_by_side(), depth, BOTH)
    assert not found.visible[0, 0, 3].any()
    assert not found.visible[1, 0, 3].any()
    assert bool(found.visible[0, 0, 4, 5:].all())


def test_every_view_has_all_others_of_its_set():
    assert other_views_of_set(2, 3).tolist() == [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]
    assert other_views_of_set(2, 1).shape == (2, 0)
