"""One picture to other views of its object.

Background removed, object framed as the training views are, elevation given or estimated, one solid predicted for all
views, and every view generated from it. The world has z up; the picture's camera stands at azimuth 0.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from distill_core.camera_rigs import cameras_from_angles
from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.diffusion.samplers import consistency_step, ddim_step
from distill_core.errors import UserError
from distill_core.models.condition import ViewCondition
from distill_core.models.view_generator import ViewGenerator
from distill_core.pictures.framing import frame_object
from distill_core.pictures.images import Picture, premultiply, resize_premultiplied, unpremultiply
from distill_core.pictures.matting import remove_background
from distill_core.pictures.turned_views import ball_camera, turned_view
from distill_core.progress import Progress
from distill_core.rays import stack_cameras
from distill_core.solids import Solid
from gs_integration.pipelines.results import FramedSource, GeneratedViews
from gs_integration.pipelines.settings import (
    GENERATED_VIEW_PX,
    AngleSettings,
    GeneratorSettings,
    GivenCameraSettings,
    ImageToViewsSettings,
    PictureSettings,
)

logger = logging.getLogger(__name__)

SOURCE_PX = 256
"""Side of the framed source picture; the generator sees it at half the size, the splats are fitted to all of it."""

# Elevation and share of the views of each ring. The first shows the object as people look at it, the second its top,
# the third closes the hull from below.
_RINGS = ((15.0, 0.5), (50.0, 0.3125), (-20.0, 0.1875))


def image_to_views(
    picture: Picture, settings: ImageToViewsSettings, generator: ViewGenerator, progress: Progress
) -> GeneratedViews:
    """Generate views all around the object of a picture.

    Args:
        picture: one object, with alpha or before a background that can be told from it.
        settings: how the picture was taken, how many views.
        generator: the loaded checkpoint of `settings.generator`.
        progress: stages "picture", "views".

    Raises:
        UserError: no object can be found in the picture.
    """
    source = framed_source(picture, settings.picture, generator, progress)
    cameras = view_rig(settings.num_views)
    pictures, solid = generate_views(generator, source.rgba, source.camera, cameras, settings.generator, progress)
    return GeneratedViews(settings, source, pictures, cameras, solid)


def image_to_angles(
    picture: Picture, settings: AngleSettings, generator: ViewGenerator, progress: Progress
) -> GeneratedViews:
    """Generate views at chosen angles; otherwise as `image_to_views`."""
    source = framed_source(picture, settings.picture, generator, progress)
    cameras = cameras_from_angles(
        settings.azimuths_degrees,
        settings.elevations_degrees,
        width=GENERATED_VIEW_PX,
        height=GENERATED_VIEW_PX,
    )
    pictures, solid = generate_views(generator, source.rgba, source.camera, cameras, settings.generator, progress)
    return GeneratedViews(settings, source, pictures, cameras, solid)


def image_to_cameras(
    picture: Picture,
    cameras: Sequence[Camera],
    settings: GivenCameraSettings,
    generator: ViewGenerator,
    progress: Progress,
) -> GeneratedViews:
    """Generate views at any cameras outside the object; otherwise as `image_to_views`.

    The generator looks from the same places as upright as in its training views, the unit ball filling its picture;
    what the cameras see follows from that exactly, since they share its rays.

    Args:
        picture: one object, with alpha or before a background that can be told from it.
        cameras: at least one, of one picture size, in the world of the object: the unit ball around the origin, z up,
            the camera of the picture at azimuth 0.
        settings: how the picture was taken, the size of the views.
        generator: the loaded checkpoint of `settings.generator`.
        progress: stages "picture", "views".

    Raises:
        UserError: no object can be found in the picture, cameras of several sizes, or one inside the object.
    """
    targets = _limited(cameras, settings.largest_side)
    seeing = [ball_camera(camera, GENERATED_VIEW_PX) for camera in targets]
    source = framed_source(picture, settings.picture, generator, progress)
    seen, solid = generate_views(generator, source.rgba, source.camera, seeing, settings.generator, progress)
    pictures = [turned_view(*each) for each in zip(seen, seeing, targets, strict=True)]
    return GeneratedViews(settings, source, np.stack(pictures), targets, solid)


def _limited(cameras: Sequence[Camera], largest_side: int) -> list[Camera]:
    """The cameras for pictures that are no larger than allowed."""
    sizes = sorted({(camera.width, camera.height) for camera in cameras})
    if len(sizes) != 1:
        stated = ", ".join(f"{width} x {height}" for width, height in sizes[:3]) or "no camera"
        raise UserError(f"Expected cameras for pictures of one size, got {stated}; give them one by one.")
    ((width, height),) = sizes
    scale = min(1.0, largest_side / max(width, height))
    return [camera.resized(max(1, round(width * scale)), max(1, round(height * scale))) for camera in cameras]


def view_rig(num_views: int, *, start_azimuth_degrees: float = 0.0) -> list[Camera]:
    """Return cameras on three rings that together see an object from all sides.

    Args:
        num_views: at least 4; half of them on the middle ring.
        start_azimuth_degrees: where the source camera stands.
    """
    above, below = (max(1, round(num_views * share)) for _, share in _RINGS[1:])
    counts = (num_views - above - below, above, below)
    cameras: list[Camera] = []
    for ring, ((elevation, _), count) in enumerate(zip(_RINGS, counts, strict=True)):
        # Rings are turned against one another, so that no two views look along the same azimuth without need.
        turn = 0.0 if ring == 0 else 180.0 / count
        cameras += orbit_rig(
            count,
            elevations_degrees=(elevation,),
            start_azimuth_degrees=start_azimuth_degrees + turn,
            width=GENERATED_VIEW_PX,
            height=GENERATED_VIEW_PX,
        )
    return cameras


def framed_source(
    picture: Picture,
    settings: PictureSettings,
    generator: ViewGenerator,
    progress: Progress,
    *,
    side_px: int = SOURCE_PX,
) -> FramedSource:
    """Cut the object out, frame it, and place the camera that took it.

    Args:
        picture: one object.
        settings: how it was taken.
        generator: estimates the elevation.
        progress: stage "picture".
        side_px: of the framed picture.

    Raises:
        UserError: no object can be found in the picture.
    """
    progress.stage("picture", 2)
    matte = remove_background(picture, method=settings.matting)
    if matte.warning:
        logger.warning("%s", matte.warning)
    progress.advance()
    framed = frame_object(matte.rgba, resolution=side_px)
    estimated = settings.elevation_degrees == "auto"
    elevation_degrees = (
        estimate_elevation_degrees(generator, framed.rgba)
        if settings.elevation_degrees == "auto"
        else settings.elevation_degrees
    )
    camera = orbit_camera(
        0.0,
        elevation_degrees,
        field_of_view_degrees=settings.field_of_view_degrees,
        width=side_px,
        height=side_px,
    )
    progress.advance()
    return FramedSource(framed.rgba, camera, elevation_degrees, estimated, matte.method, picture.path)


def estimate_elevation_degrees(generator: ViewGenerator, source: Float[np.ndarray, "4 side side"]) -> float:
    """Return the elevation at which the generator believes a framed picture was taken, in whole degrees."""
    camera = orbit_camera(0.0, 0.0, width=GENERATED_VIEW_PX, height=GENERATED_VIEW_PX)
    with torch.inference_mode():
        predicted = generator.predict_solid(
            network_picture(source).to(generator.device), stack_cameras([camera]).to(generator.device)
        )
    return float(round(float(predicted.elevation_degrees[0])))


def generate_views(
    generator: ViewGenerator,
    source: Float[np.ndarray, "4 side side"],
    source_camera: Camera,
    target_cameras: Sequence[Camera],
    settings: GeneratorSettings,
    progress: Progress,
) -> tuple[Float[np.ndarray, "views 4 height width"], Solid]:
    """Generate the views of an object at any cameras.

    Args:
        generator: on the device where it shall run.
        source: [4, S, S] framed picture, straight RGBA.
        source_camera: the camera that took it.
        target_cameras: cameras of one picture size, the generator's.
        settings: steps and seed.
        progress: stage "views".

    Returns:
        Views [V, 4, H, W], straight RGBA, and the solid behind them.
    """
    progress.stage("views", settings.steps)
    with torch.inference_mode():
        condition, solid = view_condition(generator, source, source_camera, target_cameras)
        step = ddim_step if settings.sampler == "ddim" else consistency_step
        clean = generator.sample(condition, settings.steps, settings.seed, progress, step=step)
    return straight_pictures(clean), solid


def view_condition(
    generator: ViewGenerator,
    source: Float[np.ndarray, "4 side side"],
    source_camera: Camera,
    target_cameras: Sequence[Camera],
) -> tuple[ViewCondition, Solid]:
    """Return what the generator is told of the target views, the guide included, and the predicted solid."""
    pixels = network_picture(source).to(generator.device)
    source_cameras = stack_cameras([source_camera.resized(GENERATED_VIEW_PX, GENERATED_VIEW_PX)]).to(generator.device)
    targets = stack_cameras(list(target_cameras)).to(generator.device)
    predicted = generator.predict_solid(pixels, source_cameras)
    return generator.build_condition(pixels, source_cameras, targets, predicted), predicted.solid


def network_picture(rgba: Float[np.ndarray, "4 side side"]) -> torch.Tensor:
    """[1, 4, R, R] premultiplied RGBA in -1..1 at the generator's resolution."""
    reduced = resize_premultiplied(rgba, GENERATED_VIEW_PX, GENERATED_VIEW_PX)
    return torch.from_numpy(premultiply(reduced)).float()[None] * 2 - 1


def straight_pictures(clean: torch.Tensor) -> Float[np.ndarray, "views 4 height width"]:
    """Turn what a generator returns (premultiplied RGBA, -1..1) into straight RGBA in 0..1."""
    premultiplied = (clean.float() * 0.5 + 0.5).clamp(0, 1).cpu().numpy()
    return unpremultiply(premultiplied)
