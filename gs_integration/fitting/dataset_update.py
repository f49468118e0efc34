"""Training views that are edited while splats are fitted to them (Haque et al., Instruct-NeRF2NeRF, ICCV 2023).

Views edited one by one disagree. Here every few steps one training view is replaced by an edit of what the splats show
from there, so that edits and splats come to agree: each edit begins with what the others have already brought about. It
is told the original view as well, and so does not drift from edit to edit.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep, ddim_step
from distill_core.diffusion.schedules import add_noise
from distill_core.diffusion.time_grids import uniform_times
from distill_core.pictures.images import premultiply, unpremultiply

Edit = Callable[
    [Float32[np.ndarray, "4 height width"], Float32[np.ndarray, "4 height width"], int],
    Float32[np.ndarray, "4 height width"],
]
"""(what the splats show, the original view, index of the view) -> the new view; straight RGBA, 0..1."""


@dataclass(frozen=True)
class DatasetUpdate:
    """When and how training views are replaced.

    Attributes:
        edit: makes the new view.
        every: steps of the optimization from one replaced view to the next.
        first_step: the first of them; before it the splats are fitted to the originals.

    Raises:
        ValueError: steps out of range.
    """

    edit: Edit
    every: int = 10
    first_step: int = 0

    def __post_init__(self) -> None:
        """Refuse steps out of range."""
        if self.every < 1 or self.first_step < 0:
            raise ValueError(f"expected every >= 1 and first_step >= 0, got {self.every} and {self.first_step}")

    def due(self, step: int) -> bool:
        """Whether a view is replaced before a step of the optimization.

        Args:
            step: counted from 0.
        """
        return step >= self.first_step and (step - self.first_step) % self.every == 0


@dataclass
class DenoisedEdit:
    """The edit of a denoiser: noise of some strength goes into the render, and comes out under a condition.

    The strength is drawn anew each time, evenly in the schedule's own time. For instructions the denoiser is one that
    was trained to edit, guided by `InstructionGuidance`; the condition carries the instruction and the original.

    Args:
        denoiser: of pictures of the views' size: 4 channels, premultiplied RGBA in -1..1, or 3 channels, RGB over
            white; an RGB edit keeps the original's alpha.
        condition: returns what the denoiser is told, given the original view (straight RGBA) and its index.
        generator: of strengths and noise.
        times: between which the strength is drawn.
        steps: of the sampler, whatever the strength.
        make_step: makes the sampler's step.
        device: where the denoiser is.
    """

    denoiser: Denoiser[Any]
    condition: Callable[[Float32[np.ndarray, "4 height width"], int], Any]
    generator: torch.Generator
    times: tuple[float, float] = (0.02, 0.98)
    steps: int = 20
    make_step: Callable[[], SamplerStep] = field(default=lambda: ddim_step)
    device: torch.device | str = "cpu"

    def __call__(
        self,
        render: Float32[np.ndarray, "4 height width"],
        original: Float32[np.ndarray, "4 height width"],
        view: int,
    ) -> Float32[np.ndarray, "4 height width"]:
        """Return the edited view.

        Args:
            render: what the splats show, straight RGBA.
            original: the view as it was given.
            view: its index.

        Raises:
            ValueError: the denoiser's pictures have another size.
        """
        channels = self.denoiser.sample_shape[0]
        if channels not in (3, 4) or tuple(self.denoiser.sample_shape[1:]) != render.shape[1:]:
            raise ValueError(
                f"expected a denoiser of 3 or 4 channels and {render.shape[1:]} pixels as the view has, got one of "
                f"{tuple(self.denoiser.sample_shape)}"
            )
        clean = torch.from_numpy(_for_denoiser(render, channels))[None].to(self.device)
        condition = self.condition(original, view)
        first, last = self.times
        with torch.inference_mode():
            strength = first + (last - first) * float(torch.rand((), generator=self.generator))
            grid = uniform_times(self.steps, start=strength).to(clean)
            noisy = add_noise(self.denoiser.schedule, clean, self._noise(clean), grid[:1])
            step = self.make_step()
            for time, next_time in itertools.pairwise(grid):
                noisy = step(self.denoiser, noisy, time.expand(1), next_time.expand(1), condition, self._noise(clean))
        return _from_denoiser(noisy[0].float().cpu().numpy(), original[3:])

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.generator, device=self.generator.device).to(like)


def checked_edit(
    edit: Edit,
    render: Float32[np.ndarray, "4 height width"],
    original: Float32[np.ndarray, "4 height width"],
    view: int,
) -> Float32[np.ndarray, "4 height width"]:
    """Return the premultiplied RGBA of an edit, values beyond 0..1 cut off.

    Args:
        edit: makes the new view.
        render: what the splats show, premultiplied RGBA.
        original: the view as it was given, straight RGBA.
        view: its index.

    Raises:
        ValueError: the edit has another shape.
        FloatingPointError: it holds values that are not finite.
    """
    edited = np.asarray(edit(unpremultiply(np.clip(render, 0, 1)), original, view), dtype=np.float32)
    if edited.shape != render.shape:
        raise ValueError(f"expected an edit of shape {render.shape} as the view has, got {edited.shape}")
    if not np.isfinite(edited).all():
        raise FloatingPointError(f"the edit of view {view} holds values that are not finite")
    return premultiply(np.clip(edited, 0, 1))


def _for_denoiser(straight: Float32[np.ndarray, "4 height width"], channels: int) -> np.ndarray:
    values = premultiply(np.asarray(straight, dtype=np.float32))
    if channels == 3:
        values = values[:3] + (1 - values[3])
    return values * 2 - 1


def _from_denoiser(values: np.ndarray, alpha: np.ndarray) -> Float32[np.ndarray, "4 height width"]:
    picture = (values * 0.5 + 0.5).clip(0, 1)
    if len(picture) == 3:
        picture = np.concatenate([(picture - (1 - alpha)).clip(0, 1), alpha])
    return unpremultiply(np.asarray(picture, dtype=np.float32))
