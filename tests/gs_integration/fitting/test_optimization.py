import numpy as np
import pytest
import torch

from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.errors import Cancelled
from distill_core.pictures.images import unpremultiply
from distill_core.progress import SilentProgress
from gs_integration.fitting.initialization import splats_from_hull
from gs_integration.fitting.optimization import FitResult, fit_splats
from gs_integration.fitting.settings import FitSettings, capture_settings
from gs_integration.fitting.visual_hull import Pictures, visual_hull
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

SETTINGS = capture_settings(iterations=120, num_splats=800, max_splats=1200, refinements=4, harmonics_degree=1)
UNSEEN = [orbit_camera(azimuth, 25, width=64, height=64) for azimuth in (20, 140, 260)]


def true_splats() -> Splats:
    """A ball of coloured splats."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=1)
    return Splats(
        means=directions * torch.tensor([0.6, 0.4, 0.5]),
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).repeat(400, 1),
        log_scales=torch.full((400, 3), -3.0),
        opacity_logits=torch.full((400,), 3.0),
        harmonics=torch.sin(directions * 4)[:, None],
    )


def render(splats: Splats, cameras: list[Camera]) -> np.ndarray:
    """Straight RGBA."""
    with torch.no_grad():
        drawn = rasterize(splats, cameras, torch.zeros(3), backend="cpu")
    return unpremultiply(torch.cat([drawn.colour, drawn.alpha[:, None]], 1).clamp(0, 1).numpy())


def mean_error(splats: Splats, cameras: list[Camera], truth: np.ndarray) -> float:
    drawn = render(splats, cameras)
    return float(np.square(drawn[:, :3] * drawn[:, 3:] - truth[:, :3] * truth[:, 3:]).mean())


@pytest.fixture(scope="module")
def views() -> tuple[list[Camera], np.ndarray, Splats]:
    cameras = orbit_rig(8, elevations_degrees=(10.0, 40.0), width=64, height=64)
    pictures = render(true_splats(), cameras)
    hull = visual_hull(cameras, pictures[:, 3], resolution=32)
    return cameras, pictures, splats_from_hull(hull, cameras, pictures, num_splats=SETTINGS.num_splats)


def fit(views: tuple[list[Camera], Pictures, Splats], settings: FitSettings = SETTINGS, **options) -> FitResult:
    return fit_splats(*views, settings, SilentProgress(), **options)


@pytest.fixture(scope="module")
def fitted(views: tuple[list[Camera], np.ndarray, Splats]) -> FitResult:
    return fit(views)


def test_unseen_views_come_nearer_to_the_truth(views, fitted):
    truth = render(true_splats(), UNSEEN)
    assert mean_error(fitted.splats, UNSEEN, truth) < 0.3 * mean_error(views[2], UNSEEN, truth)
    assert np.mean(fitted.losses[-8:]) < 0.5 * np.mean(fitted.losses[:8])
    assert fitted.splats.sh_degree == 1
    assert fitted.counts[-1] == SETTINGS.max_splats == len(fitted.splats)
    assert not fitted.splats.means.requires_grad


def test_the_same_seed_gives_the_same_bits_whatever_the_threads(views, fitted):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        again = fit(views)
    finally:
        torch.set_num_threads(threads)
    assert again.losses == fitted.losses
    for name, tensor in fitted.splats.tensors().items():
        assert torch.equal(tensor, again.splats.tensors()[name]), name


def test_the_initial_splats_are_not_changed(views):
    before = views[2].means.clone()
    fit(views, SETTINGS.model_copy(update={"iterations": 3}))
    assert torch.equal(views[2].means, before)


def test_generated_views_are_corrected_and_the_source_is_not(views):
    cameras, pictures, initial = views
    drifting = pictures.copy()
    drifting[1:, :3] *= np.random.default_rng(0).uniform(0.75, 1.0, (len(pictures) - 1, 1, 1, 1))
    plain_settings = FitSettings(
        iterations=160, num_splats=800, max_splats=800, robust_width=0.03, silhouette_weight=0.5
    )
    corrected = plain_settings.model_copy(update={"correct_colours": True, "correct_flow": True})
    result = fit((cameras, drifting, initial), corrected, source_view=0)
    assert (result.gains[0] == 1).all()
    assert result.gains[1:].std() > 0.03
    plain = fit((cameras, drifting, initial), plain_settings, source_view=0)
    truth = render(true_splats(), UNSEEN)
    assert mean_error(result.splats, UNSEEN, truth) < mean_error(plain.splats, UNSEEN, truth)


def test_views_may_differ_in_size(views):
    cameras, pictures, initial = views
    cut = [cameras[0].cropped(0, 8, 64, 50), *cameras[1:]]
    result = fit((cut, [pictures[0][:, 8:58], *pictures[1:]], initial), SETTINGS.model_copy(update={"iterations": 20}))
    assert len(result.losses) == 20


def test_splats_stay_in_the_hull(views):
    cameras, pictures, initial = views
    hull = visual_hull(cameras, pictures[:, 3], resolution=32)
    astray = Splats(**{**initial.tensors(), "means": initial.means + torch.tensor([0.5, 0, 0])})
    result = fit((cameras, pictures, astray), SETTINGS.model_copy(update={"iterations": 30}), hull=hull)
    inside = hull.contains(result.splats.means.double().numpy(), dilation_voxels=4)
    assert inside.mean() > 0.95


class CancelAfter(SilentProgress):
    def __init__(self, steps: int) -> None:
        self.left = steps
        self.previews = 0

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        self.previews += preview is not None
        self.left -= n
        if self.left < 0:
            raise Cancelled


def test_a_caller_can_cancel_and_sees_previews(views):
    progress = CancelAfter(30)
    with pytest.raises(Cancelled):
        fit_splats(views[0], views[1], views[2], SETTINGS, progress)
    assert progress.left == -1
    assert progress.previews >= 2


def test_what_is_not_finite_is_not_fitted(views):
    cameras, pictures, initial = views
    broken = pictures.copy()
    broken[:, 0, 3, 3] = np.nan
    with pytest.raises(FloatingPointError):
        fit((cameras, broken, initial), SETTINGS.model_copy(update={"iterations": 10}))


def test_cameras_and_pictures_that_do_not_belong_together_are_refused(views):
    cameras, pictures, initial = views
    with pytest.raises(ValueError, match="one picture a camera"):
        fit((cameras[:3], pictures, initial))
    with pytest.raises(ValueError, match="expected a picture"):
        fit((cameras, pictures[:, :, :32], initial))
