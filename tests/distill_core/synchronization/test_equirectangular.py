import math

import numpy as np
import pytest
import torch

from distill_core.synchronization.equirectangular import (
    EquirectangularProjection,
    direction,
    panorama_cameras,
    rings_of_directions,
)
from distill_core.synchronization.noise_warping import gather_noise, refine_noise
from distill_core.synchronization.projections import average, coverage
from tests.distill_core.synchronization.projection_laws import assert_linear, drawn_views


def all_around(
    side: int, height: int, channels: int = 1, field_of_view_degrees: float = 100.0
) -> EquirectangularProjection:
    directions = rings_of_directions((6, 3, 3), (0.0, 50.0, -50.0))
    cameras = panorama_cameras(directions, side=side, field_of_view_degrees=field_of_view_degrees)
    return EquirectangularProjection(channels, height, cameras)


def canvas_directions(height: int) -> torch.Tensor:
    """[3, height, 2 height] straight from the convention: x, y, z of the centre of every canvas pixel."""
    latitude = math.pi * (0.5 - (torch.arange(height, dtype=torch.float64) + 0.5) / height)[:, None]
    longitude = 2 * math.pi * ((torch.arange(2 * height, dtype=torch.float64) + 0.5) / (2 * height) - 0.5)[None]
    flat = latitude.cos()
    return torch.stack([flat * longitude.cos(), -flat * longitude.sin(), latitude.sin().expand(height, 2 * height)])


def test_everything_around_is_covered():
    projection = all_around(12, 16)
    assert coverage(projection.unproject(torch.zeros(projection.instances_shape))) == 1


def test_directions_go_through_both_ways_with_an_error_of_second_order():
    errors = []
    for factor in (1, 2):
        projection = all_around(24 * factor, 32 * factor, channels=3)
        canvas = canvas_directions(32 * factor)
        views = projection.project(canvas)
        # The rays themselves: what each view's pixels look at. Linear interpolation between samples of functions whose
        # second derivatives are at most 1 errs by at most step^2 / 8 along each axis.
        rays = torch.stack([torch.from_numpy(pixel_rays(camera)) for camera in cameras_of(24 * factor)])
        step = math.pi / (32 * factor)
        # Above the topmost row of centres the value of that row stays, half a row from the pole.
        assert float((views - rays).abs().max()) < step
        assert float((views - rays).abs().mean()) < 2 * step**2 / 8
        back = average(projection.unproject(views))
        errors.append(float((back - canvas).abs().mean()))
    assert errors[0] < 2 * (math.pi / 32) ** 2 / 8 + (2 * math.tan(math.radians(50)) / 24) ** 2 / 4
    assert errors[0] / errors[1] > 3


def cameras_of(side: int):
    return panorama_cameras(rings_of_directions((6, 3, 3), (0.0, 50.0, -50.0)), side=side, field_of_view_degrees=100.0)


def pixel_rays(camera) -> np.ndarray:
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = camera.unproject(np.stack([columns, rows], -1).reshape(-1, 2), np.ones(camera.width * camera.height))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return rays.T.reshape(3, camera.height, camera.width)


def test_constants_come_back_exactly():
    projection = all_around(12, 16, channels=2)
    canvas = torch.tensor([0.3, -0.8]).reshape(2, 1, 1).expand(2, 16, 32).clone()
    torch.testing.assert_close(average(projection.unproject(projection.project(canvas))), canvas)
    assert_linear(projection)


def test_rolling_the_canvas_by_a_view_rolls_the_views():
    cameras = panorama_cameras(rings_of_directions((8,), (10.0,), poles=False), side=12, field_of_view_degrees=80.0)
    projection = EquirectangularProjection(2, 24, cameras)
    canvas = torch.randn(projection.canonical_shape)
    # Rounding of angles: float64 lookups of float32 values.
    torch.testing.assert_close(
        projection.project(canvas.roll(6, 2)), projection.project(canvas).roll(1, 0), atol=1e-5, rtol=1e-5
    )
    views = torch.randn(projection.instances_shape)
    torch.testing.assert_close(
        average(projection.unproject(views.roll(1, 0))),
        average(projection.unproject(views)).roll(6, 2),
        atol=1e-5,
        rtol=1e-5,
    )


def test_looking_right_is_growing_longitude_and_up_is_up():
    (camera,) = panorama_cameras([(0.0, 0.0)], side=9, field_of_view_degrees=90.0)
    longitude = torch.linspace(-1, 1, 32, dtype=torch.float64).expand(16, 32)
    latitude = torch.linspace(1, -1, 16, dtype=torch.float64)[:, None].expand(16, 32)
    right, up = EquirectangularProjection(2, 16, [camera]).project(torch.stack([longitude, latitude]))[0]
    assert bool((right.diff(dim=1) > 0).all())
    assert bool((up.diff(dim=0) < 0).all())
    np.testing.assert_allclose(direction(0.0, 0.0), [1, 0, 0])


@pytest.mark.parametrize("height", [12, 32])
def test_noise_of_views_is_standard_normal_white_and_shared(height):
    """With a canvas coarser and finer than the views: 12 rows a half turn are 15 degrees each, a view's pixel 8."""
    projection = all_around(12, height)
    noise = drawn_views(projection, 800)
    # 800 draws: five and a half deviations of a variance, for the largest of 2000 pixels.
    assert float((noise.square().mean(dim=0) - 1).abs().max()) < 5.5 * (2 / 800) ** 0.5
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
    # Fine noise belongs to one pixel of a view alone.
    assert abs(float(neighbours)) < 5 / (800 * 14 * 12 * 11) ** 0.5
    generator = torch.Generator().manual_seed(1)
    canvas = projection.canonical_noise(generator)
    first = drawn_views(projection, 1)[0]
    correlation = (projection.project(canvas) * first).mean()
    assert float(correlation) > 0.2


def test_cells_of_one_footprint_are_the_noise_itself():
    noise = torch.randn(2, 5)
    torch.testing.assert_close(gather_noise(noise, torch.arange(5), torch.arange(5), 5), noise)


def test_refined_noise_sums_to_the_noise_and_is_white():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 60, 60, generator=generator)
    fine = refine_noise(noise, 3, generator)
    blocks = fine.reshape(1, 60, 3, 60, 3).sum(dim=(2, 4)) / 3
    torch.testing.assert_close(blocks, noise, atol=1e-5, rtol=1e-5)
    # 32400 values: five deviations of a variance and of a correlation.
    assert abs(float(fine.var()) - 1) < 5 * (2 / 32400) ** 0.5
    assert abs(float((fine[..., 1:] * fine[..., :-1]).mean())) < 5 / 180
    assert torch.equal(refine_noise(noise, 1, generator), noise)


def test_views_far_finer_than_the_canvas_are_refused():
    with pytest.raises(ValueError, match="resolution"):
        EquirectangularProjection(1, 4, panorama_cameras([(0.0, 0.0)], side=128, field_of_view_degrees=20.0))
    with pytest.raises(ValueError, match="one picture size"):
        EquirectangularProjection(1, 4, [])
