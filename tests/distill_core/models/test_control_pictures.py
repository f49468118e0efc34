import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera
from distill_core.models.control_pictures import depth_control, normal_control


def test_depth_is_bright_where_near_and_black_where_empty():
    depth = torch.zeros(2, 3, 4)
    depth[0, 0] = torch.tensor([1.0, 2.0, 4.0, 0.0])
    depth[1, 1, :2] = 3.0
    picture = depth_control(depth)
    # Inverse depths 1, 1/2, 1/4 lie at 1, 1/3 and 0 of their range, which is drawn from 0.2 to 1.
    torch.testing.assert_close(picture[0, :, 0], torch.tensor([1, 0.2 + 0.8 / 3, 0.2, 0]).expand(3, 4))
    # An object of one depth is near.
    assert picture[1, 0, 1].tolist() == [1, 1, 0, 0]
    assert float(picture[0, :, 1:].abs().sum()) == 0
    # Depth has no scale there.
    torch.testing.assert_close(depth_control(7 * depth), picture)
    assert float(depth_control(torch.zeros(1, 2, 2)).abs().max()) == 0


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (130.0, 40.0)])
def test_normals_are_red_to_the_left_green_above_and_blue_before_the_viewer(azimuth: float, elevation: float):
    camera = orbit_camera(azimuth, elevation, width=4, height=1)
    towards = camera.position / np.linalg.norm(camera.position)
    left = -camera.camera_to_world[:3, 0]
    up = np.cross(left, towards)
    if azimuth == 0:
        # The camera stands at -y and looks along +y: its left is -x.
        np.testing.assert_allclose([left, up, towards], [[-1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-12)
    normals = torch.from_numpy(np.stack([left, up, towards, -left], axis=-1)).float().reshape(1, 3, 1, 4)
    to_world = torch.from_numpy(camera.camera_to_world.copy())[None]
    picture = normal_control(normals, torch.ones(1, 1, 4, dtype=torch.bool), to_world)[0, :, 0]
    expected = torch.tensor([[1, 0.5, 0.5], [0.5, 1, 0.5], [0.5, 0.5, 1], [0, 0.5, 0.5]]).T
    torch.testing.assert_close(picture, expected, atol=1e-6, rtol=0)
    empty = normal_control(normals, torch.zeros(1, 1, 4, dtype=torch.bool), to_world)
    torch.testing.assert_close(empty[0, :, 0, 0], torch.tensor([0.5, 0.5, 1]))
