"""Views that are edited while splats are fitted to them. The edit that is checked turns red, green, blue round."""

import numpy as np
import pytest
import torch

from distill_core.cameras import Camera, orbit_rig
from distill_core.diffusion.schedules import VariancePreserving, add_noise
from distill_core.pictures.images import unpremultiply
from distill_core.progress import SilentProgress
from gs_integration.fitting.dataset_update import DatasetUpdate, DenoisedEdit, checked_edit
from gs_integration.fitting.optimization import fit_splats
from gs_integration.fitting.settings import capture_settings
from gs_integration.fitting.splat_adam import LearningRates
from gs_integration.fitting.view_corrections import ViewCorrections
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats
from tests.distill_core.diffusion.gaussian import GaussianConsistency, GaussianDenoiser

SIDE = 32
SETTINGS = capture_settings(
    iterations=120, num_splats=300, max_splats=300, refinements=0, harmonics_degree=0, half_resolution_share=0.0
)


def ball() -> Splats:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(300, 3, generator=generator), dim=1)
    return Splats(
        means=directions * 0.6,
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).repeat(300, 1),
        log_scales=torch.full((300, 3), -2.5),
        opacity_logits=torch.full((300,), 3.0),
        harmonics=torch.tensor([1.2, -0.5, -1.2]).expand(300, 1, 3) + 0.3 * torch.sin(directions * 3)[:, None],
    )


def render(splats: Splats, cameras: list[Camera]) -> np.ndarray:
    """Straight RGBA."""
    with torch.no_grad():
        drawn = rasterize(splats, cameras, torch.zeros(3), backend="cpu")
    return unpremultiply(torch.cat([drawn.colour, drawn.alpha[:, None]], 1).clamp(0, 1).numpy())


def turned_round(picture: np.ndarray) -> np.ndarray:
    return picture[..., [2, 0, 1, 3], :, :]


def colour_error(splats: Splats, cameras: list[Camera], truth: np.ndarray) -> float:
    drawn = render(splats, cameras)
    return float(np.square(drawn[:, :3] * drawn[:, 3:] - truth[:, :3] * truth[:, 3:]).mean())


@pytest.fixture(scope="module")
def views() -> tuple[list[Camera], np.ndarray]:
    cameras = orbit_rig(4, elevations_degrees=(0.0, 40.0), width=SIDE, height=SIDE)
    return cameras, render(ball(), cameras)


def test_splats_take_the_colours_of_the_edits(views):
    cameras, pictures = views
    asked: list[int] = []

    def edit(shown: np.ndarray, original: np.ndarray, view: int) -> np.ndarray:
        asked.append(view)
        assert np.array_equal(original, pictures[view])
        if len(asked) == 1:
            # The splats begin as the truth, so they show the original at first.
            np.testing.assert_allclose(shown, original, atol=1e-5)
        return turned_round(original)

    update = DatasetUpdate(edit, every=5)
    # Colours have 0.7 to go; at the usual rate 120 steps, which grow ten times smaller, can add up to 0.5 at most.
    rates = LearningRates(colours=3e-2)
    fitted = fit_splats(cameras, pictures, ball(), SETTINGS, SilentProgress(), rates=rates, update=update)
    assert len(asked) == 24
    assert sorted(asked[: len(cameras)]) == list(range(len(cameras)))
    unseen = orbit_rig(3, elevations_degrees=(20.0,), width=SIDE, height=SIDE)
    truth = turned_round(render(ball(), unseen))
    assert colour_error(fitted.splats, unseen, truth) < 0.15 * colour_error(ball(), unseen, truth)


def test_edits_begin_when_they_are_due_and_change_nothing_before(views):
    cameras, pictures = views
    settings = SETTINGS.model_copy(update={"iterations": 12})
    plain = fit_splats(cameras, pictures, ball(), settings, SilentProgress())
    update = DatasetUpdate(lambda shown, original, view: 1 - original, every=3, first_step=8)
    updated = fit_splats(cameras, pictures, ball(), settings, SilentProgress(), update=update)
    assert updated.losses[:8] == plain.losses[:8]
    assert updated.losses[8:] != plain.losses[8:]
    assert [step for step in range(20) if update.due(step)] == [8, 11, 14, 17]


def test_what_was_learned_of_a_view_is_forgotten_with_its_picture():
    corrections = ViewCorrections(2, None, gains=True, flows=True)
    corrections.gains[:], corrections.offsets[:] = 1.3, 0.1
    corrections.forget(1)
    assert corrections.gains[1].tolist() == [1, 1, 1]
    assert corrections.offsets[1].tolist() == [0, 0, 0]
    np.testing.assert_allclose(corrections.gains[0], 1.3)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_denoiser_takes_the_render_to_the_end_of_its_trajectory(channels):
    generator = np.random.default_rng(0)
    shown = generator.uniform(0.2, 0.8, (4, 6, 5)).astype(np.float32)
    original = shown.copy()
    original[3] = 1
    shown[3] = 1
    schedule, strength = VariancePreserving(), 0.4
    denoiser = GaussianDenoiser(schedule, mean=0.2, deviation=0.4, sample_shape=(channels, 6, 5))
    told = []

    def condition(original: np.ndarray, view: int) -> None:
        told.append((original, view))

    def edit(steps: int) -> np.ndarray:
        own = torch.Generator().manual_seed(3)
        return DenoisedEdit(denoiser, condition, own, (strength, strength), steps)(shown, original, 5)

    assert edit(1).shape == (4, 6, 5)
    assert told[0][0] is original
    assert told[0][1] == 5
    # The same draws: the strength, then the noise.
    again = torch.Generator().manual_seed(3)
    torch.rand((), generator=again)
    time = torch.tensor([strength])
    clean = torch.from_numpy(shown[:channels])[None] * 2 - 1
    noisy = add_noise(schedule, clean, torch.randn(clean.shape, generator=again), time)
    exact = GaussianConsistency(schedule, mean=0.2, deviation=0.4)(noisy, time)[0, :3].numpy() * 0.5 + 0.5
    if channels == 4:
        # Colours are premultiplied by an alpha that the denoiser has changed as well.
        alpha = GaussianConsistency(schedule, mean=0.2, deviation=0.4)(noisy, time)[0, 3:].numpy() * 0.5 + 0.5
        exact = exact / alpha.clip(1e-6, 1)
    errors = [float(np.abs(edit(steps)[:3] - exact.clip(0, 1)).max()) for steps in (4, 40)]
    # First order: ten times the steps, a tenth of the error.
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.01


def test_almost_no_noise_leaves_the_render_as_it_is():
    shown = np.random.default_rng(0).uniform(0.2, 0.8, (4, 6, 5)).astype(np.float32)
    denoiser = GaussianDenoiser(VariancePreserving(), sample_shape=(4, 6, 5))
    edit = DenoisedEdit(denoiser, lambda original, view: None, torch.Generator().manual_seed(0), (1e-5, 1e-5))
    np.testing.assert_allclose(edit(shown, shown, 0), shown, atol=2e-4)


def test_edits_that_cannot_be_used_are_refused(views):
    render = np.zeros((4, 6, 5), np.float32)
    with pytest.raises(ValueError, match="expected an edit of shape"):
        checked_edit(lambda shown, original, view: shown[:, :3], render, render, 0)
    with pytest.raises(FloatingPointError, match="view 7"):
        checked_edit(lambda shown, original, view: shown * np.nan, render, render, 7)
    with pytest.raises(ValueError, match="every >= 1"):
        DatasetUpdate(lambda shown, original, view: shown, every=0)
    denoiser = GaussianDenoiser(VariancePreserving(), sample_shape=(4, 8, 8))
    with pytest.raises(ValueError, match="expected a denoiser"):
        DenoisedEdit(denoiser, lambda original, view: None, torch.Generator())(render, render, 0)
