from typing import Any

import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from distill_core.diffusion.schedules import Flow, VariancePreserving
from distill_core.models.latent_codec import LatentCodec
from distill_core.models.text_to_image_loading import load_text_to_image
from distill_core.synchronization.projections import Projection, average
from gs_integration.texturing.texture_latents import EncodedTexture, OnBackground
from gs_integration.texturing.texture_projection import TextureProjection
from tests.renderers.texturable_meshes import charted_box
from tests.tiny_checkpoints import TinyCheckpoints

SIDE = 32


class Shown:
    """Keeps what it was shown, and says nothing but that."""

    def __init__(self, schedule: Any) -> None:
        self.schedule, self.sample_shape = schedule, (4, 8, 8)

    def __call__(self, noisy: torch.Tensor, time: torch.Tensor, condition: Any) -> torch.Tensor:
        self.noisy = noisy
        return noisy


@pytest.mark.parametrize("schedule", [VariancePreserving(), Flow()])
def test_the_network_sees_noisy_latents_before_the_background(schedule):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(400, 4, 8, 8, generator=generator)
    background = torch.randn(1, 4, 8, 8, generator=generator)
    alpha = torch.tensor([0.0, 0, 0.4, 0.4, 1, 1, 1, 1]).expand(400, 1, 8, 8)
    noise = torch.randn(clean.shape, generator=generator)
    time = torch.full((400,), 0.4)
    scale, sigma = schedule.alpha(time[:1]), schedule.sigma(time[:1])
    network = Shown(schedule)
    denoiser = OnBackground(network, alpha, background, generator)
    said = denoiser(scale * clean + sigma * noise, time, None)
    left = (network.noisy - scale * (alpha * clean + (1 - alpha) * background)) / sigma
    # 3200 numbers a channel and column: their mean and variance stray by 0.018 and 0.025, each five times at most.
    assert left.mean(dim=(0, 2)).abs().max() < 0.09
    assert (left.var(dim=(0, 2)) - 1).abs().max() < 0.13
    torch.testing.assert_close(left[..., 4:], noise[..., 4:], atol=1e-4, rtol=1e-4)
    assert said is network.noisy
    # Noise beside the mesh is the same at all times.
    before = left[..., :2]
    denoiser(schedule.alpha(time[:1] / 2) * clean, time / 2, None)
    later = (network.noisy - schedule.alpha(time[:1] / 2) * background) / schedule.sigma(time[:1] / 2)
    torch.testing.assert_close(later[..., :2], before, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def codec(tiny_checkpoints: TinyCheckpoints) -> LatentCodec:
    return load_text_to_image(str(tiny_checkpoints.stable_diffusion)).codec


@pytest.fixture(scope="module")
def encoded(codec: LatentCodec) -> tuple[EncodedTexture, TextureProjection]:
    cameras = fibonacci_rig(4, width=SIDE, height=SIDE)
    pixels = TextureProjection(charted_box(), cameras, 64)
    latents = TextureProjection(charted_box(), [camera.resized(SIDE // 2, SIDE // 2) for camera in cameras], 32)
    return EncodedTexture(pixels, latents, codec, (1.0, 0.0, -1.0)), pixels


@torch.no_grad()
def test_a_texture_of_colours_has_views_of_latents(encoded, codec: LatentCodec):
    texture, pixels = encoded
    assert isinstance(texture, Projection)
    colours = torch.rand(texture.canonical_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = texture.project(colours)
    assert latents.shape == texture.instances_shape == (4, 4, SIDE // 2, SIDE // 2)
    alpha = pixels.alpha
    beside = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)
    pictures = pixels.project(colours) * alpha + beside * (1 - alpha)
    torch.testing.assert_close(latents, codec.encode(pictures))
    torch.testing.assert_close(
        average(texture.unproject(latents)), average(pixels.unproject(codec.decode(latents).clamp(-1, 1)))
    )
    # Asked again for the same views, it does not decode again; other views with the same name are other views.
    assert texture.unproject(latents).weighted is texture.unproject(latents).weighted
    assert not torch.equal(texture.unproject(latents * 0).weighted, texture.unproject(latents).weighted)


def test_noise_of_the_latents_is_shared_on_the_surface(encoded):
    texture, _ = encoded
    noise = texture.initial_noise(torch.Generator().manual_seed(0))
    assert noise.shape == texture.instances_shape
    # 4096 numbers: their deviation strays by 0.011.
    assert abs(float(noise.std()) - 1) < 0.06
    assert texture.canonical_noise(torch.Generator().manual_seed(0)).shape == (3, 64, 64)
