import numpy as np

from distill_core.cameras import orbit_angles, orbit_camera, orbit_rig
from gs_integration.fitting.capture_orbit import capture_orbit


def test_the_path_about_an_orbit_is_the_orbit():
    path = capture_orbit(orbit_rig(10, elevations_degrees=(30.0,)), 12, 64)
    azimuths, elevations, distances = zip(*(orbit_angles(camera.position) for camera in path), strict=True)
    np.testing.assert_allclose(elevations, 30, atol=0.1)
    np.testing.assert_allclose(distances, 1 / np.sin(np.radians(20)), rtol=1e-3)
    steps = np.diff(np.unwrap(np.radians(azimuths)))
    np.testing.assert_allclose(np.abs(steps), 2 * np.pi / 12, atol=1e-3)
    for camera in path:
        pixels, depth = camera.project([[0, 0, 0]])
        np.testing.assert_allclose(pixels, 32, atol=0.1)
        assert depth[0] > 0


def test_where_nobody_stood_the_path_does_not_go():
    cameras = [orbit_camera(azimuth, 10) for azimuth in range(150, 260, 10)]
    path = capture_orbit(cameras, 40, 32)
    azimuths = np.mod([orbit_angles(camera.position)[0] for camera in path], 360)
    assert azimuths.min() > 150 - 1
    assert azimuths.max() < 250 + 1
    assert azimuths.max() - azimuths.min() > 95
