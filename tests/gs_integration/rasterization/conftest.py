from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distill_core.cameras import Camera, orbit_rig
from gs_integration.splats import Splats

MakeScene = Callable[..., tuple[Splats, list[Camera]]]


@dataclass(frozen=True)
class GsplatFixture:
    """Numbers that gsplat 1.5.3 gave for 200 splats in 3 cameras (assets/splats/README.md)."""

    splats: Splats
    cameras: list[Camera]
    numbers: dict[str, Tensor]


@pytest.fixture(scope="session")
def gsplat_fixture(shared_assets: Path) -> GsplatFixture:
    with np.load(shared_assets / "splats" / "gsplat_projection_fixture.npz") as file:
        numbers = {name: torch.tensor(file[name].astype(np.float64)) for name in file.files}
    splats = Splats(
        means=numbers["means"],
        quaternions_wxyz=numbers["quats"],
        log_scales=numbers["scales"].log(),
        opacity_logits=numbers["opacities"].logit(),
        harmonics=numbers["sh_coeffs"],
    )
    size = int(numbers["width"]), int(numbers["height"])
    cameras = [
        Camera(*size, lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2], np.linalg.inv(pose))
        for lens, pose in zip(numbers["Ks"].numpy(), numbers["viewmats"].numpy(), strict=True)
    ]
    return GsplatFixture(splats, cameras, numbers)


@pytest.fixture(scope="session")
def make_scene() -> MakeScene:
    def make(
        num_splats: int = 300, degree: int = 0, *, num_views: int = 2, size: tuple[int, int] = (70, 45), seed: int = 0
    ):
        """Splats all through the unit ball, from needles to discs, some opaque; pictures that no tile fits."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        splats = Splats(
            means=0.45 * normal(num_splats, 3),
            quaternions_wxyz=normal(num_splats, 4),
            log_scales=-2.8 + 0.8 * normal(num_splats, 3),
            opacity_logits=3 * normal(num_splats),
            harmonics=0.6 * normal(num_splats, (degree + 1) ** 2, 3),
        )
        return splats, orbit_rig(num_views, elevations_degrees=(20.0,), width=size[0], height=size[1])

    return make
