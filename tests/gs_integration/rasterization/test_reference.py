"""The reference against gsplat's numbers and closed forms; float64 throughout."""

import math

import numpy as np
import pytest
import torch

from distill_core.cameras import Camera, orbit_camera, transform_cameras
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.rasterization.reference import harmonic_basis, project
from gs_integration.rasterization.viewpoints import viewpoints
from gs_integration.splat_files import arrays_from_splats, splats_from_arrays
from gs_integration.splats import Splats

CPU = torch.device("cpu")


def looking_along_z(width: int, height: int, focal_px: float) -> Camera:
    return Camera(width, height, focal_px, focal_px, width / 2, height / 2, np.eye(4))


def round_splats(depths: list[float], scale: float, opacities: list[float], colours: list[list[float]]) -> Splats:
    count = len(depths)
    return Splats(
        means=torch.tensor([[0.0, 0.0, depth] for depth in depths], dtype=torch.float64),
        quaternions_wxyz=torch.tensor([[1.0, 0.0, 0.0, 0.0]] * count, dtype=torch.float64),
        log_scales=torch.full((count, 3), math.log(scale), dtype=torch.float64),
        opacity_logits=torch.tensor(opacities, dtype=torch.float64).logit(),
        harmonics=((torch.tensor(colours, dtype=torch.float64) - 0.5) / 0.28209479177387814)[:, None],
    )


def test_projection_is_gsplats(gsplat_fixture) -> None:
    views = viewpoints(gsplat_fixture.cameras, CPU)
    numbers = gsplat_fixture.numbers
    for view in range(len(views)):
        classic = project(gsplat_fixture.splats, views, view, antialiased=False)
        antialiased = project(gsplat_fixture.splats, views, view, antialiased=True)
        drawn = (numbers["radii"][view] > 0).all(-1)
        assert classic.visible[drawn].all()
        # The same run in float64: only the inversion of the pose lies between the two.
        for ours, theirs in (
            (classic.means_px, numbers["means2d_f64"][view]),
            (classic.depths, numbers["depths_f64"][view]),
            (classic.conics, numbers["conics_f64"][view]),
            (antialiased.opacities / classic.opacities, numbers["compensations_f64"][view]),
        ):
            torch.testing.assert_close(ours[drawn], theirs[drawn], rtol=1e-9, atol=1e-9)
        # The colours were stored from the run in float32.
        torch.testing.assert_close(classic.colours[drawn], numbers["colors"][view][drawn], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_are_gsplats(gsplat_fixture, degree: int) -> None:
    directions = torch.nn.functional.normalize(gsplat_fixture.numbers["view_dirs"], dim=-1)
    for view in range(directions.shape[0]):
        basis = harmonic_basis(directions[view], degree)
        values = torch.einsum("nk,nkc->nc", basis, gsplat_fixture.splats.harmonics[:, : basis.shape[1]])
        torch.testing.assert_close(values, gsplat_fixture.numbers[f"sh_value_deg{degree}"][view], rtol=1e-5, atol=1e-5)


def test_pictures_are_those_of_gsplats_rules(gsplat_fixture) -> None:
    picture = rasterize(gsplat_fixture.splats, gsplat_fixture.cameras, torch.zeros(3), backend="reference")
    # The stored pictures are rounded to float32: half a unit in the last place of values up to 2 (depth: 8).
    numbers = gsplat_fixture.numbers
    torch.testing.assert_close(picture.colour.permute(0, 2, 3, 1), numbers["render_rgb"], rtol=0, atol=2e-7)
    torch.testing.assert_close(picture.alpha, numbers["render_alpha"], rtol=0, atol=1e-7)
    torch.testing.assert_close(picture.depth_sum, numbers["render_depth_sum"], rtol=0, atol=1e-6)


def test_one_splat_is_a_gaussian() -> None:
    focal, depth, scale, opacity = 100.0, 4.0, 0.1, 0.8
    splats = round_splats([depth], scale, [opacity], [[0.9, 0.5, 0.1]])
    picture = rasterize(splats, [looking_along_z(33, 33, focal)], torch.tensor([0.0, 0.0, 1.0]), backend="reference")
    centres = torch.arange(33, dtype=torch.float64) + 0.5 - 16.5
    squared = centres[:, None] ** 2 + centres[None, :] ** 2
    alpha = opacity * torch.exp(-squared / (2 * ((focal * scale / depth) ** 2 + 0.3)))
    alpha = torch.where(alpha < 1 / 255, 0, alpha)
    torch.testing.assert_close(picture.alpha[0], alpha, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(picture.depth_sum[0], depth * alpha, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(picture.colour[0, 2], 0.1 * alpha + (1 - alpha), rtol=1e-12, atol=1e-12)


def test_the_nearer_splat_covers_the_farther_whatever_their_order() -> None:
    colours = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    far_first = round_splats([5.0, 4.0], 0.1, [0.6, 0.5], colours)
    picture = rasterize(far_first, [looking_along_z(1, 1, 100.0)], torch.zeros(3), backend="reference")
    torch.testing.assert_close(
        picture.colour[0, :, 0, 0], torch.tensor([0.5 * 0.6, 0.5, 0.0], dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


def test_antialiasing_keeps_the_light_of_a_splat_smaller_than_a_pixel() -> None:
    focal, depth, scale, opacity = 100.0, 4.0, 0.004, 0.8
    splats = round_splats([depth], scale, [opacity], [[1.0, 1.0, 1.0]])
    camera = looking_along_z(9, 9, focal)
    picture = rasterize(splats, [camera], torch.zeros(3), backend="reference", antialiased=True)
    variance = (focal * scale / depth) ** 2
    peak = opacity * variance / (variance + 0.3)
    torch.testing.assert_close(picture.alpha[0, 4, 4].item(), peak, rtol=1e-9, atol=0)


def test_turning_world_and_cameras_together_changes_nothing(make_scene) -> None:
    splats, cameras = make_scene(60, degree=3)
    similarity = np.eye(4)
    similarity[:3, :3] = 1.7 * orbit_camera(40, 25).camera_to_world[:3, :3]
    similarity[:3, 3] = (0.3, -1.0, 2.0)
    moved = splats_from_arrays(arrays_from_splats(splats).transformed(similarity)).to(torch.float64)
    before = rasterize(splats, cameras, torch.ones(3), backend="reference")
    after = rasterize(moved, transform_cameras(cameras, similarity), torch.ones(3), backend="reference")
    # The arrays are float32: 6e-8 of means and angles, times up to a hundred pixels, times a slope below 1 a pixel.
    torch.testing.assert_close(after.colour, before.colour, rtol=0, atol=2e-4)
    torch.testing.assert_close(after.depth_sum / 1.7, before.depth_sum, rtol=0, atol=5e-4)


def test_gradients_are_those_of_central_differences(make_scene) -> None:
    splats, cameras = make_scene(6, degree=2, num_views=1, size=(14, 9), seed=3)
    tensors = [tensor.requires_grad_() for tensor in splats.tensors().values()]
    background = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64, requires_grad=True)

    def pictures(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        picture = rasterize(Splats(*values[:5]), cameras, values[5], backend="reference", antialiased=True)
        return picture.colour, picture.alpha, picture.depth_sum

    # No pixel of this scene lies at a cut or cap, where pictures jump.
    assert torch.autograd.gradcheck(pictures, (*tensors, background), eps=1e-6, atol=1e-6, rtol=1e-4)
