"""Views of a mesh after a picture, by the project's own view generator.

The generator's guide is the mesh's own silhouette, depth and normals, and the picture's pixels where the picture shows
this mesh. The picture's own pixels are known to the views from the start.
"""

import logging
from dataclasses import dataclass, replace
from typing import Literal

import torch

from distill_core.cameras import Camera, orbit_camera
from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep, consistency_step, ddim_step
from distill_core.diffusion.time_grids import uniform_times
from distill_core.guide import guide_from_surface
from distill_core.models.condition import ViewCondition
from distill_core.models.view_generator import ViewGenerator
from distill_core.progress import Progress
from distill_core.rays import stack_cameras
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import strategy_named
from gs_integration.pipelines.image_to_views import network_picture
from gs_integration.pipelines.results import FramedSource
from gs_integration.pipelines.texture_preview import preview_on
from gs_integration.pipelines.texture_relatives import relative_views
from gs_integration.pipelines.texture_results import Lifted
from gs_integration.pipelines.texture_settings import TextureSettings
from gs_integration.texturing.joined_texture import final_views, joining_projection, known_in_views
from gs_integration.texturing.picture_on_mesh import fitted_camera, picture_texture, stretched_camera
from gs_integration.texturing.texture_denoising import ChanneledTexture, KnownTexture, SurfaceColours
from gs_integration.texturing.texture_feedback import FedBack
from gs_integration.texturing.texture_gathering import gathered_texture
from gs_integration.texturing.texture_methods import SurfaceViews
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.mesh_rendering import prepare, render_depth, render_views
from renderers.meshes import TexturedMesh

logger = logging.getLogger(__name__)

_FITTING_IOU = 0.8
"""Outlines that overlap so far are taken to be of one object."""
_ELEVATION_CHANGES_DEGREES = (-5.0, 5.0, -10.0, 10.0, -15.0, 15.0)
"""Estimated elevations may be ten degrees off; the mesh's outline knows better."""
_EXTREME_ELEVATION_DEGREES = 85.0


@dataclass(frozen=True)
class PlacedPicture:
    """A picture, its camera about the mesh, what of it is laid on the mesh, and that as a texture."""

    source: FramedSource
    outline_iou: float
    lifted: Lifted
    known: KnownTexture | None


def place_picture(
    mesh: TexturedMesh, source: FramedSource, settings: TextureSettings, progress: Progress
) -> PlacedPicture:
    """Fit the picture's camera to the mesh, and lay the picture on the mesh where it shows it.

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        source: the framed picture.
        settings: where it was taken, and whether it may be laid on the mesh.
        progress: hears of the stage "picture on the mesh", and may cancel it.

    Raises:
        UserError: the mesh cannot be seen from where the picture was taken.
    """
    expected_degrees, side_px = source.elevation_degrees, source.rgba.shape[1]
    lens = settings.picture.field_of_view_degrees
    camera = orbit_camera(
        settings.azimuth_degrees, expected_degrees, field_of_view_degrees=lens, width=side_px, height=side_px
    )
    source = replace(source, camera=camera)
    others = [expected_degrees + change for change in _ELEVATION_CHANGES_DEGREES if source.elevation_estimated]
    renderable = prepare(mesh)
    fit = fitted_camera(
        renderable,
        source.rgba[3],
        settings.azimuth_degrees,
        [expected_degrees, *(other for other in others if abs(other) <= _EXTREME_ELEVATION_DEGREES)],
        field_of_view_degrees=lens,
    )
    fits = fit.outline_iou >= _FITTING_IOU
    if settings.lift_picture == "never":
        return PlacedPicture(source, fit.outline_iou, "nothing", None)
    if settings.lift_picture == "auto" and not fits:
        logger.warning(
            "The picture's outline is not that of the mesh (they overlap by %.0f%%): its colours are stretched over "
            "the mesh, its pixels are not kept (--azimuth-degrees and --elevation-degrees say from where it shows the "
            "mesh; --lift-picture always keeps its pixels).",
            100 * fit.outline_iou,
        )
        stretched = stretched_camera(renderable, source.rgba[3], source.camera)
        return PlacedPicture(replace(source, camera=stretched), fit.outline_iou, "colours", None)
    source = replace(source, camera=fit.camera, elevation_degrees=fit.elevation_degrees)
    known = picture_texture(mesh, source.rgba, source.camera, settings.texture_size, progress)
    return PlacedPicture(source, fit.outline_iou, "pixels", known)


def joint_views(
    projection: TextureProjection,
    joining: TextureProjection,
    mesh: TexturedMesh,
    placed: PlacedPicture,
    settings: TextureSettings,
    generator: ViewGenerator,
    progress: Progress,
) -> Synchronized:
    """Denoise the views of a mesh together, or by the method that the settings name.

    Args:
        projection: of the mesh, at the size that is asked for; the canonical sample that is returned has it too.
        joining: the same views of the texture that they are joined in, from `joining_views`.
        mesh: the same.
        placed: the picture on it.
        settings: method, strategy, steps, seed.
        generator: the loaded checkpoint.
        progress: stages "views", one step a step of the method, with a preview, and "gathering", one a view.
    """
    device = generator.device
    random = torch.Generator().manual_seed(settings.generator.seed)
    known = None
    if placed.known is not None:
        known = known_in_views(placed.known, projection, joining).to(device)
    preview = preview_on(joining)
    with torch.inference_mode():
        condition = surface_condition(generator, mesh, placed, projection.cameras)
        if settings.method != "synchronized":
            return relative_views(
                settings.method,
                SurfaceViews(joining, generator.view_network, condition, known),
                placed.source.camera,
                settings,
                lambda: _sampler_step(settings.generator.sampler),
                random,
                progress,
                preview,
            )
        texture, alpha = ChanneledTexture(joining), joining.alpha.to(device)
        denoiser: Denoiser[ViewCondition] = SurfaceColours(generator.view_network, alpha, random, known)
        if settings.feed_back and settings.strategy != "none":
            denoiser = FedBack(denoiser, texture)
        strategy = strategy_named(settings.strategy)
        joint = synchronize(
            JointProcess(texture, denoiser, condition, strategy),
            uniform_times(settings.generator.steps),
            lambda: _sampler_step(settings.generator.sampler),
            random,
            noise=settings.noise,
            device=device,
            progress=progress,
            preview=preview,
        )
        progress.stage("gathering", len(projection.cameras))
        seen = gathered_texture(projection, projection.finer(progress), final_views(joint, strategy))
        return replace(joint, canonical=seen)


def joining_views(
    projection: TextureProjection, mesh: TexturedMesh, settings: TextureSettings, progress: Progress
) -> TextureProjection:
    """Return the views of the texture that they are joined in; only a joint process has one of another size.

    Args:
        projection: of the mesh, at the size that is asked for.
        mesh: the same.
        settings: name the method.
        progress: hears of the stage "views to be joined", and may cancel it.
    """
    if settings.method != "synchronized":
        return projection
    return joining_projection(mesh, projection, progress)


def surface_condition(
    generator: ViewGenerator, mesh: TexturedMesh, placed: PlacedPicture, cameras: list[Camera]
) -> ViewCondition:
    """Return what the generator is told of views of a mesh: the picture, and the mesh's own surface as the guide.

    Args:
        generator: the loaded checkpoint.
        mesh: in the unit ball.
        placed: the picture on it; its pixels are part of the guide if they are laid on the mesh.
        cameras: of the views.
    """
    device, side_px = generator.device, cameras[0].width
    pixels = network_picture(placed.source.rgba).to(device)
    source_camera = placed.source.camera.resized(side_px, side_px)
    sources, targets = stack_cameras([source_camera]).to(device), stack_cameras(cameras).to(device)
    renderable = prepare(mesh)
    surface = render_views(renderable, cameras, supersampling=1)
    guide = guide_from_surface(
        pixels * 0.5 + 0.5,
        torch.from_numpy(render_depth(renderable, [source_camera]))[None].to(device),
        sources,
        torch.zeros(len(cameras), dtype=torch.long, device=device),
        targets,
        torch.from_numpy(surface.depth)[:, None].to(device),
        torch.from_numpy(surface.normals).to(device),
    )
    if placed.lifted == "nothing":
        parts = torch.tensor([[True, False, False]], device=device).expand(len(cameras), 3)
        guide = guide.dropped(parts)
    predicted = generator.predict_solid(pixels, sources)
    return generator.build_condition(pixels, sources, targets, predicted, guide=guide)


def _sampler_step(name: Literal["consistency", "ddim"]) -> SamplerStep:
    return ddim_step if name == "ddim" else consistency_step
