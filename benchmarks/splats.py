"""The CPU rasterizer, forward and backward, against a vectorised torch one; time and memory against splats and pixels.

The scene is the shell of a ball that fills half of the picture, its splats 0.6 of their spacing wide, opacities from
0.1 to 0.95, colour of degree 0. A run goes from the splats to the gradients of all their parameters, through
projection, sorting and blending. Time is the fewest milliseconds of all rounds: those by the clock, and those that the
one thread spent on its core (other programs do not count). Memory is the peak of what the rasterizer allocates in
numpy: all that it keeps for the way back, and the gradients.
"""

import math
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from gs_integration.splats import Splats

_BALL_RADIUS = 0.8  # half of the picture's area, where the unit ball touches its edges


class Settings(BaseModel):
    """How many splats and pixels, how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_splats: int = Field(default=50_000, ge=1, description="splats of the comparison with torch")
    resolution: int = Field(default=256, ge=16, le=2048, description="side of the picture of the comparison in pixels")
    rounds: int = Field(default=20, ge=1, description="repetitions, of which the fastest counts")
    torch_rounds: int = Field(default=3, ge=1, description="repetitions of the torch rasterizer")
    plot_splats: tuple[int, ...] = Field(
        default=(10_000, 20_000, 50_000, 100_000, 200_000), description="numbers of splats of the curves"
    )
    plot_resolutions: tuple[int, ...] = Field(
        default=(128, 256, 512), description="sides of the pictures of the curves in pixels; one curve each"
    )
    plot: Path | None = Field(default=None, description="PNG file for the curves of time and memory (needs matplotlib)")


def run(settings: Settings) -> dict[str, Any]:
    """Time both rasterizers, then the faster one over splats and pixels.

    Args:
        settings: how many splats and pixels, how often.
    """
    import torch

    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        comparison = _compare(settings)
        curves = [
            {"num_splats": count, "resolution": side, **_measure(count, side, settings.rounds)}
            for side in settings.plot_resolutions
            for count in settings.plot_splats
        ]
    finally:
        torch.set_num_threads(threads_before)
    result = {"comparison": comparison, "curves": curves}
    if settings.plot is not None:
        draw(result, settings.plot)
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown tables.

    Args:
        result: what `run` returned.
    """
    one = result["comparison"]
    lines = [
        f"Forward and backward, {one['num_splats']} splats, {one['resolution']} px:",
        "",
        "| rasterizer | threads | ms by the clock | ms of one core |",
        "| --- | --- | --- | --- |",
        f"| cpu (numba) | 1 | {one['cpu_ms']:.1f} | {one['cpu_core_ms']:.1f} |",
    ]
    if one["cpu_two_threads_ms"] is not None:
        lines.append(f"| cpu (numba) | 2 | {one['cpu_two_threads_ms']:.1f} | |")
    lines += [
        f"| torch, tile by tile | 1 | {one['torch_ms']:.0f} | {one['torch_core_ms']:.0f} |",
        "",
        f"{one['times_faster']:.0f} times faster (of one core). Largest difference of the pictures: "
        f"{one['picture_difference']:.1e}, of the gradients of the means, relative: {one['gradient_difference']:.1e}.",
        "",
        "| splats | pixels | ms by the clock | ms of one core | MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['num_splats']} | {row['resolution']} | {row['ms']:.1f} | {row['core_ms']:.1f} | {row['peak_mb']:.1f} |"
        for row in result["curves"]
    ]
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw time and memory against the number of splats, one curve a picture size.

    Args:
        result: what `run` returned.
        path: PNG file; what was there is replaced.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for side in sorted({row["resolution"] for row in result["curves"]}):
        rows = [row for row in result["curves"] if row["resolution"] == side]
        counts = [row["num_splats"] for row in rows]
        left.plot(counts, [row["core_ms"] for row in rows], marker="o", label=f"{side} px")
        right.plot(counts, [row["peak_mb"] for row in rows], marker="o", label=f"{side} px")
    for axes, what in ((left, "forward + backward, ms of one core"), (right, "peak memory, MB")):
        axes.set(xscale="log", yscale="log", xlabel="splats", ylabel=what)
        axes.xaxis.set_major_locator(ticker.FixedLocator(sorted({row["num_splats"] for row in result["curves"]})))
        axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.ScalarFormatter())
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _compare(settings: Settings) -> dict[str, Any]:
    """Both rasterizers on one scene, with the same loss, in one thread; the numba one also in two."""
    import torch

    from benchmarks.baselines.torch_tile_rasterizer import render_tiles
    from distill_core.cameras import orbit_camera
    from gs_integration.rasterization.rasterize import rasterize
    from gs_integration.rasterization.viewpoints import viewpoints

    splats = ball(settings.num_splats)
    camera = orbit_camera(30, 20, width=settings.resolution, height=settings.resolution)
    views = viewpoints([camera], splats.device)
    white = torch.ones(3)
    weights = torch.randn(3, settings.resolution, settings.resolution, generator=torch.Generator().manual_seed(1))
    results = {}

    def numba_run() -> None:
        results["cpu"] = _step(splats, weights, lambda: rasterize(splats, [camera], white, backend="cpu").colour[0])

    def torch_run() -> None:
        results["torch"] = _step(splats, weights, lambda: render_tiles(splats, views, 0, white)[0])

    cpu_ms, cpu_core_ms = _fewest_ms(numba_run, settings.rounds)
    torch_ms, torch_core_ms = _fewest_ms(torch_run, settings.torch_rounds)
    two_threads_ms = None
    if (os.cpu_count() or 1) >= 2:
        torch.set_num_threads(2)
        two_threads_ms, _ = _fewest_ms(numba_run, settings.rounds)
        torch.set_num_threads(1)
    (one_picture, one_gradient), (other_picture, other_gradient) = results["cpu"], results["torch"]
    return {
        "num_splats": settings.num_splats,
        "resolution": settings.resolution,
        "cpu_ms": cpu_ms,
        "cpu_core_ms": cpu_core_ms,
        "cpu_two_threads_ms": two_threads_ms,
        "torch_ms": torch_ms,
        "torch_core_ms": torch_core_ms,
        "times_faster": torch_core_ms / cpu_core_ms,
        "picture_difference": float((one_picture - other_picture).abs().max()),
        "gradient_difference": float((one_gradient - other_gradient).norm() / other_gradient.norm()),
    }


def _measure(num_splats: int, resolution: int, rounds: int) -> dict[str, float]:
    """Time and memory of the numba rasterizer in one thread."""
    import torch

    from distill_core.cameras import orbit_camera
    from gs_integration.rasterization.rasterize import rasterize

    splats = ball(num_splats)
    cameras = [orbit_camera(30, 20, width=resolution, height=resolution)]
    weights = torch.ones(3, resolution, resolution)

    def work() -> None:
        _step(splats, weights, lambda: rasterize(splats, cameras, torch.ones(3), backend="cpu").colour[0])

    ms, core_ms = _fewest_ms(work, rounds)
    tracemalloc.start()
    try:
        work()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return {"ms": ms, "core_ms": core_ms, "peak_mb": peak_bytes / 1e6}


def ball(num_splats: int) -> "Splats":
    """The benchmark's scene, ready for gradients.

    Args:
        num_splats: on the ball's surface.
    """
    import torch

    from gs_integration.splats import Splats, harmonics_from_colours

    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    spacing = math.sqrt(4 * math.pi * _BALL_RADIUS**2 / num_splats)
    opacities = 0.1 + 0.85 * torch.rand(num_splats, generator=generator)
    splats = Splats(
        means=_BALL_RADIUS * torch.nn.functional.normalize(normal(num_splats, 3), dim=1),
        quaternions_wxyz=normal(num_splats, 4),
        log_scales=math.log(0.6 * spacing) + 0.2 * normal(num_splats, 3),
        opacity_logits=opacities.logit(),
        harmonics=harmonics_from_colours(torch.rand(num_splats, 3, generator=generator)),
    )
    return Splats(*(tensor.requires_grad_() for tensor in splats.tensors().values()))


def _step(splats: "Splats", weights: Any, render: Callable[[], Any]) -> tuple[Any, Any]:
    """Forward and backward once; the picture, and the gradient of the means."""
    for tensor in splats.tensors().values():
        tensor.grad = None
    picture = render()
    (picture * weights).sum().backward()
    return picture.detach(), splats.means.grad


def _fewest_ms(work: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Fewest milliseconds by the clock and of this thread, after one untimed run."""
    work()
    clock, core = [], []
    for _ in range(rounds):
        clock_start, core_start = time.perf_counter(), time.thread_time()
        work()
        clock.append(time.perf_counter() - clock_start)
        core.append(time.thread_time() - core_start)
    return 1000 * min(clock), 1000 * min(core)
