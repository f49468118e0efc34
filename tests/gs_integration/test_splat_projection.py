"""Laws of splats as a canonical space. Letters: W blending weights, a = W 1 alpha, c colours, e noise of the splats."""

import numpy as np
import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import orbit_camera, orbit_rig
from distill_core.diffusion.samplers import ddim_step, sample
from distill_core.diffusion.schedules import VariancePreserving
from distill_core.diffusion.time_grids import uniform_times
from distill_core.errors import Cancelled
from distill_core.progress import SilentProgress
from distill_core.synchronization.gaussian_field import GaussianField
from distill_core.synchronization.loop import Synchronized, synchronize
from distill_core.synchronization.projections import Projection, average, coverage
from distill_core.synchronization.steps import JointProcess
from distill_core.synchronization.strategies import StrategyName, strategy_named
from distill_core.synchronization.view_updates import update_views
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_projection import SplatProjection
from gs_integration.splats import Splats, harmonics_from_colours
from tests.distill_core.diffusion.gaussian import GaussianDenoiser
from tests.distill_core.synchronization.projection_laws import (
    assert_linear,
    assert_unprojecting_noise_keeps_the_promised_variance,
    drawn_views,
)

SIDE = 24


def ball(count: int, width: float, *, opacity_logit: float = 1.0) -> Splats:
    """Splats of a width, evenly on a sphere of radius 0.6."""
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    height = 1 - (2 * np.arange(count) + 1) / count
    around = np.sqrt(1 - height**2)
    means = 0.6 * np.stack([around * np.cos(turn), around * np.sin(turn), height], 1)
    generator = torch.Generator().manual_seed(7)
    return Splats(
        means=torch.from_numpy(means).float(),
        quaternions_wxyz=torch.randn(count, 4, generator=generator),
        log_scales=np.log(width) + 0.3 * torch.randn(count, 3, generator=generator),
        opacity_logits=opacity_logit + torch.randn(count, generator=generator),
        harmonics=0.3 * torch.randn(count, 1, 3, generator=generator),
    )


@pytest.fixture(scope="module")
def splats() -> Splats:
    return ball(300, 0.06)


@pytest.fixture(scope="module")
def projection(splats: Splats) -> SplatProjection:
    return SplatProjection(splats, fibonacci_rig(5, width=SIDE, height=SIDE))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("antialiased", [False, True])
def test_composited_views_are_what_the_rasterizer_shows(splats, backend, antialiased):
    cameras = orbit_rig(3, elevations_degrees=(20.0,), width=37, height=21)
    projection = SplatProjection(splats, cameras, antialiased=antialiased)
    colours = torch.rand(3, len(splats))
    background = torch.tensor([0.2, 0.9, 0.4])
    shown = rasterize(projection.coloured(colours), cameras, background, backend=backend, antialiased=antialiased)
    alpha = projection.alpha
    composited = projection.project(colours) * alpha + background[:, None, None] * (1 - alpha)
    # A splat that is cut at an alpha of 1/255 by one and not by the other makes the largest difference.
    torch.testing.assert_close(composited, shown.colour, atol=1 / 255, rtol=0)
    assert float((composited - shown.colour).abs().mean()) < 1e-6
    assert float((alpha[:, 0] - shown.alpha).abs().mean()) < 1e-6


def test_votes_are_the_gradient_of_the_rendering(splats, projection):
    views = torch.rand(projection.instances_shape)
    colours = torch.full((3, len(splats)), 0.5, requires_grad=True)
    bare = projection.coloured(torch.zeros(3, len(splats)))
    worn = Splats(**{**bare.tensors(), "harmonics": harmonics_from_colours(colours.T)})
    shown = rasterize(worn, projection.cameras, torch.zeros(3), backend="reference").colour
    (shown * views).sum().backward()
    # Each splat's sum over hundreds of pixels, in float32.
    torch.testing.assert_close(projection.unproject(views).weighted, colours.grad, atol=2e-3, rtol=1e-3)


def test_the_contract_is_met(projection):
    assert isinstance(projection, Projection)
    assert_linear(projection)
    assert_unprojecting_noise_keeps_the_promised_variance(projection)
    votes = projection.unproject(torch.zeros(projection.instances_shape))
    assert 0.9 < coverage(votes) <= 1


def test_a_constant_comes_back(projection):
    views = projection.project(torch.full(projection.canonical_shape, 0.7))
    covered = (projection.alpha > 0).expand_as(views)
    torch.testing.assert_close(views[covered], torch.full_like(views[covered], 0.7))
    assert not bool(views[~covered].any())
    votes = projection.unproject(views)
    seen = (votes.weights > 0).expand_as(votes.weighted)
    torch.testing.assert_close(average(votes)[seen], torch.full_like(votes.weighted[seen], 0.7))


def test_gradients_pass_both_ways(projection):
    canonical = torch.rand(projection.canonical_shape, requires_grad=True)
    views = torch.rand(projection.instances_shape, requires_grad=True)
    alpha = projection.alpha
    # <W c, I> = <c, W' I>, so either side's gradient is the other map.
    (projection.project(canonical) * alpha * views.detach()).sum().backward()
    torch.testing.assert_close(canonical.grad, projection.unproject(views.detach()).weighted, atol=1e-4, rtol=1e-4)
    (projection.unproject(views).weighted * canonical.detach()).sum().backward()
    torch.testing.assert_close(views.grad, projection.project(canonical.detach()) * alpha, atol=1e-5, rtol=1e-4)


def test_noise_has_unit_variance_in_every_pixel_and_is_one_noise(splats):
    cameras = [*orbit_rig(2, elevations_degrees=(20.0,), width=SIDE, height=SIDE)]
    noise = drawn_views(SplatProjection(splats, [*cameras, cameras[0]], 2))
    count = noise.shape[0] * noise.shape[2]
    # Variances of normal samples scatter by sqrt(2 / n); five deviations of the largest of some thousand pixels.
    assert float((noise.square().mean(dim=(0, 2)) - 1).abs().max()) < 5.5 * (2 / count) ** 0.5
    # Seen from one place twice, it is the same where there are splats, and independent beside them.
    covered = SplatProjection(splats, cameras).alpha[0, 0] > 0
    assert torch.equal(noise[:, 0][..., covered], noise[:, 2][..., covered])
    beside = (noise[:, 0] * noise[:, 2])[..., ~covered]
    assert abs(float(beside.mean())) < 5 / beside.numel() ** 0.5


def test_noise_is_white_where_splats_are_narrow_only():
    camera = [orbit_camera(30, 10, width=SIDE, height=SIDE)]
    middle = slice(SIDE // 3, -SIDE // 3)

    def neighbours(count: int, width: float) -> float:
        noise = drawn_views(SplatProjection(ball(count, width, opacity_logit=4), camera), 100)[..., middle, middle]
        return float((noise[..., 1:] * noise[..., :-1]).mean())

    # The rasterizer's own blur, 0.3 px^2, leaves exp(-1 / (4 * 0.3)) = 0.43 between neighbours at the least.
    assert neighbours(6000, 0.002) < 0.5
    assert neighbours(300, 0.06) > 0.7


def test_memory_grows_with_pixels_and_hardly_with_splats():
    def entries(splats: Splats, side: int) -> int:
        return SplatProjection(splats, [orbit_camera(0, 0, width=side, height=side)]).num_bytes

    few, many = ball(400, 0.06, opacity_logit=3), ball(6400, 0.015, opacity_logit=3)
    assert 3.2 < entries(few, 96) / entries(few, 48) < 4.2
    # Sixteen times as many splats on the same surface, a quarter as wide.
    assert entries(many, 192) / entries(few, 192) < 2


def test_splats_that_no_view_shows_keep_their_colour(splats):
    projection = SplatProjection(splats, [orbit_camera(0, 0, width=8, height=8)])
    worn = projection.coloured(torch.zeros(3, len(splats)))
    seen = projection.unproject(torch.zeros(projection.instances_shape)).weights[0] > 0
    assert bool(seen.any())
    assert not bool(seen.all())
    torch.testing.assert_close(worn.base_colours[seen], torch.zeros(int(seen.sum()), 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(worn.base_colours[~seen], splats.base_colours[~seen])


def test_a_caller_may_stop_and_must_give_a_camera(splats):
    class Stops(SilentProgress):
        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        SplatProjection(splats, [orbit_camera(0, 0, width=8, height=8)], progress=Stops())
    with pytest.raises(ValueError, match="at least one camera"):
        SplatProjection(splats, [])


# --- many to one: what separates cases 2 and 5 ------------------------------------------------------------------------

CHANNELS = 4000
"""Independent channels are so many draws of one process."""


def stack(opacities: list[float]) -> Splats:
    """Splats one behind the other, each wider than any picture of them."""
    count = len(opacities)
    return Splats(
        means=torch.stack([torch.zeros(count), torch.linspace(-0.3, 0.3, count), torch.zeros(count)], 1),
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        log_scales=torch.full((count, 3), 5.0),
        opacity_logits=torch.tensor(opacities).logit(),
        harmonics=torch.zeros(count, 1, 3),
    )


def joint(projection: Projection, denoiser, strategy: StrategyName, steps: int, seed: int = 3) -> Synchronized:
    process = JointProcess(projection, denoiser, None, strategy_named(strategy))
    return synchronize(process, uniform_times(steps), lambda: ddim_step, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("opacities", [[0.4, 0.5, 0.8], [0.25, 1 / 3, 0.5, 0.999]])
def test_blended_views_keep_their_contrast_in_case_2_and_lose_it_in_case_5(opacities):
    """Every pixel shows the same K splats, so a view's clean prediction comes back whole from the splats.

    Case 2 is then plain sampling. In case 5 the view of a canonical noise is u'e with u = W / a, |u| < 1: plain
    sampling from noise that is too weak, and what a linear denoiser makes of it is too weak by the same factor.
    """
    camera = orbit_camera(0, 0, width=2, height=2, field_of_view_degrees=10)
    projection = SplatProjection(stack(opacities), [camera, camera], CHANNELS)
    mean, deviation = -0.2, 0.5
    denoiser = GaussianDenoiser(VariancePreserving(), mean, deviation, (CHANNELS, 2, 2))
    # From the front: transmittance times opacity.
    passed = np.cumprod([1.0, *(1 - np.array(opacities))])[:-1]
    shares = passed * opacities / (passed * opacities).sum()
    times = uniform_times(40)

    case_2, case_5 = (joint(projection, denoiser, name, 40) for name in ("instance-clean", "canonical-clean"))
    noise = projection.initial_noise(torch.Generator().manual_seed(3))
    plain = sample(denoiser, None, times, ddim_step, lambda shape: noise)
    torch.testing.assert_close(case_2.instances, plain, atol=2e-3, rtol=0)
    faint = noise * float(np.sqrt((shares**2).sum()))
    weak = sample(denoiser, None, times, ddim_step, lambda shape: faint)
    torch.testing.assert_close(case_5.instances, weak, atol=2e-3, rtol=0)

    def contrast(result: Synchronized) -> float:
        return float((result.instances[0, :, 0, 0] - mean).square().mean().sqrt()) / deviation

    # A deviation of n samples scatters by 1 / sqrt(2 n), 1.1 %; forty steps end within a hundredth of the data's own.
    assert contrast(case_2) == pytest.approx(1, abs=0.05)
    assert contrast(case_5) == pytest.approx(float(np.sqrt((shares**2).sum())), rel=0.05)
    assert contrast(case_5) < 0.65


def test_a_field_on_splats_keeps_more_contrast_in_case_2_than_in_any_other():
    """A cloud of splats seen from around, as it is used; the field is smooth over several splats."""
    cameras = orbit_rig(6, elevations_degrees=(0.0,), width=16, height=16)
    projection = SplatProjection(ball(3000, 0.02, opacity_logit=-1), cameras)
    ramp = torch.linspace(-3, 3, 32)
    bumps = torch.exp(-(ramp[:, None] ** 2 + ramp[None] ** 2)) * 2 - 1
    field = GaussianField(bumps.expand(3, 32, 32), (16, 16), reach=8)
    inside = (projection.alpha > 0.5).expand(projection.instances_shape)
    mean = field.mean.float()[:, None, None]

    def contrast(strategy: StrategyName) -> float:
        results = [joint(projection, field, strategy, 10, seed).instances for seed in range(3)]
        return float(torch.stack([(views - mean)[inside].square().mean() for views in results]).mean().sqrt())

    case_2, case_5 = contrast("instance-clean"), contrast("canonical-clean")
    assert case_2 > 1.3 * case_5
    assert case_2 > 1.3 * contrast("canonical-noisy")


def test_view_updates_paint_splats(projection):
    denoiser = GaussianDenoiser(VariancePreserving(), 0.3, 0.05, projection.instances_shape[1:])
    result = update_views(
        projection, denoiser, lambda trimap: None, uniform_times(6), lambda: ddim_step, torch.Generator().manual_seed(0)
    )
    votes = projection.unproject(result.instances)
    seen = (votes.weights > 0).expand_as(result.canonical)
    assert result.coverage > 0.9
    # Within four deviations of a pixel of the data.
    assert float((result.canonical[seen] - 0.3).abs().max()) < 0.2
