"""A mesh and one picture to a textured mesh: views joined through one texture (diffusion synchronization).

The view generator makes views of the mesh all around. Its guide is the mesh's own silhouette, depth and normals, and
the picture's pixels where the picture shows this mesh. The views are denoised together and agree, step by step, on one
texture; the picture's own pixels, which are finer than the views, lie over it in the end.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.samplers import SamplerStep, consistency_step, ddim_step
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import UserError
from distill_core.guide import guide_from_surface
from distill_core.images import Picture
from distill_core.models.condition import ViewCondition
from distill_core.models.view_generator import ViewGenerator
from distill_core.progress import Progress
from distill_core.rays import stack_cameras
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import strategy_named
from gs_integration.picture_on_mesh import fitted_camera, picture_texture, stretched_camera
from gs_integration.pipelines.image_to_views import framed_source, network_picture
from gs_integration.pipelines.results import FramedSource
from gs_integration.pipelines.texture_relatives import num_view_steps, relative_views
from gs_integration.pipelines.texture_results import Lifted, TexturedResult
from gs_integration.pipelines.texture_settings import TextureSettings
from gs_integration.texture_cameras import (
    RING_ELEVATION,
    automatic_cameras,
    cameras_from_file,
    ring_and_poles_cameras,
)
from gs_integration.texture_denoising import ChanneledTexture, KnownTexture, SurfaceColours
from gs_integration.texture_feedback import FedBack
from gs_integration.texture_filling import fill_texture
from gs_integration.texture_methods import SurfaceViews
from gs_integration.texture_projection import TextureProjection
from gs_integration.texture_scores import consistency_psnr, render_texture, seam_score
from renderers.mesh_rendering import prepare, render_depth, render_views
from renderers.meshes import TexturedMesh, normalised
from renderers.unwrapping import UnwrappedMesh, ready_for_texturing, with_new_coordinates

logger = logging.getLogger(__name__)

SOURCE_PX = 512
"""Side of the framed picture: what the texture has of it is that sharp."""

_FITTING_IOU = 0.8
"""Outlines that overlap so far are taken to be of one object."""
_OTHER_ELEVATIONS = (-5.0, 5.0, -10.0, 10.0, -15.0, 15.0)
"""Estimated elevations may be ten degrees off; the mesh's outline knows better."""
_EXTREME_ELEVATION = 85.0
_OPAQUE = 128  # of 255; the renderer cuts what is below


@dataclass(frozen=True)
class PlacedPicture:
    """A picture, its camera about the mesh, what of it is laid on the mesh, and that as a texture."""

    source: FramedSource
    outline_iou: float
    lifted: Lifted
    known: KnownTexture | None


def texture_mesh(
    mesh: TexturedMesh, picture: Picture, settings: TextureSettings, generator: ViewGenerator, progress: Progress
) -> TexturedResult:
    """Texture a mesh after a picture.

    Args:
        mesh: of any size and place; what it wears is replaced.
        picture: of the object, or of another one whose colours it shall have.
        settings: everything a person can choose.
        generator: the loaded checkpoint of the settings.
        progress: stages "unwrapping", "picture", "views on the mesh", "views", "texture"; previews of "views" show the
            current texture on the mesh.

    Raises:
        UserError: the mesh has no area, no object can be found in the picture, or cameras do not fit.
        Cancelled: the caller asked to stop.
    """
    unit = normalised(mesh)
    unwrapped = bare(ready_for_texturing(unit, texture_size=settings.texture_size, progress=progress))
    source = framed_source(picture, settings.picture, generator, progress, side_px=SOURCE_PX)
    placed = place_picture(unwrapped.mesh, source, settings, progress)
    cameras = target_cameras(unwrapped.mesh, settings, generator.settings.view.resolution_px)
    projection = TextureProjection(unwrapped.mesh, cameras, settings.texture_size, progress=progress)
    progress.stage("views", num_view_steps(settings, len(cameras)))
    joint = joint_views(projection, unwrapped.mesh, placed, settings, generator, progress)
    progress.stage("texture", None)
    texture = finished_texture(projection, joint.canonical.float().cpu() * 0.5 + 0.5, placed.known)
    own = joint.own_clean.float().cpu() * 0.5 + 0.5
    rendered = render_texture(unwrapped.mesh, texture, cameras)
    return TexturedResult(
        settings=settings,
        source=placed.source,
        outline_iou=placed.outline_iou,
        picture_lifted=placed.lifted,
        unwrapped=unwrapped,
        unit_to_mesh=mesh.source_to_object @ np.linalg.inv(unit.source_to_object),
        texture=texture.numpy(),
        cameras=cameras,
        views=torch.cat([own.clamp(0, 1), projection.alpha], 1).numpy(),
        coverage=projection.coverage,
        seams=seam_score(unwrapped.mesh, texture.numpy()),
        consistency_psnr=consistency_psnr(own, rendered).numpy(),
    )


def bare(unwrapped: UnwrappedMesh) -> UnwrappedMesh:
    """Return the mesh without what it wears; says so where that cuts holes, which an opaque texture closes.

    Args:
        unwrapped: with coordinates that are kept.
    """
    mesh = unwrapped.mesh
    if any((picture[..., 3] < _OPAQUE).any() for picture in mesh.base_colours):
        logger.warning("%s: the holes that its picture cuts are closed; the new texture is opaque.", mesh.name)
    return replace(unwrapped, mesh=with_new_coordinates(mesh, mesh.corner_uvs))


def target_cameras(mesh: TexturedMesh, settings: TextureSettings, side_px: int) -> list[Camera]:
    """Return the cameras of the views, for the generator's pictures.

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        settings: which cameras.
        side_px: of the generator's pictures.

    Raises:
        UserError: a file of cameras that cannot be used.
    """
    size = {"width": side_px, "height": side_px}
    azimuth = settings.azimuth_degrees
    match settings.cameras:
        case "ring":
            return orbit_rig(
                settings.num_views, elevations_degrees=(RING_ELEVATION,), start_azimuth_degrees=azimuth, **size
            )
        case "ring-and-poles":
            return ring_and_poles_cameras(settings.num_views, **size, start_azimuth_degrees=azimuth)
        case "automatic":
            return automatic_cameras(mesh, settings.num_views, **size, start_azimuth_degrees=azimuth)
        case file:
            cameras = cameras_from_file(Path(file), **size)
            if not cameras:
                raise UserError(f"{file}: expected at least one camera, got none; choose another file.")
            return cameras


def place_picture(
    mesh: TexturedMesh, source: FramedSource, settings: TextureSettings, progress: Progress
) -> PlacedPicture:
    """Fit the picture's camera to the mesh, and lay the picture on the mesh where it shows it.

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        source: the framed picture.
        settings: where it was taken, and whether it may be laid on the mesh.
        progress: hears of the stage "views on the mesh", and may cancel it.
    """
    expected, side_px = source.elevation_degrees, len(source.rgba[3])
    lens = settings.picture.field_of_view_degrees
    camera = orbit_camera(settings.azimuth_degrees, expected, field_of_view_degrees=lens, width=side_px, height=side_px)
    source = replace(source, camera=camera)
    others = [expected + turn for turn in _OTHER_ELEVATIONS if source.elevation_estimated]
    renderable = prepare(mesh)
    fit = fitted_camera(
        renderable,
        source.rgba[3],
        settings.azimuth_degrees,
        [expected, *(other for other in others if abs(other) <= _EXTREME_ELEVATION)],
        field_of_view_degrees=lens,
    )
    fits = fit.outline_iou >= _FITTING_IOU
    if settings.lift_picture == "never":
        return PlacedPicture(source, fit.outline_iou, "nothing", None)
    if settings.lift_picture == "auto" and not fits:
        logger.warning(
            "The picture's outline is not that of the mesh (they overlap by %.0f %%): its colours are stretched over "
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
    mesh: TexturedMesh,
    placed: PlacedPicture,
    settings: TextureSettings,
    generator: ViewGenerator,
    progress: Progress,
) -> Synchronized:
    """Denoise the views of a mesh together, or by the method that the settings name.

    Args:
        projection: of the mesh.
        mesh: the same.
        placed: the picture on it.
        settings: method, strategy, steps, seed.
        generator: the loaded checkpoint.
        progress: one step a step of the method, with a preview.
    """
    device = generator.device
    random = torch.Generator().manual_seed(settings.generator.seed)
    alpha = projection.alpha
    known = None
    if placed.known is not None:
        weighted = torch.cat([placed.known.colour * placed.known.trust, placed.known.trust])
        known = projection.project(weighted).to(device)
    preview = _preview_on(projection, alpha[0])
    with torch.inference_mode():
        condition = surface_condition(generator, mesh, placed, projection.cameras)
        if settings.method != "synchronized":
            return relative_views(
                settings.method,
                SurfaceViews(projection, generator.view_network, condition, known),
                placed.source.camera,
                settings,
                lambda: _sampler_step(settings.generator.sampler),
                random,
                progress,
                preview,
            )
        texture = ChanneledTexture(projection)
        denoiser: Denoiser[ViewCondition] = SurfaceColours(generator.view_network, alpha.to(device), random, known)
        if settings.feed_back and settings.strategy != "none":
            denoiser = FedBack(denoiser, texture)
        process = JointProcess(texture, denoiser, condition, strategy_named(settings.strategy))
        return synchronize(
            process,
            uniform_times(settings.generator.steps),
            lambda: _sampler_step(settings.generator.sampler),
            random,
            noise=settings.noise,
            device=device,
            progress=progress,
            preview=preview,
        )


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


def finished_texture(
    projection: TextureProjection, canonical: torch.Tensor, known: KnownTexture | None
) -> torch.Tensor:
    """Return the texture in 0..1 with every texel filled, the known colours over it.

    Args:
        projection: of the mesh.
        canonical: [3, S, S] in 0..1, what the views agreed on.
        known: the picture's own pixels.
    """
    texture = projection.completed(canonical)
    if known is not None:
        texture = known.laid_on(texture)
        # What lies between charts continues their new colours.
        owned = torch.from_numpy(projection.surface.owner >= 0)
        weights = fill_texture(projection.surface, owned.numpy()).weights
        flat = texture.reshape(3, -1).T.contiguous().numpy()
        texture = torch.from_numpy(np.ascontiguousarray((weights @ flat).T)).reshape(texture.shape)
    return texture.clamp(0, 1)


def _sampler_step(name: Literal["consistency", "ddim"]) -> SamplerStep:
    return ddim_step if name == "ddim" else consistency_step


def _preview_on(projection: TextureProjection, alpha: torch.Tensor) -> Callable[[torch.Tensor], np.ndarray]:
    """Shows a texture, -1..1, on the mesh over white, from the first camera."""

    def preview(texture: torch.Tensor) -> np.ndarray:
        shown = (projection.project(texture)[0].float().cpu() * 0.5 + 0.5).clamp(0, 1)
        return (shown * alpha + 1 - alpha).numpy()

    return preview
