import math

import numpy as np
import pytest

from gs_integration.pipelines.image_to_views import view_rig


@pytest.mark.parametrize("num_views", [4, 8, 16, 33])
def test_a_rig_sees_an_object_from_all_sides(num_views: int):
    cameras = view_rig(num_views)
    assert len(cameras) == num_views
    directions = np.stack([camera.position / np.linalg.norm(camera.position) for camera in cameras])
    assert directions[:, 2].min() < 0 < directions[:, 2].max()
    # No side is farther from a view than a half turn shared by half of them on the middle ring.
    around = np.stack([(math.cos(turn), math.sin(turn), 0) for turn in np.linspace(0, 2 * np.pi, 72)])
    nearest = np.degrees(np.arccos(np.clip((around @ directions.T).max(axis=1), -1, 1)))
    assert nearest.max() < 360 / num_views + 20


def test_a_rig_turns_with_its_source():
    straight, turned = view_rig(16), view_rig(16, start_azimuth_degrees=90.0)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for one, other in zip(straight, turned, strict=True):
        np.testing.assert_allclose(quarter @ one.position, other.position, atol=1e-12)
