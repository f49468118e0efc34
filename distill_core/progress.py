"""How a long job says where it is, and how it hears that it should stop."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable  # for the checks of annotations in tests
class Progress(Protocol):
    """What a pipeline calls while it works."""

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage of `total` steps (None when the number is not known)."""
        ...

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        """Report `n` finished steps and, if there is one, a preview picture [3, H, W] in 0..1.

        Raises:
            Cancelled: the caller asked the job to stop.
        """
        ...


class SilentProgress:
    """Says nothing and never cancels."""

    def stage(self, name: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        """Do nothing."""
