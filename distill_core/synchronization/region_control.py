"""A condition for every region of one canonical sample (region-controlled MultiDiffusion, Bar-Tal et al., ICML 2023).

Every view is denoised once for each region, under that region's condition, and the masks say how much each prediction
weighs where. Early on a region sees a plain colour, noised with the canvas's own noise, in place of what lies outside
it: so its content arises within its borders, and is not what happens to stick out of something larger.

MultiDiffusion averages noisy samples. Under samplers that are affine in the noisy sample and the clean prediction, and
where regions do not overlap, averaging predictions is the same; and as a denoiser it serves every strategy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.schedules import Schedule, add_noise, per_sample
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import SyncStrategy

BOOTSTRAP_SHARE = 0.4
"""Share of the steps in which regions see a plain colour around them: 20 of 50."""

MULTI_DIFFUSION = SyncStrategy("canonical", "noisy")


@dataclass(frozen=True)
class Region:
    """Part of a canonical sample and what it shall show.

    Args:
        mask: [1, ...] of the canonical sample, weights of at least 0; where several regions overlap they share.
        condition: what the denoiser is told of all views.
        colour: [C] that stands outside the region at first, or None to let the region see the whole from the start,
            as a background should.
    """

    mask: Float[Tensor, "1 ..."]
    condition: Any
    colour: Float[Tensor, " channels"] | None = None


class RegionDenoiser:
    """One denoiser of the views made of a condition a region; it takes no condition itself.

    Args:
        denoiser: of the views.
        projection: takes masks to the views. It must not mix a mask's borders with what is not seen.
        regions: at least one; together they cover whatever a view sees.
        noise: [V, C, h, w] the canvas's noise, seen from the views, which plain colours are covered with.
        colours_until: plain colours stand outside the regions at times above this.

    Raises:
        ValueError: no regions, or a pixel of a view that none of them covers.
    """

    def __init__(
        self,
        denoiser: Denoiser[Any],
        projection: Projection,
        regions: Sequence[Region],
        noise: Float[Tensor, "views channels h w"],
        colours_until: float,
    ) -> None:
        if not regions:
            raise ValueError("expected at least one region, got none")
        self.schedule: Schedule = denoiser.schedule
        self.sample_shape = denoiser.sample_shape
        self._denoiser, self._regions, self._noise, self._until = denoiser, list(regions), noise, colours_until
        canonical = torch.ones(projection.canonical_shape).to(noise)
        # Views that negate negate masks too; what counts is the share of what is seen.
        seen = projection.project(canonical).abs()
        self._masks = torch.stack(
            [projection.project(region.mask.to(noise) * canonical).abs() / seen.clamp(min=1e-6) for region in regions]
        )
        self._total = self._masks.sum(dim=0)
        bare = (self._total <= 0) & (seen > 1e-6)
        if bool(bare.any()):
            raise ValueError(
                f"expected regions that cover all that views see, got {int(bare.any(1).sum())} pixels without one; "
                "add a region for the background"
            )

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        """Return the mean of the regions' predictions [V, C, h, w], weighted by their masks."""
        weighted = torch.zeros_like(noisy)
        for region, mask in zip(self._regions, self._masks, strict=True):
            weighted += mask * self._denoiser(self._surrounded(region, mask, noisy, time), time, region.condition)
        return weighted / self._total.clamp(min=1e-6)

    def _surrounded(self, region: Region, mask: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The views with a noised plain colour outside the region, at times when it is wanted."""
        if region.colour is None:
            return noisy
        plain = region.colour.to(noisy)[:, None, None].expand_as(noisy)
        covered = add_noise(self.schedule, plain, self._noise, time)
        inside = mask.clamp(max=1)
        mixed = inside * noisy + (1 - inside) * covered
        return torch.where(per_sample(time > self._until, noisy), mixed, noisy)


def synchronize_regions(
    projection: Projection,
    denoiser: Denoiser[Any],
    regions: Sequence[Region],
    times: Tensor,
    make_step: Callable[[], SamplerStep],
    generator: torch.Generator,
    *,
    strategy: SyncStrategy = MULTI_DIFFUSION,
    bootstrap_share: float = BOOTSTRAP_SHARE,
    progress: Progress | None = None,
) -> Synchronized:
    """Run all views down a grid of times, each region under its own condition, from one canonical noise.

    Args:
        projection: of the views.
        denoiser: of the views.
        regions: at least one; together they cover whatever a view sees.
        times: [steps + 1] falling times.
        make_step: makes the sampler's step.
        generator: of all noise.
        strategy: how views are joined.
        bootstrap_share: of the steps, in which regions see a plain colour around them.
        progress: told of each step; raises `Cancelled` to stop.

    Raises:
        ValueError: no regions, or a pixel of a view that none of them covers.
    """
    # Both descriptions of one noise: the same draws of the same generator.
    before = generator.get_state()
    noise = projection.initial_noise(generator)
    after = generator.get_state()
    generator.set_state(before)
    start = projection.canonical_noise(generator)[None] if strategy.space == "canonical" else noise
    generator.set_state(after)
    plain_steps = round(bootstrap_share * (len(times) - 1))
    # A step at this index, and every later one, begins at or below this time.
    colours_until = float(times[plain_steps])
    regional = RegionDenoiser(denoiser, projection, regions, noise, colours_until)
    process = JointProcess(projection, regional, None, strategy)
    sigma = denoiser.schedule.sigma(times[0]).to(start.dtype)
    return synchronize(process, times, make_step, generator, start=sigma * start, progress=progress)
