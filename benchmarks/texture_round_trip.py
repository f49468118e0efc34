"""How much of a known texture comes back: rendered, gathered from the views into an empty texture, rendered anew.

The views are the project's own renders of well-known models, so a lossless way through the texture would give them back
exactly. What is lost is the views' and the texture's resolution, and what no view sees. Compared from cameras between
those of the views, inside the surface that the views see.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation_models import evaluation_meshes, render_pictures
from distill_core.camera_rigs import fibonacci_rig

if TYPE_CHECKING:
    import numpy as np

    from renderers.meshes import TexturedMesh

_SHOWN_PX = 320


class Settings(BaseModel):
    """Which models, views and texture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/eval"), description="folder of the evaluation models")
    names: tuple[str, ...] = Field(
        default=("Duck", "fuze_fuze", "EgyptianCat", "cow_cow", "armchair_armchair"), description="models to measure"
    )
    num_views: int = Field(default=24, ge=1, le=256, description="views that the texture is made from")
    num_other_views: int = Field(default=8, ge=1, le=64, description="cameras that compare")
    resolution: int = Field(default=512, ge=32, le=2048, description="side of the views in pixels")
    texture_size: int = Field(default=1024, ge=32, le=4096, description="texels along a side of the texture")
    picture: Path | None = Field(default=None, description="PNG of originals above renders of the new texture")


@dataclass(frozen=True)
class RoundTrip:
    """One model, before and after.

    Attributes:
        figures: plain numbers and words.
        truth: [V, 4, h, w] the original from the other cameras.
        rendered: [V, 4, h, w] the same of the new texture.
    """

    figures: dict[str, Any]
    truth: "np.ndarray"
    rendered: "np.ndarray"


def run(settings: Settings) -> dict[str, Any]:
    """Take every model through a texture and back.

    Args:
        settings: which models, views and texture.
    """
    if settings.picture is not None:
        settings.picture.parent.mkdir(parents=True, exist_ok=True)
    trips = [round_trip(name, mesh, settings) for name, mesh in evaluation_meshes(settings.models, settings.names)]
    if settings.picture is not None:
        _draw(trips, settings.picture)
    figures = [trip.figures for trip in trips]
    return {"models": figures, "lowest_psnr": min(row["psnr"] for row in figures)}


def round_trip(name: str, mesh: "TexturedMesh", settings: Settings) -> RoundTrip:
    """Take one model through a texture and back.

    Args:
        name: what to call it.
        mesh: in the unit ball.
        settings: views and texture.
    """
    import numpy as np
    import torch

    from distill_core.metrics import psnr
    from gs_integration.texturing.texture_projection import TextureProjection
    from gs_integration.texturing.texture_scores import consistency_psnr, render_texture, seam_score
    from renderers.mesh_rendering import prepare
    from renderers.texture_space.unwrapping import ready_for_texturing

    side = settings.resolution
    cameras = fibonacci_rig(settings.num_views, width=side, height=side)
    others = fibonacci_rig(settings.num_other_views, start_azimuth_degrees=40, width=side, height=side)
    original = prepare(mesh)
    views, truth = (torch.from_numpy(render_pictures(original, rig)) for rig in (cameras, others))
    unwrapped = ready_for_texturing(mesh, texture_size=settings.texture_size)
    begun = time.monotonic()
    projection = TextureProjection(unwrapped.mesh, cameras, settings.texture_size)
    prepared = time.monotonic()
    texture = projection.texture(views[:, :3])
    textured = time.monotonic()
    rendered = render_texture(unwrapped.mesh, texture, others)
    own_seen = projection.seen[None].float().expand(3, -1, -1).contiguous()
    seen = render_texture(unwrapped.mesh, own_seen, others)
    mask = (truth[:, 3] > 0.999) & (rendered[:, 3] > 0.999) & (seen[:, 0] > 0.5)
    seams = seam_score(unwrapped.mesh, np.clip(texture.numpy(), 0, 1))
    figures = {
        "model": name,
        "faces": len(unwrapped.mesh.faces),
        "unwrapped": unwrapped.method,
        "unwrapping_seconds": unwrapped.seconds,
        "matrices_seconds": prepared - begun,
        "bake_seconds": textured - prepared,
        "megabytes": projection.num_bytes / 1e6,
        "psnr": float(psnr(rendered[:, :3], truth[:, :3], mask).mean()),
        "psnr_lowest_view": float(psnr(rendered[:, :3], truth[:, :3], mask).min()),
        "compared_share": float(mask.sum() / (truth[:, 3] > 0.999).sum()),
        "consistency_psnr": float(
            consistency_psnr(views[:, :3], render_texture(unwrapped.mesh, texture, cameras)).mean()
        ),
        "seam_ratio": seams.ratio,
        "seam_edges": seams.num_edges,
        "surface_seen": projection.coverage.surface_share,
    }
    return RoundTrip(figures, truth.numpy(), rendered.numpy())


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = [
        "| model | faces | coordinates | PSNR dB | lowest view | views dB | seam ratio | seen | matrices s | bake s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["models"]:
        lines.append(
            f"| {row['model']} | {row['faces']} | {row['unwrapped']} | {row['psnr']:.1f} | "
            f"{row['psnr_lowest_view']:.1f} | {row['consistency_psnr']:.1f} | {row['seam_ratio']:.2f} | "
            f"{100 * row['surface_seen']:.0f} % | {row['matrices_seconds']:.1f} | {row['bake_seconds']:.2f} |"
        )
    return "\n".join(lines)


def _draw(trips: list[RoundTrip], path: Path) -> None:
    from distill_core.pictures.contact_sheet import contact_sheet
    from distill_core.pictures.images import resize_premultiplied, write_png

    shown = range(min(4, len(trips[0].truth)))
    pictures = [
        resize_premultiplied(side[view], _SHOWN_PX, _SHOWN_PX)
        for trip in trips
        for side in (trip.truth, trip.rendered)
        for view in shown
    ]
    labels = [
        f"{trip.figures['model']} {word}" for trip in trips for word in ("original", "new texture") for _ in shown
    ]
    write_png(path, contact_sheet(pictures, len(shown), labels))
