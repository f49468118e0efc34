import pytest
import torch

from distill_core.synchronization.ambiguous import ambiguous_views, jigsaw_orbits
from distill_core.synchronization.ambiguous_names import AMBIGUOUS_VIEWS, AmbiguousView
from distill_core.synchronization.panorama import panorama_windows, window_starts
from distill_core.synchronization.pixel_copies import PixelCopies
from distill_core.synchronization.projections import average, average_noise, coverage, variance_share
from distill_core.synchronization.sequences import handover, sequence_windows
from tests.distill_core.synchronization.projection_laws import (
    assert_linear,
    assert_noise_is_standard_normal,
    assert_round_trip_is_identity,
    assert_unprojecting_noise_keeps_the_promised_variance,
)

PROJECTIONS = {
    "panorama": lambda: panorama_windows((2, 9, 21), (6, 8), (3, 5)),
    "closed panorama": lambda: panorama_windows((2, 8, 24), (8, 8), (8, 6), closed=True),
    "sequence": lambda: sequence_windows(3, 40, 12, 5),
    "closed sequence": lambda: sequence_windows(3, 40, 12, 7, closed=True),
    "ambiguous": lambda: ambiguous_views(2, 12, AMBIGUOUS_VIEWS, seed=3),
}


@pytest.mark.parametrize("make", PROJECTIONS.values(), ids=PROJECTIONS)
def test_copies_keep_the_laws_of_projections(make):
    projection = make()
    assert_linear(projection)
    assert_round_trip_is_identity(projection, torch.randn(projection.canonical_shape))
    assert_noise_is_standard_normal(projection)
    assert_unprojecting_noise_keeps_the_promised_variance(projection)
    assert coverage(projection.unproject(torch.zeros(projection.instances_shape))) == 1


@pytest.mark.parametrize(
    ("length", "window", "stride", "starts"),
    [(10, 4, 3, [0, 3, 6]), (11, 4, 3, [0, 3, 6, 7]), (4, 4, 2, [0]), (9, 4, 4, [0, 4, 5])],
)
def test_the_last_window_is_flush(length, window, stride, starts):
    assert window_starts(length, window, stride) == starts


@pytest.mark.parametrize(("window", "stride"), [(0, 1), (12, 3), (4, 5), (4, 0)])
def test_windows_that_leave_gaps_are_refused(window, stride):
    with pytest.raises(ValueError, match="expected a"):
        window_starts(11, window, stride)


def test_a_closed_panorama_turns_with_its_windows():
    projection = panorama_windows((1, 4, 24), (4, 8), (4, 6), closed=True)
    panorama = torch.randn(1, 4, 24)
    torch.testing.assert_close(projection.project(panorama.roll(6, 2)), projection.project(panorama).roll(1, 0))


def test_windows_are_crops():
    panorama = torch.randn(2, 9, 21)
    views = panorama_windows((2, 9, 21), (6, 8), (3, 5)).project(panorama)
    torch.testing.assert_close(views[0], panorama[:, :6, :8])
    torch.testing.assert_close(views[-1], panorama[:, -6:, -8:])


def test_handovers_sum_to_one():
    weights = handover(12, 5)
    torch.testing.assert_close(weights[-5:] + weights[:5], torch.ones(5))
    assert bool((weights[5:-5] == 1).all())


@pytest.mark.parametrize("view", AMBIGUOUS_VIEWS)
def test_every_ambiguous_view_is_orthogonal(view):
    projection = ambiguous_views(1, 12, [view], seed=5)
    matrix = torch.stack([projection.project(one.reshape(1, 12, 12)).flatten() for one in torch.eye(144)])
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(144))
    if view != "identity":
        assert not torch.equal(matrix, torch.eye(144))


def test_views_do_to_a_picture_what_their_names_say():
    picture = torch.randn(1, 8, 8)
    names: list[AmbiguousView] = ["flip", "mirror", "rotate-90", "rotate-180", "negate", "skew", "inner-circle"]
    flip, mirror, turned, half, negative, skew, disc = ambiguous_views(1, 8, names).project(picture)
    assert torch.equal(flip, picture.flip(1))
    assert torch.equal(mirror, picture.flip(2))
    assert torch.equal(turned, torch.rot90(picture, 1, (1, 2)))
    assert torch.equal(half, picture.flip(1, 2))
    assert torch.equal(negative, -picture)
    assert torch.equal(skew[0, :, 6], picture[0, :, 6].roll(2))
    assert torch.equal(disc[0, 0], picture[0, 0])
    assert torch.equal(disc[0, 3:5, 3:5], torch.rot90(picture[0, 3:5, 3:5], 1, (0, 1)))


def test_the_jigsaw_is_the_same_after_a_quarter_turn_and_has_knobs():
    orbits = jigsaw_orbits(64, 0)
    assert (orbits == torch.from_numpy(orbits.copy()).rot90(1, (0, 1)).numpy()).all()
    squares = orbits[8::16, 8::16].repeat(16, 0).repeat(16, 1)
    assert 0.02 < (orbits != squares).mean() < 0.3
    assert [(orbits == orbit).sum() > 500 for orbit in range(4)] == [True] * 4


def test_averaging_independent_noises_loses_variance_and_the_average_of_noise_keeps_it():
    copies = PixelCopies((1, 30, 30), (1, 30, 30), torch.arange(900).expand(8, 900))
    noise = torch.randn(8, 1, 30, 30, generator=torch.Generator().manual_seed(0))
    mean = average(copies.unproject(noise))
    # 900 samples: a standard deviation is known to 1 / sqrt(1800) of itself.
    assert float(mean.std()) == pytest.approx(8**-0.5, rel=0.1)
    assert float(average_noise(copies, noise).std()) == pytest.approx(1, rel=0.1)
    torch.testing.assert_close(variance_share(copies.unproject(noise)), torch.full((1, 30, 30), 1 / 8))


def test_the_average_of_noise_leaves_shared_noise_alone():
    projection = panorama_windows((3, 16, 64), (16, 16), (16, 4))
    shared = projection.initial_noise(torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        average_noise(projection, 0.7 * shared), 0.7 * average(projection.unproject(shared)), atol=1e-5, rtol=1e-5
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"pixels in 0\.\.8"):
        PixelCopies((1, 3, 3), (1, 1, 2), torch.tensor([[0, 9]]))
    with pytest.raises(ValueError, match="weights above 0"):
        PixelCopies((1, 3, 3), (1, 1, 2), torch.tensor([[0, 1]]), weights=torch.zeros(2))
    with pytest.raises(ValueError, match="multiple of 4"):
        ambiguous_views(3, 10, ["jigsaw"])
    with pytest.raises(ValueError, match="at least one view"):
        ambiguous_views(3, 12, [])
