"""A mesh to a textured mesh: views joined through one texture (diffusion synchronization).

What makes the views is the project's own view generator after a picture (`texture_from_picture`), or a published
text-to-image checkpoint after a prompt (`texture_from_prompt`). The views are denoised together and agree, step by
step, on one texture; all else is the same for both.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from distill_core.cameras import Camera, orbit_rig
from distill_core.models.text_to_image import TextToImage
from distill_core.models.view_generator import ViewGenerator
from distill_core.pictures.images import Picture
from distill_core.progress import Progress
from gs_integration.pipelines.image_to_views import framed_source
from gs_integration.pipelines.texture_from_picture import PlacedPicture, joining_views, joint_views, place_picture
from gs_integration.pipelines.texture_from_prompt import picture_side, prompted_views
from gs_integration.pipelines.texture_relatives import num_view_steps
from gs_integration.pipelines.texture_results import TexturedResult
from gs_integration.pipelines.texture_settings import CAMERA_SETS, TextureSettings
from gs_integration.texturing.texture_cameras import (
    RING_ELEVATION_DEGREES,
    automatic_cameras,
    cameras_from_file,
    ring_and_poles_cameras,
)
from gs_integration.texturing.texture_denoising import KnownTexture
from gs_integration.texturing.texture_filling import fill_texture
from gs_integration.texturing.texture_projection import TextureProjection
from gs_integration.texturing.texture_scores import consistency_psnr, render_texture, seam_score
from renderers.meshes import TexturedMesh, normalised
from renderers.texture_space.unwrapping import UnwrappedMesh, ready_for_texturing, with_new_coordinates

logger = logging.getLogger(__name__)

SOURCE_PX = 512
"""Side of the framed picture: what the texture has of it is that sharp."""

_OPAQUE = 128  # of 255; the renderer cuts what is below
_SAMPLES = 4
"""Along a side of a view's pixel, when views are compared with the texture: a pixel is the mean over its area, and the
texture has several texels in it."""


@dataclass(frozen=True)
class _PaintedViews:
    """What either kind of model ends with.

    Attributes:
        projection: of the mesh, at the size that is asked for.
        texture: [3, S, S] in 0..1.
        views: [V, 4, h, w] straight RGBA, each view's own last prediction.
        joined_texels: along a side of the texture that the views were joined in.
        placed: the picture on the mesh, if there is one.
    """

    projection: TextureProjection
    texture: Tensor
    views: Tensor
    joined_texels: int
    placed: PlacedPicture | None


def texture_mesh(
    mesh: TexturedMesh,
    picture: Picture | None,
    settings: TextureSettings,
    model: ViewGenerator | TextToImage,
    progress: Progress,
) -> TexturedResult:
    """Texture a mesh after a picture or a prompt.

    Args:
        mesh: of any size and place; what it wears is replaced.
        picture: of the object, or of another one whose colours it shall have; with a prompt what the IP-Adapter hears,
            if there is one.
        settings: everything a person can choose.
        model: the loaded checkpoint of the settings; a text-to-image model if there is a prompt.
        progress: stages "unwrapping", "picture", "picture on the mesh", "views on the mesh", "views to be joined",
            "views", "gathering", "texture"; previews of "views" show the current texture on the mesh.

    Raises:
        UserError: the mesh has no area, no object can be found in the picture, or cameras or sizes do not fit.
        Cancelled: the caller asked to stop.
    """
    side_px = _view_side_px(model, settings)
    # A file of cameras that cannot be used is refused before the mesh is unwrapped, which may take minutes.
    stated = None
    if settings.cameras not in CAMERA_SETS:
        stated = cameras_from_file(Path(settings.cameras), width=side_px, height=side_px)
    unit = normalised(mesh)
    unwrapped = bare(ready_for_texturing(unit, texture_size=settings.texture_size, progress=progress))
    cameras = stated or target_cameras(unwrapped.mesh, settings, side_px)
    match model:
        case ViewGenerator():
            painted = _painted_from_picture(unwrapped.mesh, cameras, picture, settings, model, progress)
        case TextToImage():
            painted = _painted_from_prompt(unwrapped.mesh, cameras, picture, settings, model, progress)
        case _:
            assert_never(model)
    progress.stage("texture", None)
    projection, placed = painted.projection, painted.placed
    texture = finished_texture(projection, painted.texture, None if placed is None else placed.known)
    rendered = render_texture(unwrapped.mesh, texture, projection.cameras, supersampling=_SAMPLES)
    return TexturedResult(
        settings=settings,
        source=None if placed is None else placed.source,
        outline_iou=None if placed is None else placed.outline_iou,
        picture_lifted="nothing" if placed is None else placed.lifted,
        unwrapped=unwrapped,
        unit_to_mesh=mesh.source_to_object @ np.linalg.inv(unit.source_to_object),
        texture=texture.numpy(),
        cameras=projection.cameras,
        joined_texels=painted.joined_texels,
        views=painted.views.clamp(0, 1).numpy(),
        coverage=projection.coverage,
        seams=seam_score(unwrapped.mesh, texture.numpy()),
        consistency_psnr=consistency_psnr(painted.views[:, :3], rendered).numpy(),
    )


def _view_side_px(model: ViewGenerator | TextToImage, settings: TextureSettings) -> int:
    match model:
        case ViewGenerator():
            return model.settings.view.resolution_px
        case TextToImage():
            return picture_side(settings.prompted, model)
        case _:
            assert_never(model)


def _painted_from_picture(
    mesh: TexturedMesh,
    cameras: list[Camera],
    picture: Picture | None,
    settings: TextureSettings,
    model: ViewGenerator,
    progress: Progress,
) -> _PaintedViews:
    if picture is None:
        raise ValueError("expected a picture for a view generator, got none")
    source = framed_source(picture, settings.picture, model, progress, side_px=SOURCE_PX)
    placed = place_picture(mesh, source, settings, progress)
    projection = TextureProjection(mesh, cameras, settings.texture_size, progress=progress)
    joining = joining_views(projection, mesh, settings, progress)
    progress.stage("views", num_view_steps(settings, len(cameras)))
    joint = joint_views(projection, joining, mesh, placed, settings, model, progress)
    texture, own = (values.float().cpu() * 0.5 + 0.5 for values in (joint.canonical, joint.own_clean))
    return _PaintedViews(projection, texture, torch.cat([own, joining.alpha], 1), joining.texture_size, placed)


def _painted_from_prompt(
    mesh: TexturedMesh,
    cameras: list[Camera],
    picture: Picture | None,
    settings: TextureSettings,
    model: TextToImage,
    progress: Progress,
) -> _PaintedViews:
    projection = TextureProjection(mesh, cameras, settings.texture_size, progress=progress)
    texture, own = prompted_views(projection, mesh, picture, settings, model, progress)
    size = settings.texture_size if settings.prompted.canonical == "rgb" else settings.prompted.latent_texture_size
    return _PaintedViews(projection, texture, torch.cat([own, projection.alpha], 1), size, None)


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
    """Return the cameras of one of the sets that the settings name.

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        settings: which set, how many cameras, where they begin.
        side_px: of the views.
    """
    size = {"width": side_px, "height": side_px}
    azimuth = settings.azimuth_degrees
    match settings.cameras:
        case "ring":
            return orbit_rig(
                settings.num_views, elevations_degrees=(RING_ELEVATION_DEGREES,), start_azimuth_degrees=azimuth, **size
            )
        case "ring-and-poles":
            return ring_and_poles_cameras(settings.num_views, **size, start_azimuth_degrees=azimuth)
        case "automatic":
            return automatic_cameras(mesh, settings.num_views, **size, start_azimuth_degrees=azimuth)
        case other:
            raise ValueError(f"expected one of {', '.join(CAMERA_SETS)}, got {other!r}")


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
