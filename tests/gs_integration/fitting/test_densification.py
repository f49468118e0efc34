import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_camera
from distill_core.errors import UserError
from gs_integration.fitting.densification import error_shares, refine, split_along_longest_axis
from gs_integration.fitting.splat_adam import LearningRates, SplatAdam
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats


def random_splats(count: int) -> Splats:
    generator = torch.Generator().manual_seed(4)
    return Splats(
        means=0.5 * torch.randn(count, 3, generator=generator),
        quaternions_wxyz=torch.randn(count, 4, generator=generator),
        log_scales=-2 + 0.5 * torch.randn(count, 3, generator=generator),
        opacity_logits=torch.randn(count, generator=generator),
        harmonics=torch.rand(count, 1, 3, generator=generator),
    )


def covariances(splats: Splats) -> torch.Tensor:
    from gs_integration.fitting.densification import _rotations

    spread = _rotations(splats.quaternions_wxyz) * splats.scales[:, None, :]
    return spread @ spread.transpose(1, 2)


def test_two_halves_have_the_mean_and_the_covariance_of_the_whole():
    whole = random_splats(30)
    first, second = split_along_longest_axis(whole)
    torch.testing.assert_close((first.means + second.means) / 2, whole.means)
    offset = (first.means - second.means) / 2
    mixed = covariances(first) + offset[:, :, None] * offset[:, None, :]
    torch.testing.assert_close(mixed, covariances(whole), atol=1e-5, rtol=1e-4)


def test_shares_are_blending_weights_times_error():
    splats = random_splats(12)
    leaves = Splats(**{name: tensor.requires_grad_() for name, tensor in splats.tensors().items()})
    camera = orbit_camera(20, 10, width=16, height=16)
    error = torch.rand(16, 16, generator=torch.Generator().manual_seed(1))

    def render(splats: Splats) -> torch.Tensor:
        return rasterize(splats, [camera], torch.zeros(3), backend="cpu").colour[0]

    shares = error_shares(leaves, [(render(leaves), error.expand(3, 16, 16).contiguous())])
    # A splat's weights are what shows when it alone is white and all others are black.
    for index in (0, 5, 11):
        black = torch.full((12, 1, 3), -0.5 / 0.28209479177387814)
        black[index] *= -1
        with torch.no_grad():
            alone = render(Splats(**{**splats.detach().tensors(), "harmonics": black}))
        torch.testing.assert_close(shares[index], 3 * (alone[0] * error).sum(), atol=1e-4, rtol=1e-4)


def test_refining_drops_the_faint_and_reaches_the_wanted_number():
    splats = random_splats(40)
    splats.opacity_logits[:5] = -9
    adam = SplatAdam(splats, LearningRates(), 1.0)
    shares = torch.zeros(40)
    shares[30] = 1
    done = refine(adam, shares, 45, np.random.default_rng(0))
    assert (done.dropped, done.born) == (5, 10)
    assert len(adam.splats) == 45
    # The only splat with an error was split: its place is taken by one half, the other is new.
    halves = split_along_longest_axis(splats.select(torch.tensor([30])))
    for half in halves:
        assert (adam.splats.means - half.means).abs().sum(dim=1).min() == 0


def test_refining_drops_what_lies_outside():
    adam = SplatAdam(random_splats(40), LearningRates(), 1.0)
    right = int((adam.splats.means[:, 0] > 0).sum())
    refine(adam, torch.ones(40), 0, np.random.default_rng(0), outside=lambda means: means[:, 0] <= 0)
    assert len(adam.splats) == right
    assert (adam.splats.means[:, 0] > 0).all()


def test_views_that_agree_on_nothing_are_said_to_a_person():
    splats = random_splats(5)
    splats.opacity_logits[:] = -9
    with pytest.raises(UserError, match="agree"):
        refine(SplatAdam(splats, LearningRates(), 1.0), torch.ones(5), 5, np.random.default_rng(0))
