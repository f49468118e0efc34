import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from distill_core.distillation.solid import ray_entropy


def test_rays_cost_what_their_surprise_is() -> None:
    found = ray_entropy(torch.tensor([0.9, 0.2, 0.5]), torch.tensor([1.0, 0.0, 1.0]))
    assert float(found) == pytest.approx(-(np.log(0.9) + np.log(0.8) + np.log(0.5)) / 3, abs=1e-6)


def test_rays_are_computed_under_cuda_s_autocast() -> None:
    """CUDA's autocast refuses losses that the CPU's computes; a fake device does so without a card."""
    torch.set_autocast_enabled("cuda", True)
    try:
        with FakeTensorMode():
            seen, hits = torch.full((4,), 0.5, device="cuda"), torch.ones(4, device="cuda")
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                torch.nn.functional.binary_cross_entropy(seen, hits)
            assert ray_entropy(seen.half(), hits).dtype == torch.float32
    finally:
        torch.set_autocast_enabled("cuda", False)
