"""The cameras of one object, by the rig's name; random ones are a function of the seed alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import numpy as np

from distill_core.camera_rigs import cameras_from_angles, picture_and_ring
from distill_core.cameras import Camera, look_at, orbit_camera, orbit_rig
from distill_core.errors import UserError
from distill_core.records.transforms_files import stated_views
from renderers.blender.settings import RigSettings

Normalisation = Literal["unit-ball", "longest-side"]

_DEFAULT_VIEWS = 12
# The rendering script that came with Zero123: lens of 35 mm on a sensor of 32 mm, distance 1.5 to 2.2 around an object
# whose longest side is 1.
_ZERO123_FOCAL_LENGTHS, _ZERO123_DISTANCES = 35 / 32, (1.5, 2.2)
# Zero123++ 1.2: azimuths count from the input picture, elevations are absolute.
_ZERO123PLUS_AZIMUTHS_DEGREES = (30.0, 90.0, 150.0, 210.0, 270.0, 330.0)
_ZERO123PLUS_ELEVATIONS_DEGREES = (20.0, -10.0, 20.0, -10.0, 20.0, -10.0)
_ZERO123PLUS_FIELD_OF_VIEW_DEGREES = 30.0


@dataclass(frozen=True)
class Rig:
    """Cameras, and the size of the object that they expect.

    Attributes:
        name: as the record states it.
        normalisation: "unit-ball", or "longest-side" (of the bounding box, which becomes 1).
        cameras: one a view.
    """

    name: str
    normalisation: Normalisation
    cameras: list[Camera]


def make_rig(settings: RigSettings, seed: int) -> Rig:
    """The cameras of one object.

    Args:
        settings: what the person chose.
        seed: of this object.

    Raises:
        UserError: a file that holds no cameras, or a number of views that the rig does not have.
    """
    generator = np.random.default_rng([seed, 0])
    num_views = _DEFAULT_VIEWS if settings.num_views is None else settings.num_views
    size = {"width": settings.resolution, "height": settings.resolution}
    lens = {"field_of_view_degrees": settings.field_of_view_degrees, **size}
    match settings.rig:
        case "orbit":
            cameras = orbit_rig(num_views, elevations_degrees=settings.elevations_degrees, **lens)
        case "random-sphere":
            cameras = [orbit_camera(*angles, **lens) for angles in _random_angles(settings, num_views, generator)]
        case "picture-ring":
            cameras = _picture_ring(settings, num_views)
        case "zero123":
            cameras = [_zero123_camera(settings.resolution, generator) for _ in range(num_views)]
        case "zero123plus":
            _expect_views(settings, 6, "zero123plus")
            cameras = cameras_from_angles(
                _ZERO123PLUS_AZIMUTHS_DEGREES,
                _ZERO123PLUS_ELEVATIONS_DEGREES,
                field_of_view_degrees=_ZERO123PLUS_FIELD_OF_VIEW_DEGREES,
                **size,
            )
        case Path():
            cameras = _cameras_of_file(settings.rig, settings.resolution)
            _expect_views(settings, len(cameras), str(settings.rig))
        case _:
            assert_never(settings.rig)
    name = settings.rig.name if isinstance(settings.rig, Path) else settings.rig
    return Rig(name, "longest-side" if settings.rig == "zero123" else "unit-ball", cameras)


def _random_angles(settings: RigSettings, num_views: int, generator: np.random.Generator) -> list[tuple[float, float]]:
    lowest, highest = settings.lowest_elevation_degrees, settings.highest_elevation_degrees
    if lowest > highest:
        raise UserError(
            f"Expected --lowest-elevation-degrees to be at most --highest-elevation-degrees, got {lowest:g} and "
            f"{highest:g}; exchange them."
        )
    azimuths = generator.uniform(0, 360, num_views)
    # Equal steps of sin(elevation) are bands of equal area (Archimedes).
    sines = generator.uniform(np.sin(np.radians(lowest)), np.sin(np.radians(highest)), num_views)
    return [(float(a), float(e)) for a, e in zip(azimuths, np.degrees(np.arcsin(sines)), strict=True)]


def _picture_ring(settings: RigSettings, num_views: int) -> list[Camera]:
    if num_views < 1 + len(settings.elevations_degrees):
        raise UserError(
            f"Expected a view for the picture and one for each ring, got {num_views} views and "
            f"{len(settings.elevations_degrees)} rings; ask for more views."
        )
    return picture_and_ring(
        num_views - 1,
        elevation_degrees=settings.elevations_degrees[0],
        ring_elevations_degrees=settings.elevations_degrees,
        field_of_view_degrees=settings.field_of_view_degrees,
        width=settings.resolution,
        height=settings.resolution,
    )


def _zero123_camera(resolution: int, generator: np.random.Generator) -> Camera:
    """A direction drawn from a cube (so that its corners are likelier), not from the sphere: as Zero123 did."""
    direction = generator.uniform(-1, 1, 3)
    position = direction / np.linalg.norm(direction) * generator.uniform(*_ZERO123_DISTANCES)
    focal = _ZERO123_FOCAL_LENGTHS * resolution
    return Camera(resolution, resolution, focal, focal, resolution / 2, resolution / 2, look_at(position))


def _cameras_of_file(path: Path, resolution: int) -> list[Camera]:
    if not path.is_file():
        raise UserError(
            f"--rig: expected random-sphere, orbit, zero123, zero123plus, picture-ring or a transforms.json, "
            f"got {path}, which is no file."
        )
    cameras = []
    for view in stated_views(path)[0]:
        if view.distortion is not None and not view.distortion.is_zero:
            raise UserError(f"{path}, {view.label}: expected cameras without lens distortion; undistort them first.")
        cameras.append(view.camera_at(*(view.stated_size or (resolution, resolution))))
    return cameras


def _expect_views(settings: RigSettings, num_views: int, rig: str) -> None:
    if settings.num_views not in (None, num_views):
        raise UserError(f"{rig} has {num_views} views, got --num-views {settings.num_views}; leave the option out.")
