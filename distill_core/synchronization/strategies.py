"""Where a joint reverse process keeps its state, and what the views agree on. No torch here.

The five cases of diffusion synchronization (Kim et al., SyncTweedies, NeurIPS 2024) in their order are
instance-noise, instance-clean, instance-noisy, canonical-noise and canonical-clean; canonical-noisy is MultiDiffusion
(Bar-Tal et al., ICML 2023); none lets every view go its own way.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Space = Literal["instance", "canonical"]
Quantity = Literal["noise", "clean", "noisy"]
StrategyName = Literal[
    "instance-noise",
    "instance-clean",
    "instance-noisy",
    "canonical-noise",
    "canonical-clean",
    "canonical-noisy",
    "none",
]
NoiseKind = Literal["shared", "independent"]
"""Noise of views that is one canonical noise seen by all, or each view's own."""

STRATEGY_NAMES: tuple[StrategyName, ...] = get_args(StrategyName)


@dataclass(frozen=True)
class SyncStrategy:
    """One way of joining views.

    Attributes:
        space: where the noisy state lives: one state a view, or a single canonical one.
        quantity: what is averaged over the views: the implied noise, the clean prediction, or the next noisy sample.
    """

    space: Space
    quantity: Quantity

    @property
    def name(self) -> str:
        """The name that a person types."""
        return f"{self.space}-{self.quantity}"


STRATEGIES = tuple(SyncStrategy(space, quantity) for space in get_args(Space) for quantity in get_args(Quantity))
"""All six ways of joining."""


def strategy_named(name: StrategyName) -> SyncStrategy | None:
    """Return the strategy of a name; None stands for no synchronization.

    Args:
        name: one of `STRATEGY_NAMES`.
    """
    return None if name == "none" else next(strategy for strategy in STRATEGIES if strategy.name == name)
