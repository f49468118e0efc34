"""Views of a mesh after a prompt, by a published text-to-image checkpoint, joined in a texture of latents or colours.

ControlNets are shown the mesh, an IP-Adapter hears a picture, the prompt says from where each view looks, and views
look at one another. Liu et al., SyncMVD (2023) and Kim et al., SyncTweedies (NeurIPS 2024) are the models for this.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import UserError
from distill_core.models.control_pictures import depth_control, normal_control
from distill_core.models.text_to_image import TextCondition, TextToImage
from distill_core.models.view_directions import neighbouring_views, view_words
from distill_core.pictures.images import Picture, composite
from distill_core.progress import Progress
from distill_core.synchronization.loop import synchronize
from distill_core.synchronization.projections import Projection
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import strategy_named
from gs_integration.pipelines.sampler_names import sampler_named
from gs_integration.pipelines.text_to_image_settings import PromptedTextureSettings, SamplerName
from gs_integration.pipelines.texture_preview import preview_on
from gs_integration.pipelines.texture_settings import TextureSettings
from gs_integration.texturing.texture_denoising import ChanneledTexture
from gs_integration.texturing.texture_gathering import gathered_texture
from gs_integration.texturing.texture_latents import EncodedTexture, OnBackground
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.mesh_rendering import prepare, render_views
from renderers.meshes import TexturedMesh

_STEPS, _STUDENT_STEPS = 30, 4
_WHITE = (1.0, 1.0, 1.0)
"""Behind the object, in -1..1: most pictures of one object alone are taken so."""


def picture_side(settings: PromptedTextureSettings, model: TextToImage) -> int:
    """Return the side of the views in pixels.

    Args:
        settings: may name it.
        model: knows what it was trained on.

    Raises:
        UserError: the side is no multiple of what a latent stands for.
    """
    side, unit = settings.picture_px, model.codec.pixels_a_latent
    if side == "auto":
        return model.picture_px
    if side % unit:
        raise UserError(
            f"Expected --picture-px to be a multiple of {unit} for {model.name}, got {side}; take "
            f"{side // unit * unit}."
        )
    return side


def prompted_views(
    projection: TextureProjection,
    mesh: TexturedMesh,
    picture: Picture | None,
    settings: TextureSettings,
    model: TextToImage,
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """Denoise the views of a mesh together.

    Args:
        projection: of the mesh, to views in pixels.
        mesh: the same, in the unit ball.
        picture: what the IP-Adapter hears.
        settings: prompt, strategy, seed and all else.
        model: the loaded checkpoint.
        progress: stages "views on the mesh", "views", there a step a step of the sampler, with a preview, and
            "gathering".

    Returns:
        The texture [3, S, S] and each view's own last clean prediction [V, 3, h, w], in 0..1 but for overshoots.

    Raises:
        UserError: the checkpoint's schedule contradicts its network.
        Cancelled: the caller asked to stop.
    """
    prompted, device, codec = settings.prompted, model.device, model.codec
    side = projection.cameras[0].width // codec.pixels_a_latent
    latent_cameras = [camera.resized(side, side) for camera in projection.cameras]
    in_latents = TextureProjection(mesh, latent_cameras, prompted.latent_texture_size, progress=progress)
    random = torch.Generator().manual_seed(settings.generator.seed)
    times, make_step = _times(prompted, model), sampler_named(_sampler(prompted, model))
    progress.stage("views", len(times) - 1)
    with torch.inference_mode():
        condition = prompted_condition(projection, mesh, picture, settings, model)
        network = model.denoiser(
            (side, side),
            guidance_scale=prompted.text.guidance_scale,
            control_scale=prompted.control_scale,
            views_at_once=prompted.views_at_once,
        )
        joined, denoiser, preview = _joined_in(prompted, projection, in_latents, network, model, random)
        result = synchronize(
            JointProcess(joined, denoiser, condition, strategy_named(settings.strategy)),
            times,
            make_step,
            random,
            noise=settings.noise,
            synchronized_times=(1.0, prompted.sync_until),
            device=device,
            progress=progress,
            preview=preview,
        )
        texture = result.canonical
        if isinstance(denoiser, OnBackground):
            finals = codec.decode(denoiser.over_background(result.instances))
            progress.stage("gathering", len(projection.cameras))
            texture = gathered_texture(projection, projection.finer(progress), finals.float())
        own = codec.decode(result.own_clean)
    return texture.float().cpu() * 0.5 + 0.5, own.float().cpu() * 0.5 + 0.5


def prompted_condition(
    projection: TextureProjection,
    mesh: TexturedMesh,
    picture: Picture | None,
    settings: TextureSettings,
    model: TextToImage,
) -> TextCondition:
    """Return what the network is told of each view.

    Args:
        projection: knows the views.
        mesh: what ControlNets are shown.
        picture: what the IP-Adapter hears; laid over white.
        settings: prompt, ControlNets, front.
        model: the loaded checkpoint.
    """
    prompted, cameras, front = settings.prompted, projection.cameras, settings.azimuth_degrees
    prompt = prompted.text.prompt
    return model.condition(
        [f"{prompt}, {view_words(camera, front)}" for camera in cameras] if prompted.directions else [prompt],
        negative_prompt=prompted.text.negative_prompt,
        picture_size=(cameras[0].height, cameras[0].width),
        picture=None if picture is None else composite(picture.rgba, 1.0),
        controls=_controls(projection, mesh, prompted),
        neighbours=neighbouring_views(cameras, front) if prompted.share_attention else None,
    )


def _controls(
    projection: TextureProjection, mesh: TexturedMesh, prompted: PromptedTextureSettings
) -> tuple[Tensor, ...]:
    """Pictures of the mesh for each ControlNet, in the order in which they are loaded."""
    if prompted.control is None and prompted.normal_control is None:
        return ()
    cameras = projection.cameras
    surface = render_views(prepare(mesh), cameras, supersampling=1)
    depth = torch.from_numpy(surface.depth)
    placed = torch.from_numpy(np.stack([camera.camera_to_world for camera in cameras]))
    pictures = []
    if prompted.control is not None:
        pictures.append(depth_control(depth))
    if prompted.normal_control is not None:
        pictures.append(normal_control(torch.from_numpy(surface.normals), depth > 0, placed))
    return tuple(pictures)


def _joined_in(
    prompted: PromptedTextureSettings,
    projection: TextureProjection,
    in_latents: TextureProjection,
    network: Denoiser[TextCondition],
    model: TextToImage,
    random: torch.Generator,
) -> tuple[Projection, Denoiser[TextCondition], Callable[[Tensor], np.ndarray]]:
    """The canonical space, what denoises its views, and a picture of a canonical sample."""
    codec, device = model.codec, model.device
    if prompted.canonical == "rgb":
        encoded = EncodedTexture(projection, in_latents, codec, _WHITE)
        return encoded, network, preview_on(projection)
    side = projection.cameras[0].width
    white = torch.tensor(_WHITE, device=device).reshape(1, 3, 1, 1).expand(1, 3, side, side)
    alpha = in_latents.alpha.to(device)
    denoiser = OnBackground(network, alpha, codec.encode(white), random)
    shown = projection.alpha[0]

    def preview(latents: Tensor) -> np.ndarray:
        view = codec.decode(denoiser.over_background(in_latents.project(latents))[:1])[0].float().cpu()
        return ((view * 0.5 + 0.5).clamp(0, 1) * shown + 1 - shown).numpy()

    return ChanneledTexture(in_latents, codec.channels), denoiser, preview


def _sampler(prompted: PromptedTextureSettings, model: TextToImage) -> SamplerName:
    if prompted.denoising_sampler != "auto":
        return prompted.denoising_sampler
    return "ddim" if model.teacher_steps is None else "consistency"


def _times(prompted: PromptedTextureSettings, model: TextToImage) -> Tensor:
    automatic = _STEPS if model.teacher_steps is None else _STUDENT_STEPS
    steps = automatic if prompted.denoising_steps == "auto" else prompted.denoising_steps
    if _sampler(prompted, model) != "consistency":
        return uniform_times(steps)
    return model.student_times(steps)
