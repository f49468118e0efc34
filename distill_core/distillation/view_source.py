"""What training data is to the trainer: sets of posed pictures, and batches made of them."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.models.condition import ViewCondition


@dataclass(frozen=True)
class ViewSet:
    """Pictures of one object.

    Args:
        pictures: [V, 4, H, W] straight RGBA, sRGB values in 0..1.
        cameras: V cameras of that picture size.
        depth: [V, H, W] z-depth in world units, 0 where empty, or None.
        normals: [V, 3, H, W] unit, world space, or None.
        name: The object, for logs.
    """

    pictures: Float[Tensor, "views 4 height width"]
    cameras: list[Camera]
    depth: Float[Tensor, "views height width"] | None
    normals: Float[Tensor, "views 3 height width"] | None
    name: str


@runtime_checkable  # the shape checks of the tests ask
class ViewSource(Protocol):
    """An endless stream of view sets."""

    def draw(self, index: int) -> ViewSet:
        """Return the set at an index: a pure function of (the source's seed, index), safe in any thread."""
        ...


@dataclass(frozen=True)
class ViewBatch:
    """What a view generator trains on.

    Args:
        clean: [B, 4, H, W] target views, premultiplied RGBA in -1..1; the views of a set follow one another.
        condition: What the generator is told of them.
    """

    clean: Float[Tensor, "batch 4 height width"]
    condition: ViewCondition

    @property
    def views_per_set(self) -> int:
        """Views of each set."""
        return self.condition.views_per_set

    def with_condition(self, condition: ViewCondition) -> "ViewBatch":
        """The same pictures under another condition."""
        return replace(self, condition=condition)


Batch = TypeVar("Batch", covariant=True)


@runtime_checkable  # the shape checks of the tests ask
class BatchSource(Protocol[Batch]):
    """Batches of a training, in two halves: one beside the training step, one on its device."""

    def draw(self, step: int) -> Any:
        """Return the raw data of a step, on the CPU: a pure function of (seed, step), called in background threads."""
        ...

    def prepare(self, drawn: Any, device: torch.device) -> Batch:
        """Return the batch made of what `draw` returned, on the training's device.

        Called in the training's thread, without gradients.
        """
        ...
