import numpy as np
import pytest

from distill_core.camera_rigs import cameras_from_angles, fibonacci_rig, picture_and_ring
from distill_core.cameras import orbit_angles
from distill_core.errors import UserError


def test_picture_comes_first_and_the_ring_begins_at_its_azimuth() -> None:
    rig = picture_and_ring(8, azimuth_degrees=33, elevation_degrees=7, ring_elevations_degrees=(20.0,))
    angles = np.array([orbit_angles(camera.position)[:2] for camera in rig])
    np.testing.assert_allclose(angles[0], (33, 7), atol=1e-9)
    np.testing.assert_allclose(angles[1:, 1], 20, atol=1e-9)
    np.testing.assert_allclose((angles[1:, 0] - 33) % 360 / 45, range(8), atol=1e-9)


def test_fibonacci_views_cover_the_sphere_evenly() -> None:
    positions = np.array([camera.position / np.linalg.norm(camera.position) for camera in fibonacci_rig(200)])
    # Even cover: no moment of the first or second order prefers a direction.
    np.testing.assert_allclose(positions.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(positions.T @ positions / 200, np.eye(3) / 3, atol=0.01)
    nearest = np.sort(positions @ positions.T, axis=1)[:, -2]
    # A regular pattern of 200 points has neighbours 0.25 apart; no two may be closer than half of that.
    assert np.arccos(nearest).min() > 0.125


def test_fibonacci_views_stay_in_their_zone() -> None:
    rig = fibonacci_rig(50, minimum_elevation_degrees=-20, maximum_elevation_degrees=70)
    elevations = [orbit_angles(camera.position)[1] for camera in rig]
    assert min(elevations) > -20
    assert max(elevations) < 70
    # Uniform over the zone: half of the views lie below the elevation that halves its height.
    middle = np.degrees(np.arcsin((np.sin(np.radians(-20)) + np.sin(np.radians(70))) / 2))
    assert np.mean(np.array(elevations) < middle) == pytest.approx(0.5)


def test_one_elevation_serves_a_list_of_azimuths() -> None:
    rig = cameras_from_angles([0, 90, 200], [12.0])
    np.testing.assert_allclose([orbit_angles(c.position)[1] for c in rig], 12)
    pairs = cameras_from_angles([0, 90], [1.0, 2.0])
    np.testing.assert_allclose([orbit_angles(c.position)[:2] for c in pairs], [(0, 1), (90, 2)], atol=1e-9)


def test_lists_that_do_not_fit_are_refused() -> None:
    for refused in (
        lambda: cameras_from_angles([0, 90, 180], [1.0, 2.0]),
        lambda: cameras_from_angles([], [1.0]),
        lambda: fibonacci_rig(0),
        lambda: fibonacci_rig(3, minimum_elevation_degrees=10, maximum_elevation_degrees=0),
    ):
        with pytest.raises(UserError):
            refused()
