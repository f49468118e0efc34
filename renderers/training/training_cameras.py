"""The cameras of training views: sources as a person takes a picture, targets as the main job asks for them."""

import numpy as np

from distill_core.cameras import Camera, orbit_camera
from renderers.lighting import sphere_directions

_CARVING_VIEWS = 24
_CARVING_RESOLUTION_PX = 96


def source_camera(generator: np.random.Generator, resolution: int) -> Camera:
    """Mostly from the front and a little above, at 40 degrees field of view; sometimes from anywhere."""
    azimuth = generator.uniform(-50, 50) if generator.random() < 0.8 else generator.uniform(-180, 180)
    elevation = generator.uniform(0, 30) if generator.random() < 0.8 else generator.uniform(-10, 45)
    field_of_view = 40.0 if generator.random() < 0.8 else generator.uniform(30, 50)
    return orbit_camera(azimuth, elevation, field_of_view_degrees=field_of_view, width=resolution, height=resolution)


def target_cameras(generator: np.random.Generator, source: Camera, count: int, resolution: int) -> list[Camera]:
    """Half on rings around the object as the main job asks for, half anywhere between -20 and 70 degrees."""
    start = np.degrees(np.arctan2(source.position[0], -source.position[1]))
    cameras = []
    for number in range(count):
        if number % 2 == 0:
            azimuth = start + 22.5 * generator.integers(16)
            elevation = generator.choice([15.0, 15.0, 0.0, 40.0, -15.0])
        else:
            azimuth = generator.uniform(-180, 180)
            low, high = np.sin(np.radians([-20, 70]))
            elevation = np.degrees(np.arcsin(generator.uniform(low, high)))
        cameras.append(
            orbit_camera(azimuth, float(elevation), field_of_view_degrees=40, width=resolution, height=resolution)
        )
    return cameras


def carving_cameras(generator: np.random.Generator) -> list[Camera]:
    """Depth views of 96 px spread over the sphere, turned by a random angle each draw."""
    turn = generator.uniform(0, 360)
    cameras = []
    for direction in sphere_directions(_CARVING_VIEWS):
        elevation = float(np.degrees(np.arcsin(direction[2])))
        azimuth = float(np.degrees(np.arctan2(direction[0], -direction[1]))) + turn
        cameras.append(
            orbit_camera(
                azimuth,
                max(-85.0, min(85.0, elevation)),
                field_of_view_degrees=40,
                width=_CARVING_RESOLUTION_PX,
                height=_CARVING_RESOLUTION_PX,
            )
        )
    return cameras


def elevation_degrees(camera: Camera) -> float:
    """Elevation of a camera above the horizon of the world's origin."""
    return float(np.degrees(np.arcsin(camera.position[2] / np.linalg.norm(camera.position))))
