"""The average of a network's weights over training, which is what is evaluated and kept."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


class AveragedNetwork(Generic[Network]):
    """An exponential moving average of a network, short at first.

    After t updates the decay is min(decay, (1 + t) / (10 + t)), so that the start is forgotten.

    Args:
        student: The network that is trained; it is copied.
        decay: Of the average, 0..1.
    """

    def __init__(self, student: Network, decay: float) -> None:
        self.network: Network = copy.deepcopy(student).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, student: nn.Module, updates: int) -> None:
        """Move the average towards the student.

        Args:
            student: The network after an optimizer step.
            updates: How many updates there were before this one.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        get_ema_multi_avg_fn(decay)(list(self.network.parameters()), list(student.parameters()), updates)
        for mine, theirs in zip(self.network.buffers(), student.buffers(), strict=True):
            mine.copy_(theirs)

    def tensors(self) -> dict[str, Tensor]:
        """Return the averaged weights by name."""
        return self.network.state_dict()
