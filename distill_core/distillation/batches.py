"""Draws of a source, stacked into batches: a pure function of the step, prepared on the training's device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from distill_core.distillation.precision import autocast
from distill_core.distillation.solid import SilhouetteRays, SolidBatch, SolidSet, SolidSource
from distill_core.distillation.view_source import ViewBatch, ViewSet, ViewSource
from distill_core.guide import Guide, guide_from_surface
from distill_core.models.condition import ViewCondition
from distill_core.models.solid_network import SolidNetwork, SolidPrediction
from distill_core.models.view_generator import condition_of, placed
from distill_core.rays import stack_cameras


def premultiplied(pictures: Float[Tensor, "views 4 height width"]) -> Float[Tensor, "views 4 height width"]:
    """Straight RGBA in 0..1 as premultiplied RGBA in -1..1, as networks see pictures."""
    alpha = pictures[:, 3:]
    return torch.cat([pictures[:, :3] * alpha, alpha], 1) * 2 - 1


class SolidBatches:
    """Batches for the solid network: step n holds the draws n sets ... (n + 1) sets - 1.

    Args:
        source: What is drawn from.
        sets: Draws a batch; each brings several pictures.
    """

    def __init__(self, source: SolidSource, sets: int) -> None:
        self._source = source
        self._sets = sets

    def draw(self, step: int) -> list[SolidSet]:
        """The draws of a step."""
        return [self._source.draw_solid(step * self._sets + number) for number in range(self._sets)]

    def prepare(self, drawn: Sequence[SolidSet], device: torch.device) -> SolidBatch:
        """The draws as one batch on a device."""
        return SolidBatch(
            premultiplied(torch.cat([one.pictures for one in drawn]).to(device)),
            torch.cat([one.occupied for one in drawn]).to(device).float(),
            torch.cat([one.elevations_degrees for one in drawn]).to(device),
            stack_cameras([camera for one in drawn for camera in one.cameras]).to(device),
            SilhouetteRays(
                torch.cat([one.rays.origins for one in drawn]).to(device),
                torch.cat([one.rays.directions for one in drawn]).to(device),
                torch.cat([one.rays.hits for one in drawn]).to(device),
            ),
        )


@dataclass(frozen=True)
class DrawnViews:
    """The draws of one step, and the randomness of their preparation.

    Args:
        sets: S view sets of one number of views; the first view of each is its source.
        perturbed: [S] sets whose predicted solid is spoiled.
        noise: [S, 1, 4, 5, 5] low-frequency noise for those.
        from_surface: [S] sets whose guide is the object's true surface, as a mesh gives it.
    """

    sets: list[ViewSet]
    perturbed: Bool[Tensor, " sets"]
    noise: Float[Tensor, "sets 1 4 5 5"]
    from_surface: Bool[Tensor, " sets"]


class ViewBatches:
    """Batches for the view network: step n holds the draws n sets ... (n + 1) sets - 1.

    The guide is what the frozen solid network makes of the source. It knows the training objects better than any new
    one, so its logits are spoiled in some of the sets; some sets get the true surface instead, so that one network
    serves pictures and meshes.

    Args:
        source: What is drawn from.
        sets: Draws a batch.
        solid_network: Frozen, on the training's device.
        seed: Of the choices made here.
        perturbed_share: Share of the sets with a spoiled solid.
        surface_share: Share of the sets guided by the true surface.
    """

    def __init__(
        self,
        source: ViewSource,
        sets: int,
        solid_network: SolidNetwork,
        *,
        seed: int,
        perturbed_share: float = 0.3,
        surface_share: float = 0.08,
    ) -> None:
        self._source = source
        self._sets = sets
        self._solid_network = solid_network.eval()
        self._seed = seed
        self._perturbed_share = perturbed_share
        self._surface_share = surface_share

    def draw(self, step: int) -> DrawnViews:
        """The draws of a step."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        return DrawnViews(
            [self._source.draw(step * self._sets + number) for number in range(self._sets)],
            torch.rand(self._sets, generator=generator) < self._perturbed_share,
            torch.randn(self._sets, 1, 4, 5, 5, generator=generator),
            torch.rand(self._sets, generator=generator) < self._surface_share,
        )

    def prepare(self, drawn: DrawnViews, device: torch.device) -> ViewBatch:
        """The draws as one batch on a device, the guide included."""
        source = premultiplied(torch.cat([views.pictures[:1] for views in drawn.sets]).to(device))
        clean = premultiplied(torch.cat([views.pictures[1:] for views in drawn.sets]).to(device))
        source_cameras = stack_cameras([views.cameras[0] for views in drawn.sets]).to(device)
        targets = stack_cameras([camera for views in drawn.sets for camera in views.cameras[1:]]).to(device)
        with autocast(device, "auto"):
            prediction = self._solid_network(source)
        prediction = _spoiled(prediction, drawn.perturbed.to(device), drawn.noise.to(device))
        condition = condition_of(source, source_cameras, targets, placed(prediction, source, source_cameras))
        if drawn.from_surface.any():
            condition = _with_true_surface(condition, drawn, device)
        return ViewBatch(clean, condition)


def _spoiled(prediction: SolidPrediction, perturbed: Tensor, noise: Tensor) -> SolidPrediction:
    """Logits flattened and bent by smooth noise in some sets: the errors that a solid of a new object has."""
    smooth = functional.interpolate(noise, prediction.logits.shape[1:], mode="trilinear", align_corners=True)[:, 0]
    spoiled = prediction.logits * 0.9 + 0.5 * smooth
    return replace(prediction, logits=torch.where(perturbed[:, None, None, None], spoiled, prediction.logits))


def _with_true_surface(condition: ViewCondition, drawn: DrawnViews, device: torch.device) -> ViewCondition:
    """The condition with the true surface as the guide of the chosen sets."""
    views = drawn.from_surface.repeat_interleave(condition.views_per_set).to(device)
    depths, normals = [], []
    for one in drawn.sets:
        if one.depth is None or one.normals is None:
            raise ValueError(f"a guide from the surface needs depth and normals, {one.name} has none")
        depths.append(one.depth)
        normals.append(one.normals[1:])
    surface = guide_from_surface(
        condition.source * 0.5 + 0.5,
        torch.stack([depth[:1] for depth in depths]).to(device),
        condition.source_cameras,
        condition.sets,
        condition.target_cameras,
        torch.cat([depth[1:] for depth in depths])[:, None].to(device),
        torch.cat(normals).to(device),
    )
    chosen = {
        name: torch.where(views.reshape(-1, *[1] * (value.ndim - 1)), getattr(surface, name), value)
        for name, value in vars(condition.guide).items()
    }
    return replace(condition, guide=Guide(**chosen))
