"""Views to splats: one view a step, Adam, splats set anew where they are missing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.pictures.images import premultiply
from distill_core.progress import Progress
from gs_integration.fitting.dataset_update import DatasetUpdate, Edit, checked_edit
from gs_integration.fitting.densification import error_shares, refine
from gs_integration.fitting.losses import LossWeights, PictureLoss, picture_loss
from gs_integration.fitting.regularisers import ShapeLimits, add_shape_gradients
from gs_integration.fitting.settings import FitSettings
from gs_integration.fitting.splat_adam import LearningRates, SplatAdam
from gs_integration.fitting.view_corrections import ViewCorrections, weights_by_angle
from gs_integration.fitting.visual_hull import HullGrid, Pictures, common_volume
from gs_integration.rasterization.rasterize import Backend, Rasterized, rasterize
from gs_integration.splats import Splats
from gs_integration.threads import numba_threads_as_torch

_PREVIEW_EVERY = 25
_REFINEMENTS_BEGIN, _REFINEMENTS_END = 0.08, 0.75
_ERROR_VIEWS = 10
"""Views whose errors say where splats are missing."""

_FLOW_BEGINS = 0.33
_GAIN_BEGINS = 0.1
_ANGLE_WEIGHTS_BEGIN = 0.33
_LARGEST_SCALE_VOXELS = 4
_SMALLEST_HALVED_PX = 64
_WHITE_BEGINS = 0.92
"""Random backgrounds make silhouettes sharp but keep colours from settling: the last steps are without."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """Splats and how they came about.

    Attributes:
        splats: the result, without gradients, on the device of the initial splats.
        seconds: spent in the optimization.
        losses: of every step.
        counts: number of splats after every refinement, the initial number first.
        gains: [V, 3] factors of each view's colours (1 where not corrected).
    """

    splats: Splats
    seconds: float
    losses: list[float]
    counts: list[int]
    gains: Float32[np.ndarray, "views 3"] = field(repr=False)


def fit_splats(
    cameras: Sequence[Camera],
    pictures: Pictures,
    initial: Splats,
    settings: FitSettings,
    progress: Progress,
    *,
    source_view: int | None = None,
    hull: HullGrid | None = None,
    seed: int = 0,
    rates: LearningRates | None = None,
    backend: Backend = "auto",
    update: DatasetUpdate | None = None,
) -> FitResult:
    """Fit splats to views; the same seed gives the same bits on the CPU, whatever the number of threads.

    Args:
        cameras: one a view, of its picture's size.
        pictures: straight RGBA [4, H, W], 0..1, one a view.
        initial: where to begin.
        settings: what a person can choose.
        progress: told of every step, now and then with a rendered picture.
        source_view: index of the real picture among generated ones: seen twice as often, never corrected.
        hull: splats may not leave it (grown by two voxels).
        seed: of the order of views, the backgrounds and the choice of splats.
        rates: learning rates, if others than usual.
        backend: of the rasterizer.
        update: replaces views by edits of what the splats show, one at a time, in an order of its own.

    Raises:
        Cancelled: the caller asked for it.
        UserError: the views agree on nothing.
        ValueError: cameras and pictures that do not belong together, or an edit of another shape.
        FloatingPointError: a value was not finite.
    """
    with numba_threads_as_torch():
        fit = _Fit(cameras, pictures, initial, settings, source_view, hull, seed, rates or LearningRates(), backend)
        began = time.perf_counter()
        progress.stage("splats", fit.num_steps)
        losses, counts = [], [len(initial)]
        for step in range(fit.num_steps):
            if step in fit.refinement_steps:
                fit.refine(step)
                counts.append(len(fit.adam.splats))
            if update is not None and update.due(step):
                fit.replace_view(update.edit)
            losses.append(fit.step(step))
            progress.advance(1, fit.preview() if step % _PREVIEW_EVERY == 0 else None)
        seconds = time.perf_counter() - began
    return FitResult(fit.finished(), seconds, losses, counts, fit.corrections.gains)


class _Fit:
    """What changes while splats are fitted."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        pictures: Pictures,
        initial: Splats,
        settings: FitSettings,
        source_view: int | None,
        hull: HullGrid | None,
        seed: int,
        rates: LearningRates,
        backend: Backend,
    ) -> None:
        if len(pictures) != len(cameras):
            raise ValueError(f"expected one picture a camera, got {len(pictures)} for {len(cameras)}")
        self._originals = [np.asarray(picture, dtype=np.float32) for picture in pictures]
        targets = [premultiply(picture) for picture in self._originals]
        for camera, target in zip(cameras, targets, strict=True):
            if target.shape != (4, camera.height, camera.width):
                raise ValueError(f"expected a picture {(4, camera.height, camera.width)}, got {target.shape}")
        self._settings, self._source_view, self._hull = settings, source_view, hull
        self._backend: Backend = backend
        self.num_steps = settings.num_steps(len(cameras))
        self._generator = np.random.default_rng(seed)
        # Of its own, so that a fit is the same as without updates until the first one.
        self._update_generator = np.random.default_rng((seed, 1))
        self._levels = [_Level(cameras, targets, settings)]
        if settings.half_resolution_share > 0 and min(map(min, (t.shape[1:] for t in targets))) >= _SMALLEST_HALVED_PX:
            self._levels.append(self._levels[0].halved())
        _, radius = common_volume(cameras)
        largest_scale = radius if hull is None else _LARGEST_SCALE_VOXELS * hull.voxel_size
        self._limits = ShapeLimits(settings.largest_elongation, largest_scale)
        self.adam = SplatAdam(initial, rates, radius)
        self.corrections = ViewCorrections(
            len(cameras), source_view, gains=settings.correct_colours, flows=settings.correct_flow
        )
        self._angle_weights = weights_by_angle(cameras, source_view)
        self._order: list[int] = []
        self._update_order: list[int] = []
        begin, end = (round(share * self.num_steps) for share in (_REFINEMENTS_BEGIN, _REFINEMENTS_END))
        self.refinement_steps = {
            int(step) for step in np.linspace(begin, end, settings.refinements + 1, dtype=int)[: settings.refinements]
        }
        self._rendered: Rasterized | None = None

    def _level(self, step: int) -> "_Level":
        return self._levels[-1 if step < self._settings.half_resolution_share * self.num_steps else 0]

    def _next_view(self) -> int:
        if not self._order:
            views = list(range(len(self._angle_weights)))
            if self._source_view is not None:
                views.append(self._source_view)
            self._order = [views[place] for place in self._generator.permutation(len(views))]
        return self._order.pop()

    def _background(self, share: float) -> Float32[np.ndarray, "3"]:
        if self._settings.fit_background == "white" or share >= _WHITE_BEGINS:
            return np.ones(3, np.float32)
        return self._generator.random(3, np.float32)

    def _render(self, level: "_Level", view: int, background: Float32[np.ndarray, "3"]) -> Rasterized:
        colour = torch.from_numpy(background).to(self.adam.splats.device)
        return rasterize(self.adam.splats, [level.cameras[view]], colour, backend=self._backend)

    def step(self, step: int) -> float:
        """Take one step on one view and return its loss."""
        share = step / self.num_steps
        level, view = self._level(step), self._next_view()
        self._raise_sh_degree(share)
        truth, background = level.pictures[view], self._background(share)
        rendered = self._render(level, view, background)
        weight = self._angle_weights[view] if share >= _ANGLE_WEIGHTS_BEGIN else 1.0
        value = level.backward(rendered, self.corrections.target(view, truth), background, float(weight))
        add_shape_gradients(self.adam.splats, self._limits)
        decay = 0.1**share
        self.adam.step({name: decay for name in self.adam.splats.tensors()})
        self._rendered = rendered
        if share >= _GAIN_BEGINS and (self._settings.correct_colours or self._settings.correct_flow):
            self.corrections.update(view, truth, _premultiplied(rendered, background), move=share >= _FLOW_BEGINS)
        return value

    def _raise_sh_degree(self, share: float) -> None:
        splats, wanted = self.adam.splats, self._settings.harmonics_degree
        # One degree more at every tenth of the run: first the colours of all directions together.
        degree = min(int(share * 10), wanted)
        if degree > splats.sh_degree:
            self.adam.raise_sh_degree(degree)

    def refine(self, step: int) -> None:
        """Drop splats and set others, so that their number grows evenly up to the settings' limit."""
        settings = self._settings
        share = (step / self.num_steps - _REFINEMENTS_BEGIN) / (_REFINEMENTS_END - _REFINEMENTS_BEGIN)
        first, last = min(settings.num_splats, settings.max_splats), settings.max_splats
        target = round(first * (last / first) ** min(share + 1 / max(settings.refinements, 1), 1))
        level = self._level(step)
        views = self._generator.permutation(len(level.cameras))[:_ERROR_VIEWS]
        shares = error_shares(self.adam.splats, (self._error_picture(level, int(view)) for view in views))
        refine(self.adam, shares, target, self._generator, outside=self._outside if self._hull is not None else None)

    def _error_picture(self, level: "_Level", view: int) -> tuple[Tensor, Tensor]:
        rendered = self._render(level, view, np.ones(3, np.float32))
        colour = rendered.colour[0]
        target = torch.from_numpy(self.corrections.target(view, level.pictures[view])).to(colour.device)
        error = (colour.detach() - target[:3] - (1 - target[3])).abs().mean(dim=0, keepdim=True)
        return colour, error.expand_as(colour).contiguous()

    def replace_view(self, edit: Edit) -> None:
        """Replace the next view's picture by an edit of what the splats show from there."""
        if not self._update_order:
            self._update_order = self._update_generator.permutation(len(self._originals)).tolist()
        view = self._update_order.pop()
        black = np.zeros(3, np.float32)
        with torch.no_grad():
            shown = _premultiplied(self._render(self._levels[0], view, black), black)
        picture = checked_edit(edit, shown, self._originals[view], view)
        for level in self._levels:
            level.pictures[view] = picture
            picture = _halved(picture)
        # What was learned of the old picture does not hold for the new one.
        self.corrections.forget(view)

    def _outside(self, means: Tensor) -> Tensor:
        assert self._hull is not None
        inside = self._hull.contains(means.double().cpu().numpy(), dilation_voxels=2)
        return torch.from_numpy(~inside).to(means.device)

    def preview(self) -> np.ndarray:
        """Return the picture of the last step, [3, H, W] in 0..1."""
        assert self._rendered is not None
        return self._rendered.colour[0].detach().clamp(0, 1).cpu().numpy()

    def finished(self) -> Splats:
        """Return the splats of the last step.

        Raises:
            FloatingPointError: a value is not finite.
        """
        splats = self.adam.splats.detach()
        for name, tensor in splats.tensors().items():
            if not bool(torch.isfinite(tensor).all()):
                raise FloatingPointError(f"the fit ended with values of {name} that are not finite")
        return splats


class _Level:
    """The views at one resolution, and the loss there."""

    def __init__(self, cameras: Sequence[Camera], pictures: Sequence[np.ndarray], settings: FitSettings) -> None:
        self.cameras, self.pictures, self._settings = list(cameras), list(pictures), settings
        self._weights = LossWeights(settings.robust_width, settings.structure_weight, settings.silhouette_weight)
        self._losses = {
            size: PictureLoss(size[0], size[1], self._weights) for size in {each.shape[1:] for each in self.pictures}
        }

    def halved(self) -> "_Level":
        """The same views at half the resolution: means of 2 x 2 pixels (an odd last row or column is left out)."""
        cameras, pictures = [], []
        for camera, picture in zip(self.cameras, self.pictures, strict=True):
            rows, columns = camera.height // 2, camera.width // 2
            pictures.append(_halved(picture))
            cameras.append(camera.cropped(0, 0, 2 * columns, 2 * rows).resized(columns, rows))
        return _Level(cameras, pictures, self._settings)

    def backward(
        self,
        rendered: Rasterized,
        target: Float32[np.ndarray, "4 height width"],
        background: Float32[np.ndarray, "3"],
        weight: float,
    ) -> float:
        """Leave the gradients of weight times the loss in the splats and return the loss."""
        colour, alpha = rendered.colour[0], rendered.alpha[0]
        if colour.device.type == "cpu":
            loss = self._losses[target.shape[1:]]
            value, *gradients = loss(colour.detach().numpy(), alpha.detach().numpy(), target, background)
            torch.autograd.backward([colour, alpha], [weight * torch.from_numpy(part) for part in gradients])
            return value
        on_device = [torch.from_numpy(part).to(colour.device) for part in (target, background)]
        loss = picture_loss(colour, alpha, on_device[0], on_device[1], self._weights)
        (weight * loss).backward()
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError("the loss is not finite: splats, target or background hold a NaN or infinity")
        return value


def _halved(picture: Float32[np.ndarray, "4 height width"]) -> Float32[np.ndarray, "4 rows columns"]:
    rows, columns = picture.shape[1] // 2, picture.shape[2] // 2
    blocks = picture[:, : 2 * rows, : 2 * columns].reshape(4, rows, 2, columns, 2)
    return np.ascontiguousarray(blocks.mean(axis=(2, 4)))


def _premultiplied(rendered: Rasterized, background: Float32[np.ndarray, "3"]) -> Float32[np.ndarray, "4 height width"]:
    """Take the background out of a rendered view."""
    colour, alpha = rendered.colour[0].detach().cpu().numpy(), rendered.alpha[0].detach().cpu().numpy()
    return np.concatenate([colour - (1 - alpha) * background[:, None, None], alpha[None]])
