import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_core.diffusion.samplers import ddim_step, heun_step
from distill_core.diffusion.schedules import VarianceExploding, noise_ratio
from distill_core.distillation.consistency import (
    Consistency,
    DataPairs,
    TeacherPairs,
    earlier_times,
    pairs_of,
    pseudo_huber,
    steps_at,
)
from distill_core.distillation.pace import TrainingStep
from distill_core.distillation.settings import ConsistencySettings, TrainingSettings
from distill_core.distillation.trainer import train
from distill_core.progress import SilentProgress
from tests.distill_core.diffusion.gaussian import GaussianConsistency, GaussianDenoiser
from tests.distill_core.distillation import toys

SCHEDULE = VarianceExploding(0.01, 20.0)
MEAN, DEVIATION = 0.3, 0.5
EXACT = GaussianConsistency(SCHEDULE, MEAN, DEVIATION, (4, 8, 8))
TEACHER = GaussianDenoiser(SCHEDULE, MEAN, DEVIATION, (4, 8, 8))
# Without the pull towards the truth, which no consistency function satisfies.
PURE = ConsistencySettings(seen_weight=0.0)


def loss_of(student, pairs, settings=PURE, fraction=0.0):
    clean = MEAN + DEVIATION * torch.randn(64, 4, 8, 8)
    objective = Consistency(settings, pairs, DEVIATION)
    generator = torch.Generator().manual_seed(0)
    return float(objective(student, toys.view_batch(clean), TrainingStep(0, fraction), generator)[0].detach())


def exact_pairs(noisy, clean, noise, time, next_time, condition):
    return EXACT.at(noisy, time, next_time)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_the_exact_consistency_function_has_no_loss(fraction):
    # In float32 the trajectory is known to about 1e-6 of 20.
    assert loss_of(EXACT, exact_pairs, fraction=fraction) < 1e-5
    # Nothing else has: not even the exact denoiser.
    assert loss_of(TEACHER, exact_pairs, fraction=fraction) > 1e-2


def test_a_better_solver_of_the_teacher_leaves_the_exact_function_less_loss():
    euler, heun = (loss_of(EXACT, TeacherPairs(TEACHER, step), fraction=0.99) for step in (ddim_step, heun_step))
    assert heun < 0.3 * euler
    assert euler < 0.1


def test_a_constant_has_loss():
    # Without the boundary f(x, 0) = x a constant would be a perfect solution.
    class Constant:
        schedule, sample_shape = SCHEDULE, (4, 8, 8)

        def __call__(self, noisy, time, condition):
            return torch.where((time > 0)[:, None, None, None], torch.full_like(noisy, MEAN), noisy)

    assert loss_of(Constant(), exact_pairs) > 0.05


@given(st.floats(1e-6, 1.0), st.integers(1, 100_000))
def test_a_progressive_schedule_never_takes_a_zero_step(time, steps):
    at = torch.tensor([time, 1.0], dtype=torch.float32)
    earlier = earlier_times(at, steps)
    assert (earlier < at).all()
    assert (earlier >= 0).all()
    assert (noise_ratio(SCHEDULE, earlier) <= noise_ratio(SCHEDULE, at)).all()


def test_gaps_narrow_stage_by_stage():
    settings = ConsistencySettings(first_stage_steps=4, num_stages=3)
    assert [steps_at(settings, fraction) for fraction in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [4, 4, 8, 8, 16, 16]


def test_data_pairs_share_picture_and_noise_and_end_at_the_picture():
    clean, noise = torch.randn(2, 3, 4, 8, 8)
    time = torch.tensor([0.9, 0.5, 0.1])
    next_time = earlier_times(time, 4)
    pairs = DataPairs(SCHEDULE)
    neighbour = pairs(clean, clean, noise, time, next_time, toys.condition())
    assert torch.equal(neighbour[2], clean[2])
    sigma = SCHEDULE.sigma(next_time)[0]
    torch.testing.assert_close(neighbour[0], clean[0] + sigma * noise[0])


def test_targets_are_not_trained():
    asked = []

    class Watched(toys.TinyDenoiser):
        def forward(self, noisy, time, condition):
            clean = super().forward(noisy, time, condition)
            asked.append(clean.requires_grad)
            return clean

    student = Watched()
    loss_of(student, TeacherPairs(student, heun_step))
    # Heun's two looks with the teacher, the target, the prediction: only the last one has a gradient.
    assert asked == [False, False, False, True]


def test_guided_pairs_follow_the_guided_teacher():
    class Guided:
        schedule, sample_shape = SCHEDULE, (4, 8, 8)

        def __call__(self, noisy, time, condition):
            return torch.full_like(noisy, float(condition.source_present.mean()))

    settings = ConsistencySettings(teacher_guidance=3.0, solver="ddim")
    noisy, ones = torch.zeros(4, 4, 8, 8), torch.ones(4)
    neighbour = pairs_of(settings, Guided())(noisy, noisy, noisy, ones, torch.zeros(4), toys.condition())
    # u + 3 (c - u) with c = 1, u = 0; DDIM to time 0 keeps sigma_min / sigma_max of the way.
    torch.testing.assert_close(neighbour, torch.full_like(noisy, 3 * (1 - 0.01 / 20)))


@pytest.mark.parametrize("change", [{"pairs": "data"}, {"solver": "ddim"}, {}])
def test_settings_become_pairs(change):
    pairs = pairs_of(ConsistencySettings(**change), TEACHER)
    assert isinstance(pairs, DataPairs if change.get("pairs") == "data" else TeacherPairs)


def test_pseudo_huber_is_a_smooth_root_mean_square():
    difference = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]], requires_grad=True)
    distance = pseudo_huber(difference)
    torch.testing.assert_close(distance, torch.tensor([12.5**0.5, 0.0]), atol=1e-3, rtol=0)
    distance.sum().backward()
    assert difference.grad is not None
    assert torch.isfinite(difference.grad).all()


@pytest.mark.parametrize("pairs", [TeacherPairs(TEACHER, heun_step), DataPairs(SCHEDULE)], ids=["teacher", "data"])
def test_a_trained_network_becomes_the_consistency_function(pairs, tmp_path):
    torch.manual_seed(0)
    student = toys.TinyDenoiser()
    settings = ConsistencySettings(first_stage_steps=8, num_stages=2, seen_weight=0.0)
    training = TrainingSettings(optimizer="adamw", num_steps=350, learning_rate=6e-3, warmup_steps=20, precision="fp32")
    source = toys.GaussianViews(MEAN, DEVIATION, sets=4)
    result = train(student, Consistency(settings, pairs, DEVIATION), source, training, tmp_path, SilentProgress())
    noisy, ones = 20.0 * torch.randn(16, 4, 8, 8), torch.ones(16)
    with torch.no_grad():
        ours, exact = result.average(noisy, ones, None), EXACT(noisy, ones)
    # A denoiser would return the mean, with a deviation of 0.5^2 / 20 = 0.0125. Sixteen links shrink the deviation: by
    # Heun's error (3 %; 13 % of the first stage's eight), more where the picture itself is the neighbour.
    assert float(ours.std()) == pytest.approx(DEVIATION, rel=0.3)
    assert float(torch.corrcoef(torch.stack([ours.flatten(), exact.flatten()]))[0, 1]) > 0.98
    assert float(ours.mean()) == pytest.approx(MEAN, abs=0.15)
