"""Going through a limited number of rendered draws again and again, so that training need not wait for the renderer."""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

Rendered = TypeVar("Rendered")


class Replay(Generic[Rendered]):
    """Renderings by index: the first `distinct` indices render, later ones meet those again in an order of their own.

    What is rendered is a pure function of the index it is rendered for, so whatever is not in memory (after a restart)
    is rendered anew and is the same.

    Args:
        render: From a number in 0 .. distinct - 1 to what is kept; called in any thread.
        distinct: Number of renderings kept in memory; None keeps none and renders every index.
        seed: Of the orders.
    """

    def __init__(self, render: Callable[[int], Rendered], distinct: int | None, seed: int) -> None:
        self._render = render
        self._distinct = distinct
        self._seed = seed
        self._kept: dict[int, Rendered] = {}

    def at(self, index: int) -> Rendered:
        """The rendering that an index meets."""
        if self._distinct is None:
            return self._render(index)
        place = self._place(index, self._distinct)
        kept = self._kept.get(place)
        if kept is None:
            kept = self._kept[place] = self._render(place)
        return kept

    def _place(self, index: int, distinct: int) -> int:
        """An affine shuffle of each round: place -> (factor place + offset) mod distinct, factor coprime to it."""
        round_number, place = divmod(index, distinct)
        if round_number == 0:
            return place
        generator = np.random.default_rng((self._seed, 3, round_number))
        factor = int(generator.integers(distinct))
        while np.gcd(factor, distinct) != 1:
            factor += 1
        return (factor * place + int(generator.integers(distinct))) % distinct
