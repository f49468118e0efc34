"""Self-attention of a frozen text-to-image network in which views also look at other views.

Each view's queries meet keys and values of itself and of some other views (Liu et al., SyncMVD, 2023). Which others is
told by index, so a set's views may be permuted together with their indices: the results are permuted alike. Views that
look at themselves alone are the network's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Int
from torch import Tensor

_SELF_ATTENTION = "attn1.processor"


class SharedViewAttention:
    """A diffusers attention processor that hands another one the tokens of several views.

    Args:
        inner: the processor of the network's own; keys and values come from what it is given as encoder states.
        neighbours: [V, n] indices of the views that each view looks at, itself among them, none twice in a row.
    """

    def __init__(self, inner: Any, neighbours: Int[Tensor, "views looked_at"]) -> None:
        self._inner = inner
        self._neighbours = neighbours

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **words: Any,
    ) -> Tensor:
        """Attend; hidden states are [V, tokens, channels].

        Raises:
            ValueError: another number of views than the indices are of, or attention to something else than the views.
        """
        if encoder_hidden_states is not None or len(hidden_states) != len(self._neighbours):
            raise ValueError(
                f"expected self-attention of {len(self._neighbours)} views, got {len(hidden_states)} views"
                f"{'' if encoder_hidden_states is None else ' and other states'}"
            )
        seen = hidden_states[self._neighbours.to(hidden_states.device)].flatten(1, 2)
        return self._inner(attention, hidden_states, seen, *args, **words)


@contextmanager
def shared_views(network: Any, neighbours: Int[Tensor, "views looked_at"] | None) -> Iterator[None]:
    """Let the self-attention of a network look at other views while the block runs.

    Args:
        network: a diffusers model with `attn_processors`.
        neighbours: as in `SharedViewAttention`; None leaves the network alone.
    """
    if neighbours is None:
        yield
        return
    own = dict(network.attn_processors)
    network.set_attn_processor(
        {
            name: SharedViewAttention(processor, neighbours) if name.endswith(_SELF_ATTENTION) else processor
            for name, processor in own.items()
        }
    )
    try:
        yield
    finally:
        network.set_attn_processor(own)
