"""Views one after another, each painted into what the earlier ones left (Richardson et al., TEXTure, 2023).

Every canonical element remembers how well it was seen when it was painted: its `facing`, the weight of the vote of the
view that painted it. A new view divides its pixels in three: those to *generate*, since nobody has painted them; those
to *refine*, since this view sees them better; those to *keep*. Kept pixels are held at what is known while the rest is
denoised, refined ones on every other square of a checkerboard for the first half of the steps, so that the new look
grows out of the old one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep
from distill_core.diffusion.schedules import add_noise
from distill_core.progress import Progress
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.projections import Projection, noise_of_views
from distill_core.synchronization.strategies import NoiseKind

_HALF = 0.5
"""A pixel belongs to what more than half of it shows; a canonical element is rewritten where half of it was free."""


@dataclass(frozen=True)
class UpdateSettings:
    """How views are divided.

    Attributes:
        refine_margin: by how much a view's weight must exceed the remembered facing for it to refine, in the
            projection's unit of weights. TEXTure: 0.2 of the cosine.
        grow_px: by how many pixels what is generated grows into what is known, to blend with it. TEXTure: 19 of 512.
        checker_px: side of a square of the checkerboard.
        checker_share: share of the steps during which it holds refined pixels.
    """

    refine_margin: float = 0.2
    grow_px: int = 0
    checker_px: int = 4
    checker_share: float = 0.5


@dataclass(frozen=True)
class Trimap:
    """What a view shall do with its pixels; every pixel is one of the three.

    Args:
        view: index of the view.
        known: [C, h, w] what is painted so far, seen from there; it fades to 0 where less than half of a pixel is.
        generate: [h, w] pixels that show nothing yet, grown as asked, and those that show no canonical element at all.
        refine: [h, w] pixels that this view sees better than the one that painted them.
        keep: [h, w] the rest.
    """

    view: int
    known: Float[Tensor, "channels h w"]
    generate: Bool[Tensor, "h w"]
    refine: Bool[Tensor, "h w"]
    keep: Bool[Tensor, "h w"]


@dataclass(frozen=True)
class Painting:
    """What is painted so far.

    Args:
        canonical: [C, ...] the canonical sample; 0 where nothing is painted.
        facing: [1, ...] weight of the view that painted each element; 0 where nobody did.
    """

    canonical: Float[Tensor, "channels ..."]
    facing: Float[Tensor, "1 ..."]


def update_views(
    projection: Projection,
    denoiser: Denoiser[Any],
    condition: Callable[[Trimap], Any],
    times: Tensor,
    make_step: Callable[[], SamplerStep],
    generator: torch.Generator,
    *,
    settings: UpdateSettings | None = None,
    order: Sequence[int] | None = None,
    noise: NoiseKind = "shared",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    preview: Callable[[Tensor], np.ndarray] | None = None,
) -> Synchronized:
    """Paint the views one after another.

    The projection must let views vote on single elements with positive weights (copies, interpolations, textures); the
    bands of a zoom stack have no facing.

    Args:
        projection: of the views.
        denoiser: of one view at a time.
        condition: returns what the denoiser is told of a view, given its trimap.
        times: [steps + 1] falling times of each view.
        make_step: makes the sampler's step, anew for every view.
        generator: of all noise.
        settings: how views are divided.
        order: of the views; as they come if not given.
        noise: whether the views see one canonical noise or have noise of their own.
        device: where to compute.
        dtype: of the samples.
        progress: told of each step of each view; raises `Cancelled` to stop.
        preview: makes a picture [3, H, W] in 0..1 of what is painted so far, for the progress.

    Returns:
        What is painted, its views, and what each view painted when it was its turn (0 for views not in `order`).
    """
    settings = settings or UpdateSettings()
    order = range(projection.instances_shape[0]) if order is None else order
    painting = Painting(
        torch.zeros(projection.canonical_shape, device=device, dtype=dtype),
        torch.zeros((1, *projection.canonical_shape[1:]), device=device, dtype=dtype),
    )
    own = torch.zeros(projection.instances_shape, device=device, dtype=dtype)

    def draw() -> Tensor:
        return noise_of_views(projection, noise, generator).to(own)

    start = draw()
    for view in order:
        trimap = divide(projection, painting, view, settings)
        steps = paint(denoiser, condition(trimap), trimap, times.to(device), make_step(), start, draw, settings)
        for picture in steps:
            own[view] = picture
            if progress is not None:
                progress.advance(1, None if preview is None else preview(painting.canonical))
        painting = write(projection, painting, trimap, own[view])
    covered = float((painting.facing > 0).double().mean())
    return Synchronized(painting.canonical, projection.project(painting.canonical), own, covered)


def divide(projection: Projection, painting: Painting, view: int, settings: UpdateSettings) -> Trimap:
    """Return the trimap of a view.

    Args:
        projection: of the views.
        painting: what is painted so far.
        view: index of the view.
        settings: how views are divided.
    """
    weight = view_weight(projection, painting.canonical, view)
    painted = painting.facing > 0
    better = painted & (weight > painting.facing + settings.refine_margin)
    shows = projection.project(torch.ones_like(painting.canonical))[view, 0]

    def share(elements: Tensor) -> Tensor:
        seen = projection.project(elements.to(painting.canonical).expand_as(painting.canonical))[view, 0]
        # A view that negates negates both; a pixel that shows nothing has no share.
        return torch.where(shows.abs() > 1e-6, seen / torch.where(shows.abs() > 1e-6, shows, 1), 0)

    painted_share = share(painted)
    generate = painted_share <= _HALF
    if settings.grow_px:
        side = 2 * settings.grow_px + 1
        grown = functional.max_pool2d(generate[None, None].float(), side, 1, settings.grow_px)[0, 0]
        generate = grown > 0
    refine = ~generate & (share(better) > _HALF)
    # Between painted elements and others a pixel shows the painted ones alone, not a mean with nothing.
    known = projection.project(painting.canonical)[view] / painted_share.clamp(min=_HALF)
    return Trimap(view, known, generate, refine, ~generate & ~refine)


def paint(
    denoiser: Denoiser[Any],
    condition: Any,
    trimap: Trimap,
    times: Tensor,
    step: SamplerStep,
    start: Float[Tensor, "views channels h w"],
    draw: Callable[[], Tensor],
    settings: UpdateSettings,
) -> Iterator[Float[Tensor, "channels h w"]]:
    """Denoise one view; what is held stays, at every time, at what is known with noise of that time.

    Args:
        denoiser: of the view.
        condition: what it is told.
        trimap: what to hold.
        times: [steps + 1] falling times.
        step: of a sampler.
        start: noise of all views, that they begin with and that what they hold is covered with.
        draw: returns noise like it, for samplers that take it.
        settings: of the checkerboard.

    Yields:
        The view after each step; after the last one kept pixels are as they were.
    """
    schedule = denoiser.schedule
    noise = start[trimap.view][None]
    squares = _checkerboard(trimap.keep, settings.checker_px)
    checkered_steps = settings.checker_share * (len(times) - 1)

    def held(sample: Tensor, index: int) -> Tensor:
        hold = trimap.keep | (trimap.refine & squares) if index < checkered_steps else trimap.keep
        covered = add_noise(schedule, trimap.known[None], noise, times[index].to(sample.dtype).expand(1))
        return torch.where(hold, covered, sample)

    sample = held(schedule.sigma(times[0]).to(noise.dtype) * noise, 0)
    for index in range(len(times) - 1):
        time, next_time = (at.to(sample.dtype).expand(1) for at in times[index : index + 2])
        fresh = draw()[trimap.view][None]
        sample = held(step(denoiser, sample, time, next_time, condition, fresh), index + 1)
        # A schedule may end with a little noise; what is kept has none.
        yield sample[0] if index < len(times) - 2 else torch.where(trimap.keep, trimap.known, sample[0])


def write(
    projection: Projection, painting: Painting, trimap: Trimap, painted: Float[Tensor, "channels h w"]
) -> Painting:
    """Put a painted view into the canonical sample, where it was free to paint or nobody had painted.

    Args:
        projection: of the views.
        painting: what was painted before.
        trimap: of the view.
        painted: the view.

    Returns:
        What is painted now. Other elements have the very values that they had.
    """
    weight = view_weight(projection, painting.canonical, trimap.view)
    ones = projection.project(torch.ones_like(painting.canonical))
    free = _of_one_view(projection, ones[trimap.view] * ~trimap.keep, trimap.view)[:1]
    seen = weight > 0
    rewritten = seen & ((painting.facing <= 0) | (free >= _HALF * weight))
    values = _of_one_view(projection, painted, trimap.view) / torch.where(seen, weight, 1)
    return Painting(torch.where(rewritten, values, painting.canonical), torch.where(rewritten, weight, painting.facing))


def view_weight(projection: Projection, like: Float[Tensor, "channels ..."], view: int) -> Float[Tensor, "1 ..."]:
    """Return how much the vote of one view weighs for every canonical element, 0 where it sees nothing.

    It is what the view says of a canonical sample of ones.

    Args:
        projection: of the views.
        like: a canonical sample, whose device and precision the weights have.
        view: index of the view.
    """
    ones = projection.project(torch.ones_like(like))[view]
    # Where a pixel is partly beside the object it shows less than 1; rounding may leave a hair below 0.
    return _of_one_view(projection, ones, view)[:1].clamp(min=0)


def _of_one_view(projection: Projection, picture: Tensor, view: int) -> Tensor:
    """The weighted sum [C, ...] of what one view alone says."""
    instances = picture.new_zeros(projection.instances_shape)
    instances[view] = picture
    return projection.unproject(instances).weighted


def _checkerboard(like: Tensor, side_px: int) -> Tensor:
    """[h, w] of squares that are true and false in turns."""
    rows, columns = (torch.arange(length, device=like.device) // side_px for length in like.shape)
    return (rows[:, None] + columns) % 2 == 0
