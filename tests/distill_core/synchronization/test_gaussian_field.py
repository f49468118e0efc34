import pytest
import torch

from distill_core.diffusion.schedules import Flow
from distill_core.synchronization.gaussian_field import GaussianField, periodic_component


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.randn(3, 11, 14, dtype=torch.float64) + torch.tensor([0.1, -0.4, 0.2])[:, None, None]


def dense_covariance(field: GaussianField) -> torch.Tensor:
    channels, height, width = field.sample_shape
    places = [(c, y, x) for c in range(channels) for y in range(height) for x in range(width)]
    rows = [[field.covariance(v - y, u - x)[c, d] for d, v, u in places] for c, y, x in places]
    return torch.stack([torch.stack(row) for row in rows])


def test_the_covariance_is_the_pictures_own_under_a_triangle(picture):
    field = GaussianField(picture, (4, 4), 5)
    deviations = picture - picture.mean(dim=(1, 2), keepdim=True)
    for down, right in ((0, 0), (2, 3), (-4, 1), (3, -2)):
        shifted = deviations.roll((-down, -right), (1, 2))
        measured = torch.einsum("cyx,dyx->cd", deviations, shifted) / (11 * 14)
        triangle = (1 - abs(down) / 5) * (1 - abs(right) / 5)
        torch.testing.assert_close(field.covariance(down, right), triangle * measured)
    assert not bool(field.covariance(0, 5).any())


@pytest.mark.parametrize(("window", "reach"), [((5, 4), 4), ((1, 12), 7), ((13, 2), 5), ((3, 3), 1)])
@pytest.mark.parametrize("schedule", [None, Flow()], ids=["cosine", "flow"])
def test_the_denoiser_is_the_expectation_in_closed_form(picture, window, reach, schedule):
    field = GaussianField(picture, window, reach, schedule=schedule, tolerance=1e-10)
    covariance = dense_covariance(field)
    size = len(covariance)
    mean = picture.mean(dim=(1, 2))[:, None, None].expand(field.sample_shape).flatten()
    assert float(torch.linalg.eigvalsh(covariance).min()) > -1e-12
    noisy, times = torch.randn(4, *field.sample_shape, dtype=torch.float64), torch.tensor([1.0, 0.6, 0.2, 0.03])
    clean = field(noisy, times)
    for own_clean, own_noisy, time in zip(clean, noisy, times, strict=True):
        alpha, sigma = field.schedule.alpha(time.double()), field.schedule.sigma(time.double())
        system = alpha**2 * covariance + sigma**2 * torch.eye(size, dtype=torch.float64)
        expected = mean + alpha * covariance @ torch.linalg.solve(system, own_noisy.flatten() - alpha * mean)
        # The residual's tolerance over alpha of a hundred values.
        torch.testing.assert_close(own_clean.flatten(), expected, atol=1e-8, rtol=0)


def test_windows_of_a_batch_do_not_meet(picture):
    field = GaussianField(picture, (6, 6), 5)
    noisy, times = torch.randn(5, 3, 6, 6), torch.linspace(0.1, 1, 5)
    alone = torch.cat([field(one[None], time[None]) for one, time in zip(noisy, times, strict=True)])
    # Solved to 2e-5 of the noisy window, over alpha.
    torch.testing.assert_close(field(noisy, times), alone, atol=2e-3, rtol=0)


def test_the_default_tolerance_is_finer_than_eight_bits(picture):
    exact = GaussianField(picture, (8, 8), 5, tolerance=1e-10)
    quick = GaussianField(picture, (8, 8), 5)
    for time in (0.9, 0.5, 0.1):
        times = torch.full((3,), time)
        alpha, sigma = exact.schedule.alpha(times[:1]), exact.schedule.sigma(times[:1])
        noisy = alpha * 0.5 * torch.randn(3, 3, 8, 8) + sigma * torch.randn(3, 3, 8, 8)
        assert float((exact(noisy, times) - quick(noisy, times)).abs().max()) < 2 / 255


def test_the_periodic_component_has_the_pictures_inside_and_no_jump_at_its_borders():
    columns = torch.linspace(-1, 1, 40, dtype=torch.float64)
    ramp = columns.expand(2, 30, 40) + 0.2
    periodic = periodic_component(ramp)
    torch.testing.assert_close(periodic.mean(dim=(1, 2)), ramp.mean(dim=(1, 2)))
    assert float((periodic[..., 0] - periodic[..., -1]).abs().max()) < 0.1
    wave = torch.cos(2 * torch.pi * torch.arange(40, dtype=torch.float64) / 40).expand(1, 30, 40)
    # A wave that fits the torus jumps by one step of its own at the border, which is all that changes.
    torch.testing.assert_close(periodic_component(wave), wave, atol=0.02, rtol=0)
    # Its Laplacian on the torus is the picture's own with the border jumps taken out (Moisan, 2011, eq. 9).
    rough = torch.randn(1, 12, 15, dtype=torch.float64)
    inside = torch.nn.functional.pad(rough[None], (1, 1, 1, 1), mode="replicate")[0]
    own = inside[:, 2:, 1:-1] + inside[:, :-2, 1:-1] + inside[:, 1:-1, 2:] + inside[:, 1:-1, :-2] - 4 * rough
    part = periodic_component(rough)
    around = sum(part.roll(step, axis) for step in (1, -1) for axis in (1, 2)) - 4 * part
    torch.testing.assert_close(around, own)


def test_what_is_no_window_is_refused(picture):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        GaussianField(picture, (0, 4), 3)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        GaussianField(picture, (4, 4), 0)
