"""What a view generator is told: the source picture, the cameras, the guide."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distill_core.guide import Guide
from distill_core.rays import CameraTensors


@dataclass(frozen=True)
class ViewCondition:
    """The condition of B = S x `views_per_set` target views; the views of a set follow one another.

    Args:
        source: [S, 4, H, W] source pictures, premultiplied RGBA in -1..1.
        source_cameras: S cameras.
        target_cameras: B cameras.
        views_per_set: Views of a set, which may attend to each other; sets never meet.
        guide: What is known of the B views.
        source_tokens: [S, T, C] features of the sources, made once by the solid network.
        source_present: [S] 1, or 0 where the source was dropped.
    """

    source: Float[Tensor, "sets 4 height width"]
    source_cameras: CameraTensors
    target_cameras: CameraTensors
    views_per_set: int
    guide: Guide
    source_tokens: Float[Tensor, "sets tokens features"]
    source_present: Float[Tensor, " sets"]

    def __post_init__(self) -> None:
        """Check the sizes against one another."""
        if len(self.target_cameras) != self.source.shape[0] * self.views_per_set:
            raise ValueError(
                f"expected {self.source.shape[0]} sets x {self.views_per_set} views, got "
                f"{len(self.target_cameras)} target cameras"
            )

    @property
    def sets(self) -> Tensor:
        """[B] the set of each view."""
        index = torch.arange(self.source.shape[0], device=self.source.device)
        return index.repeat_interleave(self.views_per_set)

    def without_source(self) -> "ViewCondition":
        """The condition of the unguided branch: no source, no guide."""
        everything = torch.ones(len(self.target_cameras), 3, dtype=torch.bool, device=self.source.device)
        return self.dropped(everything, torch.ones(self.source.shape[0], dtype=torch.bool, device=self.source.device))

    def dropped(self, guide_parts: Bool[Tensor, "batch 3"], source: Bool[Tensor, " sets"]) -> "ViewCondition":
        """The condition with parts of the guide and some sources dropped.

        Args:
            guide_parts: [B, 3] True drops colour / mask and depth / normals of a view.
            source: [S] True drops the picture and its tokens.

        Returns:
            The reduced condition; dropped values cannot be read from it.
        """
        keep = (~source).to(self.source.dtype)
        return replace(
            self,
            source=self.source * keep[:, None, None, None],
            source_tokens=self.source_tokens * keep[:, None, None],
            source_present=self.source_present * keep,
            guide=self.guide.dropped(guide_parts),
        )

    def select_sets(self, sets: Tensor) -> "ViewCondition":
        """The condition of the sets at `sets` [N] alone."""
        views = (sets[:, None] * self.views_per_set + torch.arange(self.views_per_set, device=sets.device)).flatten()
        return replace(
            self,
            source=self.source[sets],
            source_cameras=self.source_cameras.select(sets),
            target_cameras=self.target_cameras.select(views),
            guide=self.guide.select(views),
            source_tokens=self.source_tokens[sets],
            source_present=self.source_present[sets],
        )

    def select_views(self, views: Tensor, views_per_set: int) -> "ViewCondition":
        """The condition of the views at `views` [S * views_per_set], grouped by set in the old order of sets."""
        return replace(
            self,
            target_cameras=self.target_cameras.select(views),
            guide=self.guide.select(views),
            views_per_set=views_per_set,
        )
