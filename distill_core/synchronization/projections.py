"""Between a canonical space and the views of it: what every projection offers, and averages of what views vote.

Letters: m the weight of a view's vote for a canonical element, w = m / sum m, q = sum w^2.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from distill_core.synchronization.strategies import NoiseKind


class Votes(NamedTuple):
    """What the views say of each canonical element, ready to be averaged.

    Attributes:
        weighted: [C, ...] sum of m times value.
        weights: broadcastable to `weighted`, sum of m; 0 where no view sees the element.
        squared_weights: of the shape of `weights`, sum of m^2.
    """

    weighted: Tensor
    weights: Tensor
    squared_weights: Tensor


@runtime_checkable  # the shape checks of the tests ask
class Projection(Protocol):
    """Views of one canonical space. Both directions are linear, and work wherever their argument lives."""

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        """Shape of the canonical sample, channels first."""
        ...

    @property
    def instances_shape(self) -> tuple[int, int, int, int]:
        """V, C, h, w."""
        ...

    def project(self, canonical: Tensor) -> Tensor:
        """Return the views [V, C, h, w] of a canonical sample [C, ...]."""
        ...

    def unproject(self, instances: Tensor) -> Votes:
        """Return what views [V, C, h, w] say of the canonical sample."""
        ...

    def canonical_noise(self, generator: torch.Generator) -> Tensor:
        """Return standard normal noise [C, ...] of the canonical sample, on the generator's device."""
        ...

    def initial_noise(self, generator: torch.Generator) -> Tensor:
        """Return noise [V, C, h, w] that is standard normal in every view and agrees between views.

        It comes from `canonical_noise` of the same generator, so that both describe one canonical noise.
        """
        ...


class LastVotes:
    """Unprojects views, and knows again those that it unprojected last.

    What a step has just joined, its preview and the feedback of the next step ask for once more. Views are told apart
    by which tensor they are, so none may be changed in place.

    Args:
        unproject: of a projection.
    """

    def __init__(self, unproject: Callable[[Tensor], Votes]) -> None:
        self._unproject = unproject
        self._last: tuple[Tensor, Votes] | None = None

    def __call__(self, instances: Tensor) -> Votes:
        """Return what views [V, C, h, w] say of the canonical sample."""
        if self._last is None or self._last[0] is not instances:
            self._last = instances, self._unproject(instances)
        return self._last[1]


def noise_of_views(projection: Projection, kind: NoiseKind, generator: torch.Generator) -> Tensor:
    """Return standard normal noise [V, C, h, w] of the views, on the generator's device.

    Args:
        projection: of the views.
        kind: whether it is one canonical noise or each view's own.
        generator: of the noise.
    """
    if kind == "shared":
        return projection.initial_noise(generator)
    return torch.randn(projection.instances_shape, generator=generator, device=generator.device)


def average(votes: Votes) -> Tensor:
    """Return the weighted mean of what the views say, [C, ...]; 0 where no view says anything."""
    covered = votes.weights > 0
    return torch.where(covered, votes.weighted / torch.where(covered, votes.weights, 1), 0)


def variance_share(votes: Votes) -> Tensor:
    """Return q, the share of variance that averaging leaves of independent noise; 1 where no view says anything.

    It has the shape of `votes.weights`: 1 where one view speaks, 1 / K where K speak with equal weights.
    """
    covered = votes.weights > 0
    share = votes.squared_weights / torch.where(covered, votes.weights, 1).square()
    return torch.where(covered, share, 1)


def coverage(votes: Votes) -> float:
    """Return the share of canonical elements, in 0..1, that at least one view sees."""
    return float((votes.weights > 0).double().mean())


def average_noise(projection: Projection, noise: Tensor) -> Tensor:
    """Average the views' noise and give it back the variance that averaging took.

    Independent noise is divided by sqrt(q). Noise that views share loses nothing and is left alone; between the two
    lies the correlation r of what overlapping views say, which is measured over all canonical elements:
    E[mean^2] = (q + (1 - q) r) E[noise^2], and the mean is divided by sqrt(q + (1 - q) r).

    Args:
        projection: of the views.
        noise: [V, C, h, w].

    Returns:
        [C, ...] canonical noise; 0 where no view sees.
    """
    votes = projection.unproject(noise)
    mean, power = average(votes), average(projection.unproject(noise.square()))
    share = variance_share(votes).expand_as(mean)
    shared_power = ((1 - share) * power).sum()
    correlation = torch.where(
        shared_power > 0, (mean.square() - share * power).sum() / shared_power.clamp(min=1e-30), 1
    ).clamp(0, 1)
    return mean / (share + (1 - share) * correlation).sqrt()
