"""Small networks, conditions and sources for tests of training."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill_core.cameras import orbit_camera
from distill_core.diffusion.parameterizations import boundary_scalings
from distill_core.diffusion.schedules import VarianceExploding, per_sample
from distill_core.distillation.view_source import ViewBatch
from distill_core.guide import Guide
from distill_core.models.condition import ViewCondition
from distill_core.rays import stack_cameras


def condition(sets: int = 2, views: int = 2, side: int = 8) -> ViewCondition:
    """A condition with something random in every part."""
    generator = torch.Generator().manual_seed(1)
    total = sets * views

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    guide = Guide(
        random(total, 3, side, side),
        random(total, 1, side, side),
        random(total, 1, side, side),
        random(total, 1, side, side) - 0.5,
        nn.functional.normalize(random(total, 3, side, side) - 0.5, dim=1),
        random(total, 1, side, side),
        torch.ones(total, 3),
    )
    sources = [orbit_camera(20.0 * number, 10, width=side, height=side) for number in range(sets)]
    targets = [orbit_camera(35.0 * number, number % 60, width=side, height=side) for number in range(total)]
    return ViewCondition(
        random(sets, 4, side, side) * 2 - 1,
        stack_cameras(sources),
        stack_cameras(targets),
        views,
        guide,
        random(sets, 4, 16),
        torch.ones(sets),
    )


def view_batch(clean: Tensor, views: int = 2) -> ViewBatch:
    """A batch of clean pictures [B, 4, S, S] with some condition."""
    return ViewBatch(clean, condition(clean.shape[0] // views, views, clean.shape[-1]))


class TinyDenoiser(nn.Module):
    """A per-pixel network with consistency scalings; it ignores the condition."""

    def __init__(self, side: int = 8, sigma_data: float = 0.5) -> None:
        super().__init__()
        self.schedule = VarianceExploding(0.01, 20.0)
        self.sample_shape = (4, side, side)
        self.sigma_data = sigma_data
        self.inner = nn.Sequential(nn.Conv2d(5, 32, 1), nn.SiLU(), nn.Conv2d(32, 32, 1), nn.SiLU(), nn.Conv2d(32, 4, 1))

    def forward(self, noisy: Tensor, time: Tensor, condition: object) -> Tensor:
        skip, out, scale = (
            per_sample(factor, noisy) for factor in boundary_scalings(self.schedule, time, self.sigma_data)
        )
        at = per_sample(time, noisy).expand(-1, 1, *noisy.shape[2:])
        return skip * noisy + out * self.inner(torch.cat([scale * noisy, at], 1))


@dataclass(frozen=True)
class GaussianViews:
    """Batches of independent Gaussian numbers in place of pictures."""

    mean: float = 0.3
    deviation: float = 0.5
    sets: int = 16
    views: int = 2
    side: int = 8

    def draw(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        shape = (self.sets * self.views, 4, self.side, self.side)
        return self.mean + self.deviation * torch.randn(shape, generator=generator)

    def prepare(self, drawn: Tensor, device: torch.device) -> ViewBatch:
        return view_batch(drawn.to(device), self.views)
