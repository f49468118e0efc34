"""gsplat's kernels against the float64 reference, where there is a GPU and gsplat."""

import pytest
import torch

from gs_integration.rasterization.rasterize import Backend, rasterize
from gs_integration.splats import Splats

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("degree", [0, 3])
def test_equals_the_reference(make_scene, degree: int, antialiased: bool) -> None:
    pytest.importorskip("gsplat")
    splats, cameras = make_scene(300, degree)
    results = []
    runs: list[tuple[Backend, str, torch.dtype]] = [
        ("reference", "cpu", torch.float64),
        ("cuda", "cuda", torch.float32),
    ]
    for backend, device, dtype in runs:
        own = Splats(*(tensor.detach().to(device, dtype).requires_grad_() for tensor in splats.tensors().values()))
        background = torch.tensor([0.2, 0.5, 0.9], device=device, dtype=dtype)
        picture = rasterize(own, cameras, background, backend=backend, antialiased=antialiased)
        generator = torch.Generator().manual_seed(7)
        outputs = (picture.colour, picture.alpha, picture.depth_sum)
        weights = [torch.randn(output.shape, generator=generator, dtype=torch.float64) for output in outputs]
        torch.stack(
            [(output * weight.to(output)).sum() for output, weight in zip(outputs, weights, strict=True)]
        ).sum().backward()
        gradients = [tensor.grad for tensor in own.tensors().values()]
        results.append([tensor.detach().double().cpu() for tensor in (*outputs, *gradients) if tensor is not None])
    for expected, got in zip(*results, strict=True):
        # float32 with atomic sums in any order; gradients of needles cancel.
        assert (got - expected).norm() / expected.norm() < 1e-3
