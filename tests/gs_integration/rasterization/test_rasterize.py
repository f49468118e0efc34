import importlib.util

import pytest
import torch

from distill_core.cameras import orbit_camera
from distill_core.errors import UserError
from gs_integration.rasterization.rasterize import rasterize, resolved_backend


def test_auto_follows_the_device() -> None:
    assert resolved_backend("auto", torch.device("cpu")) == "cpu"


def test_cuda_without_gsplat_says_what_to_install() -> None:
    if importlib.util.find_spec("gsplat") is not None:
        pytest.skip("gsplat is installed")
    with pytest.raises(UserError, match="extra 'gpu'"):
        resolved_backend("cuda", torch.device("cuda"))


def test_cpu_backend_refuses_memory_of_another_device() -> None:
    with pytest.raises(ValueError, match="cannot render splats on the device cuda"):
        resolved_backend("cpu", torch.device("cuda"))


def test_no_camera_and_mixed_sizes_are_refused(make_scene) -> None:
    splats, _ = make_scene(3)
    with pytest.raises(ValueError, match="at least one camera"):
        rasterize(splats, [], torch.zeros(3))
    with pytest.raises(ValueError, match="one picture size"):
        rasterize(splats, [orbit_camera(0, 0, width=8), orbit_camera(0, 0, width=9)], torch.zeros(3))


def test_background_is_one_or_one_a_view(make_scene) -> None:
    splats, cameras = make_scene(3)
    with pytest.raises(ValueError, match="background"):
        rasterize(splats, cameras, torch.zeros(5, 3))


def test_precision_of_the_splats_is_kept(make_scene) -> None:
    splats, cameras = make_scene(3)
    for dtype in (torch.float32, torch.float64):
        for backend in ("cpu", "reference"):
            picture = rasterize(splats.to(dtype), cameras, torch.zeros(3), backend=backend)
            assert {picture.colour.dtype, picture.alpha.dtype, picture.depth_sum.dtype} == {dtype}
