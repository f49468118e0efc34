"""Rigs beyond the orbit: picture and ring, the sphere, a list of directions.

`orbit_camera` and `orbit_rig`, which everything uses, are in `cameras`.
"""

import math
from collections.abc import Sequence

from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.errors import UserError


def picture_and_ring(
    num_ring_views: int,
    *,
    azimuth_degrees: float = 0.0,
    elevation_degrees: float = 15.0,
    ring_elevations_degrees: Sequence[float] = (15.0,),
    field_of_view_degrees: float = 40.0,
    width: int = 128,
    height: int = 128,
    distance: float | None = None,
) -> list[Camera]:
    """The camera of a picture, then rings that begin at the picture's own azimuth.

    Args:
        num_ring_views: number of cameras on the rings; the picture's camera comes on top.
        azimuth_degrees: where the picture was taken from.
        elevation_degrees: the same, above the horizontal plane.
        ring_elevations_degrees: one elevation a ring.
        field_of_view_degrees: as in `orbit_camera`.
        width: picture width in pixels.
        height: picture height in pixels.
        distance: as in `orbit_camera`.

    Raises:
        UserError: fewer views than rings.
    """
    picture = orbit_camera(
        azimuth_degrees,
        elevation_degrees,
        field_of_view_degrees=field_of_view_degrees,
        width=width,
        height=height,
        distance=distance,
    )
    ring = orbit_rig(
        num_ring_views,
        elevations_degrees=ring_elevations_degrees,
        start_azimuth_degrees=azimuth_degrees,
        field_of_view_degrees=field_of_view_degrees,
        width=width,
        height=height,
        distance=distance,
    )
    return [picture, *ring]


def fibonacci_rig(
    num_views: int,
    *,
    minimum_elevation_degrees: float = -90.0,
    maximum_elevation_degrees: float = 90.0,
    start_azimuth_degrees: float = 0.0,
    field_of_view_degrees: float = 40.0,
    width: int = 128,
    height: int = 128,
    distance: float | None = None,
) -> list[Camera]:
    """Cameras spread evenly over a zone of the sphere along a golden-angle spiral, from its top down.

    Args:
        num_views: number of cameras, at least 1.
        minimum_elevation_degrees: lower edge of the zone.
        maximum_elevation_degrees: upper edge of the zone.
        start_azimuth_degrees: azimuth of the first camera.
        field_of_view_degrees: as in `orbit_camera`.
        width: picture width in pixels.
        height: picture height in pixels.
        distance: as in `orbit_camera`.

    Raises:
        UserError: no views, or an empty zone.
    """
    if num_views < 1 or not -90 <= minimum_elevation_degrees <= maximum_elevation_degrees <= 90:
        raise UserError(
            "A rig needs a view and elevations in order between -90 and 90 degrees, got "
            f"{num_views} views, {minimum_elevation_degrees} to {maximum_elevation_degrees} degrees."
        )
    # Equal steps of sin(elevation) cut the zone into bands of equal area (Archimedes).
    lowest = math.sin(math.radians(minimum_elevation_degrees))
    highest = math.sin(math.radians(maximum_elevation_degrees))
    golden_angle_degrees = 180 * (3 - math.sqrt(5))
    return [
        orbit_camera(
            start_azimuth_degrees + golden_angle_degrees * view,
            math.degrees(math.asin(highest - (highest - lowest) * (view + 0.5) / num_views)),
            field_of_view_degrees=field_of_view_degrees,
            width=width,
            height=height,
            distance=distance,
        )
        for view in range(num_views)
    ]


def cameras_from_angles(
    azimuths_degrees: Sequence[float],
    elevations_degrees: Sequence[float],
    *,
    field_of_view_degrees: float = 40.0,
    width: int = 128,
    height: int = 128,
    distance: float | None = None,
) -> list[Camera]:
    """One camera for each pair of azimuth and elevation; a single elevation serves all azimuths.

    Args:
        azimuths_degrees: as in `orbit_camera`, one a view.
        elevations_degrees: one a view, or one for all.
        field_of_view_degrees: as in `orbit_camera`.
        width: picture width in pixels.
        height: picture height in pixels.
        distance: as in `orbit_camera`.

    Raises:
        UserError: no azimuth, or another number of elevations than of azimuths (and not one).
    """
    if len(elevations_degrees) == 1:
        elevations_degrees = [elevations_degrees[0]] * len(azimuths_degrees)
    if not azimuths_degrees or len(elevations_degrees) != len(azimuths_degrees):
        raise UserError(
            f"Expected one elevation for all views or one for each azimuth, got "
            f"{len(elevations_degrees)} elevations for {len(azimuths_degrees)} azimuths."
        )
    return [
        orbit_camera(
            azimuth_degrees,
            elevation_degrees,
            field_of_view_degrees=field_of_view_degrees,
            width=width,
            height=height,
            distance=distance,
        )
        for azimuth_degrees, elevation_degrees in zip(azimuths_degrees, elevations_degrees, strict=True)
    ]
