"""The numba backend against the float64 reference, gsplat's numbers and a picture by others."""

import json
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from distill_core.cameras import Camera, orbit_camera
from distill_core.rays import stack_cameras
from gs_integration.formats.ply import read_ply
from gs_integration.rasterization.rasterize import Rasterized, rasterize
from gs_integration.splats import Splats

# A picture's values are sums of at most a few hundred float32 products whose weights sum to at most 1; sigma comes
# from pixel coordinates of up to 100 with 6e-8 each, so that alpha errs by about 1e-5 of a slope at worst.
PICTURE_TOLERANCE = 1e-5
# Sums over pixels whose coordinates err as above; needles before the camera are the worst (4e-6 measured).
GRADIENT_TOLERANCE = 2e-5


def with_gradients(splats: Splats, dtype: torch.dtype) -> Splats:
    return Splats(*(tensor.detach().to(dtype).requires_grad_() for tensor in splats.tensors().values()))


def pictures_and_gradients(
    splats: Splats, cameras: list[Camera], backend: str, *, antialiased: bool
) -> tuple[Rasterized, dict[str, Tensor]]:
    """Every output takes part in the loss with random weights."""
    dtype = torch.float64 if backend == "reference" else torch.float32
    splats = with_gradients(splats, dtype)
    background = torch.tensor([0.2, 0.5, 0.9], dtype=dtype, requires_grad=True)
    picture = rasterize(splats, cameras, background, backend=backend, antialiased=antialiased)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(7)
    loss = torch.zeros((), dtype=dtype)
    for output in (picture.colour, picture.alpha, picture.depth_sum):
        loss = loss + (output * torch.randn(output.shape, generator=generator, dtype=torch.float64).to(dtype)).sum()
    loss.backward()
    tensors = {**splats.tensors(), "background": background}
    return picture, {name: tensor.grad.double() for name, tensor in tensors.items() if tensor.grad is not None}


def assert_backends_agree(splats: Splats, cameras: list[Camera], *, antialiased: bool) -> None:
    expected, expected_gradients = pictures_and_gradients(splats, cameras, "reference", antialiased=antialiased)
    got, got_gradients = pictures_and_gradients(splats, cameras, "cpu", antialiased=antialiased)
    for name in ("colour", "alpha", "depth_sum"):
        deepest = 1 if name != "depth_sum" else float(expected.depth_sum.detach().max().clamp(min=1))
        torch.testing.assert_close(
            getattr(got, name).double(), getattr(expected, name), rtol=0, atol=PICTURE_TOLERANCE * deepest
        )
    assert set(got_gradients) == set(expected_gradients) == {*splats.tensors(), "background"}
    for name, expected_gradient in expected_gradients.items():
        error = (got_gradients[name] - expected_gradient).norm() / expected_gradient.norm()
        assert error < GRADIENT_TOLERANCE, f"gradient of {name}: relative error {error:.1e}"


def test_a_point_lands_where_its_camera_projects_it() -> None:
    point = torch.tensor([[0.3, -0.2, 0.4]])
    splats = Splats(point, torch.ones(1, 4), torch.full((1, 3), -4.0), torch.ones(1), torch.ones(1, 1, 3))
    # Neither square nor centred, and unlike focal lengths.
    pose = orbit_camera(50, 30).camera_to_world
    camera = Camera(90, 61, 120.0, 95.0, 33.3, 40.7, pose)
    alpha = rasterize(splats, [camera], torch.zeros(3)).alpha[0].double()
    centroid = [
        float((alpha.sum(1 - axis) * (torch.arange(alpha.shape[axis]) + 0.5)).sum() / alpha.sum()) for axis in (1, 0)
    ]
    pixels, depth = camera.project(point.numpy())
    # The picture is cut at 1/255 and sampled once a pixel: a Gaussian of 2 px is centred to a hundredth.
    assert centroid == pytest.approx(pixels[0].tolist(), abs=0.02)
    assert float(rasterize(splats, [camera], torch.zeros(3)).depth_sum.max() / alpha.max()) == pytest.approx(depth[0])


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_equals_the_reference(make_scene, degree: int, antialiased: bool) -> None:
    splats, cameras = make_scene(300, degree)
    assert_backends_agree(splats, cameras, antialiased=antialiased)


@pytest.mark.parametrize("antialiased", [False, True])
def test_equals_the_reference_on_hard_cases(gsplat_fixture, antialiased: bool) -> None:
    assert_backends_agree(gsplat_fixture.splats, gsplat_fixture.cameras, antialiased=antialiased)


def test_pixels_that_close_equal_the_reference(make_scene) -> None:
    splats, cameras = make_scene(2500, num_views=1, size=(40, 40))
    splats = Splats(**{**splats.tensors(), "opacity_logits": splats.opacity_logits + 6})
    assert_backends_agree(splats, cameras, antialiased=False)
    assert rasterize(splats, cameras, torch.zeros(3), backend="reference").alpha.max() > 0.9998


def test_gsplats_numbers(gsplat_fixture) -> None:
    picture = rasterize(gsplat_fixture.splats.to(torch.float32), gsplat_fixture.cameras, torch.zeros(3), backend="cpu")
    numbers = gsplat_fixture.numbers
    for ours, theirs in (
        (picture.colour.permute(0, 2, 3, 1), numbers["render_rgb"]),
        (picture.alpha, numbers["render_alpha"]),
        (picture.depth_sum, numbers["render_depth_sum"]),
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=PICTURE_TOLERANCE * float(theirs.max()))


def test_a_picture_by_others(shared_assets: Path) -> None:
    folder = shared_assets / "splats" / "golden_render"
    arrays = read_ply(folder / "tiny.ply").splats
    scene = json.loads((folder / "cameras.json").read_text())["tiny"]
    lens = np.array(scene["K"])
    pose = np.linalg.inv(np.array(scene["world_to_camera_for_ply_coordinates"]))
    camera = Camera(scene["width"], scene["height"], lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2], pose)
    # The cameras are given for the file's own coordinates.
    splats = Splats(*(torch.tensor(getattr(arrays, name)) for name in Splats.__dataclass_fields__))
    picture = rasterize(splats, [camera], torch.zeros(3), backend="cpu").colour[0].clamp(0, 1)
    truth = torch.tensor(np.asarray(Image.open(folder / "tiny.webp").convert("RGB"))).permute(2, 0, 1) / 255
    psnr = -10 * (picture - truth).square().mean().log10()
    assert psnr > 45  # the note beside the picture: a plain renderer reaches 47.7


def test_bits_do_not_depend_on_threads(make_scene) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:  # pyright: ignore - numba fills its settings from the environment
        pytest.skip("needs two threads")
    splats, cameras = make_scene(4000, 1, num_views=2, size=(150, 90))
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        runs.append(pictures_and_gradients(splats, cameras, "cpu", antialiased=False))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    (one, one_gradients), (two, two_gradients) = runs
    assert torch.equal(one.colour, two.colour)
    assert torch.equal(one.depth_sum, two.depth_sum)
    for name in splats.tensors():
        assert torch.equal(one_gradients[name], two_gradients[name]), name


def test_views_and_their_gradients_are_independent(make_scene) -> None:
    splats, cameras = make_scene(200, 1, num_views=3)
    together, gradients = pictures_and_gradients(splats, cameras, "cpu", antialiased=False)
    alone = [rasterize(splats.to(torch.float32), [camera], torch.tensor([0.2, 0.5, 0.9])) for camera in cameras]
    assert torch.equal(together.colour, torch.cat([picture.colour for picture in alone]))

    summed = torch.zeros_like(splats.means)
    generator = torch.Generator().manual_seed(7)
    weights = [
        torch.randn(output.shape, generator=generator, dtype=torch.float64)
        for output in (together.colour, together.alpha, together.depth_sum)
    ]
    for view, camera in enumerate(cameras):
        single = with_gradients(splats, torch.float32)
        picture = rasterize(single, [camera], torch.tensor([0.2, 0.5, 0.9]))
        outputs = (picture.colour, picture.alpha, picture.depth_sum)
        sum((output[0] * weight[view]).sum() for output, weight in zip(outputs, weights, strict=True)).backward()  # type: ignore[union-attr]
        assert single.means.grad is not None
        summed += single.means.grad
    torch.testing.assert_close(summed, gradients["means"], rtol=1e-4, atol=1e-3)


def test_camera_tensors_do_as_well_as_cameras(make_scene) -> None:
    splats, cameras = make_scene(100)
    splats = splats.to(torch.float32)
    from_list = rasterize(splats, cameras, torch.ones(3))
    from_tensors = rasterize(splats, stack_cameras(cameras), torch.ones(3))
    # The batch keeps poses in float32: 6e-8 of 3 units, times 60 pixels a unit, times a slope below 1 a pixel.
    torch.testing.assert_close(from_tensors.colour, from_list.colour, rtol=0, atol=1e-4)


def test_equal_depths_keep_the_order_of_the_splats() -> None:
    same_place = Splats(
        means=torch.zeros(2, 3),
        quaternions_wxyz=torch.tensor([[1.0, 0, 0, 0]] * 2),
        log_scales=torch.full((2, 3), -1.0),
        opacity_logits=torch.tensor([9.0, 9.0]),
        harmonics=torch.tensor([[[1.77, -1.77, -1.77]], [[-1.77, 1.77, -1.77]]]),
    )
    camera = orbit_camera(30, 10, width=9, height=9)
    red_first = rasterize(same_place, [camera], torch.zeros(3)).colour[0, :, 4, 4]
    green_first = rasterize(same_place.select(torch.tensor([1, 0])), [camera], torch.zeros(3)).colour[0, :, 4, 4]
    assert red_first[0] > 0.9 > 0.1 > red_first[1]
    assert green_first[1] > 0.9 > 0.1 > green_first[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("means", float("nan")),
        ("means", 1e30),
        ("quaternions_wxyz", 0.0),
        ("log_scales", 80.0),
        ("log_scales", float("inf")),
        ("log_scales", -200.0),
        ("opacity_logits", float("nan")),
        ("opacity_logits", -200.0),
    ],
)
def test_a_splat_that_cannot_be_drawn_leaves_the_others_alone(make_scene, name: str, value: float) -> None:
    splats, cameras = make_scene(50)
    splats = splats.to(torch.float32)
    good = rasterize(splats.select(torch.arange(1, 50)), cameras, torch.ones(3)).colour
    tensors = {key: tensor.clone() for key, tensor in splats.tensors().items()}
    tensors[name][0] = value
    broken = with_gradients(Splats(**tensors), torch.float32)
    picture = rasterize(broken, cameras, torch.ones(3)).colour
    if (name, value) == ("log_scales", -200.0):
        assert picture.isfinite().all()  # a point, drawn as wide as the added variance
    else:
        torch.testing.assert_close(picture, good, rtol=0, atol=0)
    picture.sum().backward()
    assert broken.means.grad is not None
    assert broken.means.grad.isfinite().all()


def test_no_splats_show_the_background(make_scene) -> None:
    splats, cameras = make_scene(3)
    nothing = with_gradients(splats.select(torch.zeros(3, dtype=torch.bool)), torch.float32)
    picture = rasterize(nothing, cameras, torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert torch.equal(picture.colour[:, :, 0, 0], torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert not picture.alpha.any()
    picture.colour.sum().backward()
