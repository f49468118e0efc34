import pytest
import torch

from distill_core.diffusion.schedules import VarianceExploding, noise_ratio
from distill_core.distillation.denoising import Denoising
from distill_core.distillation.dropping import drop_parts
from distill_core.distillation.noise_levels import error_weight, lognormal_times, times_of_sets
from distill_core.distillation.pace import TrainingStep
from distill_core.distillation.picture_losses import picture_loss, pyramid_magnitude
from distill_core.distillation.settings import DenoisingSettings, DroppingSettings, PictureLossSettings
from tests.distill_core.distillation import toys

STEP = TrainingStep(0, 0.0)


class Recorder:
    """A denoiser that knows the truth and remembers what it was asked."""

    def __init__(self, answer):
        self.schedule, self.sample_shape, self.answer = VarianceExploding(), (4, 8, 8), answer

    def __call__(self, noisy, time, condition):
        self.noisy, self.time, self.condition = noisy, time, condition
        return self.answer


def test_only_the_truth_has_no_loss():
    clean = torch.rand(4, 4, 8, 8)
    objective, batch = Denoising(DenoisingSettings(), 0.5), toys.view_batch(clean)
    loss, figures = objective(Recorder(clean), batch, STEP, torch.Generator().manual_seed(0))
    assert loss == 0
    assert figures["error_at_pure_noise"] == 0
    wrong, _ = objective(Recorder(clean + 0.1), batch, STEP, torch.Generator().manual_seed(0))
    assert wrong > 0


def test_views_of_a_set_share_their_time_and_a_share_of_the_sets_is_pure_noise():
    clean = torch.zeros(2000, 4, 8, 8)
    recorder = Recorder(clean)
    settings = DenoisingSettings(pure_noise_share=0.5)
    Denoising(settings, 0.5)(recorder, toys.view_batch(clean), STEP, torch.Generator().manual_seed(0))
    assert torch.equal(recorder.time[::2], recorder.time[1::2])
    # 1000 sets: standard error 0.016.
    assert float((recorder.time == 1).float().mean()) == pytest.approx(0.5, abs=0.06)
    deviation = recorder.noisy.flatten(1).std(1) / recorder.schedule.sigma(recorder.time)
    # 256 numbers a sample: standard error 0.044.
    assert float((deviation - 1).abs().max()) < 0.25


def test_lognormal_times_are_lognormal():
    schedule = VarianceExploding()
    times = lognormal_times(schedule, 20000, -0.4, 1.4, torch.Generator().manual_seed(0))
    logarithms = noise_ratio(schedule, times).log()
    assert float(logarithms.mean()) == pytest.approx(-0.4, abs=0.04)
    assert float(logarithms.std()) == pytest.approx(1.4, abs=0.04)


def test_time_1_is_exact():
    times = times_of_sets(torch.full((5,), 0.3), 1.0, 3, torch.Generator().manual_seed(0))
    assert times.tolist() == [1.0] * 15


def test_error_weight_evens_out_the_errors_of_the_exact_denoiser():
    # Clean samples of deviation d, known with noise k, keep the deviation d k / sqrt(d^2 + k^2).
    schedule, data = VarianceExploding(), 0.5
    time = torch.linspace(0.3, 1, 8)
    k = schedule.sigma(time)
    left = data * k / (data**2 + k**2).sqrt()
    torch.testing.assert_close(left * error_weight(schedule, time, data, 1e9), torch.full_like(time, data))
    assert float(error_weight(schedule, torch.zeros(1), data, 8.0)) == 8


def test_picture_loss_is_the_documented_sum():
    predicted, clean = torch.full((1, 4, 8, 8), 0.4), torch.zeros(1, 4, 8, 8)
    # A constant error of 0.2 in values 0..1 has no detail: L1 + 3 MSE + 0.5 alpha.
    settings = PictureLossSettings(squared_weight=3, alpha_weight=0.5)
    loss = picture_loss(predicted, clean, torch.ones(1), settings)
    assert float(loss) == pytest.approx(0.2 + 3 * 0.04 + 0.5 * 0.2)


def test_pyramid_counts_fine_detail_more_than_coarse():
    pixel = torch.arange(16)
    fine = ((pixel[:, None] + pixel) % 2 * 2.0 - 1)[None, None]
    coarse = (((pixel[:, None] // 4) + (pixel // 4)) % 2 * 2.0 - 1)[None, None]
    assert pyramid_magnitude(fine) > pyramid_magnitude(coarse) > 0
    assert pyramid_magnitude(torch.ones(1, 1, 16, 16)) == 0


def test_dropped_parts_cannot_be_read():
    everything = DroppingSettings(drop_guide_colour=0, drop_guide_shape=0, drop_guide_normals=0, drop_everything=1)
    dropped = drop_parts(toys.condition(), everything, torch.Generator().manual_seed(0))
    for value in (*vars(dropped.guide).values(), dropped.source, dropped.source_tokens, dropped.source_present):
        assert not value.any()


def test_parts_are_dropped_as_often_as_asked():
    settings = DroppingSettings(drop_guide_colour=0.2, drop_guide_shape=0.4, drop_guide_normals=0, drop_everything=0.5)
    dropped = drop_parts(toys.condition(1000, 2), settings, torch.Generator().manual_seed(0))
    assert float(dropped.source_present.mean()) == pytest.approx(0.5, abs=0.06)
    shares = dropped.guide.present.mean(0).tolist()
    assert shares == pytest.approx([0.4, 0.3, 0.5], abs=0.06)
    # Everything goes together: where the source is dropped, so is the guide of all its views.
    gone = dropped.source_present.repeat_interleave(2) == 0
    assert not dropped.guide.present[gone].any()
