from dataclasses import replace

import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from distill_core.diffusion.schedules import VarianceExploding, VariancePreserving
from distill_core.synchronization.projections import Projection, average
from gs_integration.texturing.texture_denoising import ChanneledTexture, KnownTexture, SurfaceColours
from gs_integration.texturing.texture_projection import TextureProjection
from tests.renderers.texturable_meshes import charted_box

SIDE = 32


@pytest.fixture(scope="module")
def texture() -> ChanneledTexture:
    return ChanneledTexture(TextureProjection(charted_box(), fibonacci_rig(6, width=SIDE, height=SIDE), 64))


class Knows:
    """Says what it was told to say, and keeps what it was shown."""

    def __init__(self, clean: torch.Tensor, schedule) -> None:
        self.clean, self.schedule, self.sample_shape = clean, schedule, tuple(clean.shape[1:])

    def __call__(self, noisy, time, condition):
        self.noisy = noisy
        return self.clean


@pytest.fixture
def colours() -> torch.Tensor:
    return torch.rand(400, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def alpha() -> torch.Tensor:
    """Columns that are empty, covered by a third, whole."""
    return torch.tensor([0.0, 0, 1 / 3, 1 / 3, 1, 1, 1, 1]).expand(400, 1, 8, 8)


def premultiplied(colours: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    return torch.cat([(colours * 0.5 + 0.5) * alpha, alpha], 1) * 2 - 1


@pytest.mark.parametrize("schedule", [VarianceExploding(), VariancePreserving()])
def test_the_network_sees_a_noisy_picture_of_the_mesh(schedule, colours, alpha):
    generator = torch.Generator().manual_seed(0)
    network = Knows(premultiplied(colours, alpha), schedule)
    time = torch.full((len(colours),), 0.4)
    scale, sigma = schedule.alpha(time[:1]), schedule.sigma(time[:1])
    noise = torch.randn(colours.shape, generator=generator)
    SurfaceColours(network, alpha, generator)(scale * colours + sigma * noise, time, None)
    left = (network.noisy - scale * premultiplied(colours, alpha)) / sigma
    # 400 x 8 numbers a channel and column: their mean and variance stray by 0.018 and 0.025, each five times at most.
    assert left.mean(dim=(0, 2)).abs().max() < 0.09
    assert (left.var(dim=(0, 2)) - 1).abs().max() < 0.13
    # The shared noise alone is seen inside, none of it beside the mesh.
    torch.testing.assert_close(left[:, :3, :, 4:], noise[..., 4:], atol=1e-4, rtol=1e-4)
    assert (left[:, :3, :, :2] * noise[..., :2]).mean().abs() < 0.05


def test_colours_come_back_straight(colours, alpha):
    network = Knows(premultiplied(colours, alpha), VarianceExploding())
    clean = SurfaceColours(network, alpha, torch.Generator())(colours, torch.zeros(len(colours)), None)
    # Wholly inside; beside the silhouette little is believed, and what lies inside is carried on.
    torch.testing.assert_close(clean[..., 5:], colours[..., 5:], atol=1e-5, rtol=0)
    constant = premultiplied(torch.full_like(colours, 0.3), alpha)
    clean = SurfaceColours(Knows(constant, VarianceExploding()), alpha, torch.Generator())(
        colours, torch.zeros(len(colours)), None
    )
    torch.testing.assert_close(clean, torch.full_like(colours, 0.3), atol=1e-5, rtol=0)


def test_thin_parts_keep_their_own_colours_and_rims_continue_what_is_inside():
    alpha, colours = torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    alpha[..., 2:18] = 1
    colours[..., 3:17] = 0.9
    colours[..., 2] = -0.9  # a rim that took on some of the background
    alpha[..., 26:28] = 1
    colours[..., 26:28] = torch.tensor([0.8, -0.9, -0.9])[:, None, None]  # a leaf of two pixels
    network = Knows(premultiplied(colours, alpha), VarianceExploding())
    clean = SurfaceColours(network, alpha, torch.Generator())(colours, torch.zeros(1), None)
    torch.testing.assert_close(clean[..., 26:28], colours[..., 26:28], atol=1e-5, rtol=0)
    torch.testing.assert_close(clean[..., 4:16], colours[..., 4:16], atol=1e-5, rtol=0)
    assert bool((clean[..., 2] > colours[..., 2] + 0.1).all())


def test_known_colours_take_the_place_of_predictions(colours, alpha):
    network = Knows(premultiplied(colours, alpha), VarianceExploding())
    trust = torch.tensor([1.0, 0.5, 0, 0, 1, 0.5, 0, 0]).expand(400, 1, 8, 8)
    known = torch.cat([0.25 * trust.expand(-1, 3, -1, -1), trust], 1)
    clean = SurfaceColours(network, alpha, torch.Generator(), known)(colours, torch.zeros(len(colours)), None)
    assert torch.allclose(clean[..., 4], torch.tensor(-0.5))
    torch.testing.assert_close(clean[..., 5], (colours[..., 5] - 0.5) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(clean[..., 6], colours[..., 6], atol=1e-5, rtol=0)


def test_a_known_texture_covers_what_it_knows():
    known = KnownTexture(torch.full((3, 2, 2), 0.8), torch.tensor([[[0.0, 0.5], [1, 1]]]))
    laid = known.laid_on(torch.full((3, 2, 2), 0.2))
    torch.testing.assert_close(laid[0], torch.tensor([[0.2, 0.5], [0.8, 0.8]]))


def test_a_channeled_texture_meets_the_contract(texture: ChanneledTexture):
    assert isinstance(texture, Projection)
    views = torch.rand(texture.instances_shape)
    assert texture.project(torch.rand(texture.canonical_shape)).shape == views.shape
    votes = texture.unproject(views)
    assert average(votes).shape == texture.canonical_shape
    # Independent noise in the views: the sum of squared weights is the variance of the weighted sum.
    noise = torch.randn(200, *views.shape, generator=torch.Generator().manual_seed(0))
    sums = torch.stack([texture.unproject(each).weighted[0] for each in noise])
    seen = votes.squared_weights[0] > 0
    ratio = sums.var(dim=0)[seen] / votes.squared_weights[0][seen]
    # The mean of many ratios that stray by sqrt(2 / 200) each.
    assert abs(float(ratio.mean()) - 1) < 0.05


def test_noise_has_the_channels_of_the_texture(texture: ChanneledTexture):
    latent = replace(texture, channels=4)
    for each in (latent.canonical_noise, latent.initial_noise):
        noise = each(torch.Generator().manual_seed(3))
        assert noise.shape[-3] == 4
        assert abs(float(noise.var()) - 1) < 0.1
