"""The whole view generator: a picture to its solid, the solid to a guide, guide and noise to views."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.diffusion.noise import seeded_noise
from distill_core.diffusion.samplers import SamplerStep, consistency_step, sample
from distill_core.diffusion.time_grids import uniform_times
from distill_core.guide import Guide, guide_from_solid
from distill_core.models.condition import ViewCondition
from distill_core.models.correspondence_tuning import CorrespondenceTuned
from distill_core.models.settings import ViewGeneratorSettings
from distill_core.models.solid_network import SolidNetwork, SolidPrediction, solid_of
from distill_core.models.view_network import ViewNetwork
from distill_core.progress import Progress
from distill_core.rays import CameraTensors
from distill_core.solids import Solid

_VIEWS_PER_SEED = 1_000_003
"""Seeds of the views of one job lie this far from those of the next."""


@dataclass(frozen=True)
class PredictedSolid:
    """What the solid network says of S pictures, placed in their cameras.

    Args:
        solid: Occupancy in the frusta of the sources.
        tokens: [S, T, C] features of the sources, for the view network.
        elevation_degrees: [S] estimated elevation of the sources; the cameras that were given do not enter it.
    """

    solid: Solid
    tokens: Float[Tensor, "sets tokens features"]
    elevation_degrees: Float[Tensor, " sets"]


class ViewGenerator:
    """Both networks, in evaluation mode on one device.

    Args:
        solid_network: Predicts the solid behind a picture.
        view_network: Turns noise, guide and pose into views; a Denoiser, perhaps with attention between the pixels of
            views that show the same point.
        settings: What the networks are made of.
    """

    def __init__(
        self,
        solid_network: SolidNetwork,
        view_network: ViewNetwork | CorrespondenceTuned,
        settings: ViewGeneratorSettings,
    ) -> None:
        self.solid_network = solid_network.eval().requires_grad_(requires_grad=False)
        self.view_network = view_network.eval().requires_grad_(requires_grad=False)
        self.settings = settings

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.view_network.parameters()).device

    def predict_solid(
        self, source: Float[Tensor, "sets 4 height width"], source_cameras: CameraTensors
    ) -> PredictedSolid:
        """The solid behind each picture.

        Args:
            source: [S, 4, H, W] premultiplied RGBA in -1..1, framed as the training views are.
            source_cameras: S cameras of that picture size.

        Returns:
            Solids, tokens, and the elevations that the pictures suggest.
        """
        return placed(self.solid_network(source), source, source_cameras)

    def build_condition(
        self,
        source: Float[Tensor, "sets 4 height width"],
        source_cameras: CameraTensors,
        target_cameras: CameraTensors,
        predicted: PredictedSolid,
        *,
        guide: Guide | None = None,
    ) -> ViewCondition:
        """What the view network is told of the target views.

        Args:
            source: [S, 4, H, W] premultiplied RGBA in -1..1.
            source_cameras: S cameras.
            target_cameras: B = S x views cameras, the views of a set after one another.
            predicted: Of the same pictures.
            guide: What is known of the targets from elsewhere (a mesh, splats); the predicted solid's if None.

        Returns:
            The condition.
        """
        return condition_of(source, source_cameras, target_cameras, predicted, guide)

    def sample(
        self,
        condition: ViewCondition,
        steps: int,
        seed: int,
        progress: Progress | None = None,
        preview: Callable[[Tensor], np.ndarray] | None = None,
        *,
        step: SamplerStep = consistency_step,
    ) -> Float[Tensor, "batch 4 height width"]:
        """Generate the views of a condition.

        Args:
            condition: From `build_condition`.
            steps: Network evaluations, at least 1.
            seed: Of the noise; every view has noise of its own that does not depend on the others.
            progress: Told of each step.
            preview: Makes a picture of the clean prediction for the progress.
            step: Of the sampler; a generator that was not distilled takes `ddim_step`.

        Returns:
            [B, 4, H, W] premultiplied RGBA in -1..1.
        """
        seeds = [seed * _VIEWS_PER_SEED + view for view in range(len(condition.target_cameras))]
        noise = seeded_noise(seeds, device=self.device)
        return sample(
            self.view_network,
            condition,
            uniform_times(steps),
            step,
            noise,
            progress=progress,
            preview=preview,
        )


def placed(
    prediction: SolidPrediction, source: Float[Tensor, "sets 4 height width"], source_cameras: CameraTensors
) -> PredictedSolid:
    """A network's prediction in the cameras of its pictures."""
    return PredictedSolid(
        solid_of(prediction, source, source_cameras), prediction.tokens.float(), prediction.elevation_degrees
    )


def condition_of(
    source: Float[Tensor, "sets 4 height width"],
    source_cameras: CameraTensors,
    target_cameras: CameraTensors,
    predicted: PredictedSolid,
    guide: Guide | None = None,
) -> ViewCondition:
    """The condition of views of S sources; see `ViewGenerator.build_condition`."""
    views_per_set = len(target_cameras) // len(source_cameras)
    sets = torch.arange(len(source_cameras), device=source.device).repeat_interleave(views_per_set)
    if guide is None:
        guide = guide_from_solid(predicted.solid, source * 0.5 + 0.5, sets, target_cameras)
    return ViewCondition(
        source,
        source_cameras,
        target_cameras,
        views_per_set,
        guide,
        predicted.tokens,
        torch.ones(len(source), device=source.device),
    )
