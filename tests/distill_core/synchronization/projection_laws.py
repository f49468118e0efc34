"""Laws that projections keep, stated once."""

import torch
from torch import Tensor

from distill_core.synchronization.projections import Projection, average, variance_share

DRAWS = 400


def drawn_views(projection: Projection, draws: int = DRAWS) -> Tensor:
    """[draws, V, C, h, w] initial noise."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack([projection.initial_noise(generator) for _ in range(draws)])


def assert_round_trip_is_identity(projection: Projection, canonical: Tensor) -> None:
    """Unprojecting a projection gives back what a view sees, and the views of it again."""
    views = projection.project(canonical)
    votes = projection.unproject(views)
    covered = (votes.weights > 0).expand_as(canonical)
    # A mean of equal float32 values is off by a rounding or two.
    torch.testing.assert_close(average(votes)[covered], canonical[covered], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(projection.project(average(votes)), views, atol=1e-6, rtol=1e-6)


def assert_noise_is_standard_normal(projection: Projection) -> None:
    """Mean 0, variance 1 in every pixel, no correlation between neighbours."""
    noise = drawn_views(projection)
    count = noise.shape[0] * noise.shape[2]
    # Variances of normal samples scatter by sqrt(2 / n); five deviations of the largest of some thousand pixels.
    spread = (2 / count) ** 0.5
    assert float((noise.square().mean(dim=(0, 2)) - 1).abs().max()) < 5.5 * spread
    assert float(noise.mean(dim=(0, 2)).abs().max()) < 5.5 / count**0.5
    for shifted, rest in ((noise[..., 1:], noise[..., :-1]), (noise[..., 1:, :], noise[..., :-1, :])):
        if shifted.numel():
            assert abs(float((shifted * rest).mean())) < 5 / shifted.numel() ** 0.5


def assert_linear(projection: Projection) -> None:
    """Projection and average commute with sums and factors."""
    first, second = (torch.randn(projection.canonical_shape) for _ in range(2))
    torch.testing.assert_close(
        projection.project(2 * first - second),
        2 * projection.project(first) - projection.project(second),
        atol=1e-5,
        rtol=1e-5,
    )
    ours, others = (torch.randn(projection.instances_shape) for _ in range(2))
    torch.testing.assert_close(
        average(projection.unproject(2 * ours - others)),
        2 * average(projection.unproject(ours)) - average(projection.unproject(others)),
        atol=1e-5,
        rtol=1e-5,
    )


def assert_unprojecting_noise_keeps_the_promised_variance(projection: Projection) -> None:
    """Independent noise, averaged, has the variance that `variance_share` says."""
    generator = torch.Generator().manual_seed(2)
    votes = projection.unproject(torch.zeros(projection.instances_shape))
    share, total = variance_share(votes), torch.zeros_like(votes.weighted)
    for _ in range(DRAWS):
        drawn = torch.randn(projection.instances_shape, generator=generator)
        total += average(projection.unproject(drawn)).square()
    measured = total / DRAWS
    covered = (votes.weights > 0).expand_as(measured)
    relative = (measured / share.expand_as(measured))[covered]
    assert float((relative - 1).abs().max()) < 6 * (2 / DRAWS) ** 0.5
    assert abs(float(relative.mean()) - 1) < 0.02
