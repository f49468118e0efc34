"""Methods that show an object from other views, as an evaluation compares them: the generator, splats, baselines."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.guide import guide_from_surface
from distill_core.models.view_generator import ViewGenerator
from distill_core.pictures.images import premultiply, unpremultiply
from distill_core.progress import SilentProgress
from distill_core.rays import stack_cameras
from gs_integration.evaluation import ViewPredictor
from gs_integration.fitting.initialization import splats_from_hull
from gs_integration.pipelines.image_to_splats import solid_of_views, splats_of_views
from gs_integration.pipelines.image_to_views import generate_views, straight_pictures, view_condition, view_rig
from gs_integration.pipelines.results import FramedSource, GeneratedViews
from gs_integration.pipelines.settings import GeneratorSettings, ImageToSplatsSettings
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

_OPAQUE_LOGIT = 7.0
_HULL_SPLATS = 60_000


def view_predictor(generator: ViewGenerator, settings: GeneratorSettings) -> ViewPredictor:
    """Return the method that generates the target views."""

    def predict(source: np.ndarray, source_camera: Camera, target_cameras: Sequence[Camera]) -> np.ndarray:
        return generate_views(generator, source, source_camera, target_cameras, settings, SilentProgress())[0]

    return predict


def guide_predictor(generator: ViewGenerator) -> ViewPredictor:
    """Return the method that shows the guide itself: the predicted solid with the source's pixels on it."""

    def predict(source: np.ndarray, source_camera: Camera, target_cameras: Sequence[Camera]) -> np.ndarray:
        with torch.inference_mode():
            condition, _ = view_condition(generator, source, source_camera, target_cameras)
            return straight_pictures(condition.guide.picture())

    return predict


def splat_predictor(generator: ViewGenerator, settings: ImageToSplatsSettings) -> ViewPredictor:
    """Return the method that makes splats of the source and renders them at the target views."""

    def predict(source: np.ndarray, source_camera: Camera, target_cameras: Sequence[Camera]) -> np.ndarray:
        views = views_around(generator, source, source_camera, settings)
        return render_rgba(splats_of_views(views, settings, SilentProgress()), target_cameras)

    return predict


def hull_predictor(generator: ViewGenerator, settings: ImageToSplatsSettings) -> ViewPredictor:
    """Return the baseline for splats: the hull of the generated silhouettes in the source's colours.

    Where the source sees the hull it lends its pixels, elsewhere the mean colour of its object.
    """

    def predict(source: np.ndarray, source_camera: Camera, target_cameras: Sequence[Camera]) -> np.ndarray:
        views = views_around(generator, source, source_camera, settings)
        hull = splats_from_hull(solid_of_views(views, "hull"), views.cameras, views.pictures, num_splats=_HULL_SPLATS)
        opaque = Splats(**{**hull.tensors(), "opacity_logits": torch.full_like(hull.opacity_logits, _OPAQUE_LOGIT)})
        source_depth, _ = _depth_and_alpha(opaque, [source_camera])
        target_depth, target_alpha = _depth_and_alpha(opaque, target_cameras)
        premultiplied = torch.from_numpy(premultiply(source))[None]
        sets = torch.zeros(len(target_cameras), dtype=torch.long)
        guide = guide_from_surface(
            premultiplied,
            source_depth,
            stack_cameras([source_camera]),
            sets,
            stack_cameras(list(target_cameras)),
            target_depth,
            None,
        )
        mean = premultiplied[0, :3].sum((1, 2)) / premultiplied[0, 3].sum().clamp(min=1e-6)
        seen = guide.seen.clamp(0, 1)
        colour = guide.colour * seen + mean[None, :, None, None] * (1 - seen)
        return torch.cat([colour.clamp(0, 1), target_alpha], dim=1).numpy()

    return predict


def views_around(
    generator: ViewGenerator, source: np.ndarray, source_camera: Camera, settings: ImageToSplatsSettings
) -> GeneratedViews:
    """Generate the views of the main job around a source whose camera is known, wherever it stands."""
    x, y, z = source_camera.position
    azimuth_degrees = math.degrees(math.atan2(x, -y))
    elevation_degrees = math.degrees(math.atan2(z, math.hypot(x, y)))
    cameras = view_rig(settings.views.num_views, start_azimuth_degrees=azimuth_degrees)
    pictures, solid = generate_views(
        generator, source, source_camera, cameras, settings.views.generator, SilentProgress()
    )
    framed = FramedSource(source, source_camera, elevation_degrees, elevation_estimated=False, matting="alpha")
    return GeneratedViews(settings, framed, pictures, cameras, solid)


def render_rgba(splats: Splats, cameras: Sequence[Camera]) -> Float[np.ndarray, "views 4 height width"]:
    """Render splats from cameras of one picture size, straight RGBA."""
    with torch.no_grad():
        rendered = rasterize(splats, cameras, torch.zeros(3), backend="auto")
    premultiplied = torch.cat([rendered.colour, rendered.alpha[:, None]], dim=1).clamp(0, 1)
    return unpremultiply(premultiplied.cpu().numpy())


def _depth_and_alpha(splats: Splats, cameras: Sequence[Camera]) -> tuple[Tensor, Tensor]:
    """Mean z-depth (0 where empty) and alpha of splats, each [V, 1, H, W]."""
    with torch.no_grad():
        rendered = rasterize(splats, cameras, torch.zeros(3), backend="auto")
    depth = rendered.depth_sum / rendered.alpha.clamp(min=1e-6)
    return (depth * (rendered.alpha > 0.5))[:, None], rendered.alpha[:, None]
