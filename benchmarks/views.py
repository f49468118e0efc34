"""Views of one picture in a single step, against the same network's fifty guided steps.

Both begin at the framed picture and end with the views as pictures: the solid is predicted and the guide rendered each
time. What the networks themselves take is measured by hooks on them; the rest is the time outside.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np

    from distill_core.models.view_generator import ViewGenerator


class Settings(BaseModel):
    """Which generator, how many views, how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(default="small", description="name of a checkpoint that ships with the project, or a path")
    num_views: int = Field(default=8, ge=1, le=64, description="views that are generated together")
    guided_steps: int = Field(default=50, ge=1, description="steps of the slow way, each with and without condition")
    rounds: int = Field(default=5, ge=1, description="repetitions of the single step, of which the fastest counts")
    device: str = Field(default="cpu", description="cpu or cuda")


def run(settings: Settings) -> dict[str, Any]:
    """Generate the views both ways and time them.

    Args:
        settings: which generator, how many views, how often.
    """
    import torch

    from distill_core.cameras import orbit_camera, orbit_rig
    from distill_core.diffusion.guidance import ClassifierFreeGuidance
    from distill_core.diffusion.noise import seeded_noise
    from distill_core.diffusion.samplers import ddim_step, sample
    from distill_core.diffusion.time_grids import uniform_times
    from distill_core.models.checkpoint_loading import load_generator
    from distill_core.progress import SilentProgress
    from gs_integration.pipelines.image_to_views import generate_views, straight_pictures, view_condition
    from gs_integration.pipelines.settings import GeneratorSettings

    generator = load_generator(settings.checkpoint, settings.device)
    source, camera, targets = _disc(), orbit_camera(0.0, 15.0), orbit_rig(settings.num_views)

    def one_step() -> None:
        generate_views(generator, source, camera, targets, GeneratorSettings(), SilentProgress())

    def guided_steps() -> None:
        with torch.inference_mode():
            condition, _ = view_condition(generator, source, camera, targets)
            guided = ClassifierFreeGuidance(generator.view_network, 2.0, type(condition).without_source)
            noise = seeded_noise(range(len(targets)), device=generator.device)
            straight_pictures(sample(guided, condition, uniform_times(settings.guided_steps), ddim_step, noise))

    one_step()  # the first run compiles kernels and touches memory
    fastest = min((_timed(generator, one_step) for _ in range(settings.rounds)), key=lambda timed: timed["seconds"])
    slow = _timed(generator, guided_steps)
    return {
        "threads": torch.get_num_threads(),
        "views": settings.num_views,
        "one_step": fastest,
        "guided_steps": {"steps": settings.guided_steps, **slow},
        "times_faster": slow["seconds"] / fastest["seconds"],
        "share_outside_networks": 1 - fastest["network_seconds"] / fastest["seconds"],
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    one, slow = result["one_step"], result["guided_steps"]
    return "\n".join(
        [
            f"| {result['views']} views of 128 px, {result['threads']} threads | seconds | in the networks |",
            "| --- | ---: | ---: |",
            f"| one step | {one['seconds']:.3f} | {one['network_seconds']:.3f} |",
            f"| {slow['steps']} guided steps | {slow['seconds']:.2f} | {slow['network_seconds']:.2f} |",
            f"| **times faster** | **{result['times_faster']:.1f}** | |",
            f"| **share outside the networks** | **{100 * result['share_outside_networks']:.1f} %** | |",
        ]
    )


def _disc() -> "np.ndarray":
    """A shaded disc, straight RGBA [4, 128, 128]: what a picture shows makes no difference to the time."""
    import numpy as np

    rows, columns = np.mgrid[-1:1:128j, -1:1:128j]
    inside = np.hypot(rows, columns) < 0.7
    return np.stack([0.5 - 0.4 * rows, 0.5 + 0.4 * columns, np.full_like(rows, 0.5), inside]).astype(np.float32)


def _timed(generator: "ViewGenerator", work: Callable[[], None]) -> dict[str, float]:
    """Seconds of the whole work, and those of it that the two networks take."""
    with _network_clock(generator) as clock:
        began = _now(generator)
        work()
        seconds = _now(generator) - began
    return {"seconds": seconds, "network_seconds": sum(clock)}


@contextmanager
def _network_clock(generator: "ViewGenerator") -> Iterator[list[float]]:
    """Add the seconds of every evaluation of a network to a list while the block runs."""
    clock: list[float] = []
    began: list[float] = []
    hooks = []
    for network in (generator.solid_network, generator.view_network):
        hooks.append(network.register_forward_pre_hook(lambda *_: began.append(_now(generator))))
        hooks.append(network.register_forward_hook(lambda *_: clock.append(_now(generator) - began.pop())))
    try:
        yield clock
    finally:
        for hook in hooks:
            hook.remove()


def _now(generator: "ViewGenerator") -> float:
    """Seconds, once the device has done all that was asked of it."""
    if generator.device.type == "cuda":
        import torch

        torch.cuda.synchronize(generator.device)
    return time.perf_counter()
