"""Textured training views a second on one core, against the bare ray casting of Open3D (Embree).

Renders the packed models as they are and as the training draws them (cut finely, light in their corners): 128 px,
2x2 samples a pixel for colour and alpha; depth, normals and faces at pixel centres. Embree finds the first hits of
the same samples and shades nothing. Time is what the one thread spent on its core: other programs do not count.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill_core.cameras import Camera, orbit_camera


class Settings(BaseModel):
    """Which models, and how their views are rendered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/models"), description="folder of the packed models")
    num_models: int = Field(default=24, ge=2, description="models, half of them photo-textured")
    num_views: int = Field(default=16, ge=1, description="views of each model")
    resolution: int = Field(default=128, ge=16, le=2048, description="side of the views in pixels")
    supersampling: int = Field(default=2, ge=1, le=8, description="samples along the side of a pixel")
    rounds: int = Field(default=5, ge=1, description="repetitions, of which the fastest counts")


def run(settings: Settings) -> dict[str, Any]:
    """Render every model as often as asked and time it.

    Args:
        settings: which models, and how.
    """
    from renderers.lighting import StudioLight, bake_light
    from renderers.mesh_rendering import prepare, render_views
    from renderers.training.packed_models import PackedModels
    from renderers.training.training_views import PHOTO_TEXTURED_PREFIXES

    packed = PackedModels(settings.models)
    rows = packed.rows(["train"])
    names = [
        row.name
        for photo in (True, False)
        for row in _spread([row for row in rows if row.name.startswith(PHOTO_TEXTURED_PREFIXES) == photo], settings)
    ]
    cameras = [
        orbit_camera(
            360 * view / settings.num_views,
            (-10, 15, 40)[view % 3],
            width=settings.resolution,
            height=settings.resolution,
        )
        for view in range(settings.num_views)
    ]
    models = []
    for name in names:
        mesh = packed.load(name)
        plain, prepare_seconds = _timed(lambda mesh=mesh: prepare(mesh), 1)
        (fine, light), bake_seconds = _timed(lambda mesh=mesh: bake_light(mesh, StudioLight()), 1)
        lit = prepare(fine, corner_light=light)
        seconds = {
            label: _timed(
                lambda one=one: render_views(one, cameras, supersampling=settings.supersampling), settings.rounds
            )[1]
            for label, one in (("plain", plain), ("lit", lit))
        }
        seconds["embree"] = _timed(_embree(mesh, cameras, settings.supersampling), settings.rounds)[1]
        models.append(
            {
                "model": name,
                "triangles": len(mesh.faces),
                "triangles_lit": len(fine.faces),
                "prepare_seconds": prepare_seconds,
                "bake_seconds": bake_seconds,
                **{f"views_per_second_{label}": len(cameras) / value for label, value in seconds.items()},
            }
        )
    return {
        "models": models,
        **{f"views_per_second_{label}": _overall(models, label) for label in ("plain", "lit", "embree")},
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = [
        "| model | triangles | views/s | lit: triangles | views/s | Embree, hits alone |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["models"]:
        lines.append(
            f"| {row['model']} | {row['triangles']} | {row['views_per_second_plain']:.0f} | {row['triangles_lit']} | "
            f"{row['views_per_second_lit']:.0f} | {row['views_per_second_embree']:.0f} |"
        )
    lines.append(
        f"| all, one after another | | {result['views_per_second_plain']:.0f} | | "
        f"{result['views_per_second_lit']:.0f} | {result['views_per_second_embree']:.0f} |"
    )
    return "\n".join(lines)


def _spread(rows: list[Any], settings: Settings) -> list[Any]:
    """Half of the models asked for, evenly from a list."""
    count = min(len(rows), settings.num_models // 2)
    return [rows[len(rows) * place // count] for place in range(count)]


def _timed(work: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """What the work returns, and the fewest seconds of this thread that it took (after one untimed run)."""
    result = work()
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        result = work()
        best = min(best, time.thread_time() - start)
    return result, best


def _embree(mesh: Any, cameras: list[Camera], samples: int) -> Callable[[], Any]:
    """First hits of the rays through all samples of all cameras, in one thread."""
    import numpy as np
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        open3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.uint32)),
    )
    larger = [camera.resized(camera.width * samples, camera.height * samples) for camera in cameras]
    rays = [
        scene.create_rays_pinhole(
            open3d.core.Tensor.from_numpy(camera.intrinsics.copy()),
            open3d.core.Tensor.from_numpy(camera.world_to_camera.copy()),
            camera.width,
            camera.height,
        )
        for camera in larger
    ]
    return lambda: [scene.cast_rays(one, nthreads=1) for one in rays]


def _overall(models: list[dict[str, Any]], label: str) -> float:
    """Views a second over all models one after another: the harmonic mean."""
    return len(models) / sum(1 / row[f"views_per_second_{label}"] for row in models)
