import pytest
import torch

from gs_integration.fitting.splat_adam import _DECAYS, LearningRates, SplatAdam
from gs_integration.splats import Splats

RATES = LearningRates()


def random_splats(count: int, coefficients: int = 4) -> Splats:
    generator = torch.Generator().manual_seed(3)
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, coefficients, 3)]
    return Splats(*(torch.randn(shape, generator=generator) for shape in shapes))


def leave_gradients(splats: Splats, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tensor in splats.tensors().values():
        tensor.grad = torch.randn(tensor.shape, generator=generator)


def test_steps_equal_those_of_torch():
    start = random_splats(50)
    adam = SplatAdam(start, RATES, scene_radius=2.0)
    base, rest = start.harmonics[:, :1].clone(), start.harmonics[:, 1:].clone()
    theirs = {**{k: v.clone() for k, v in start.tensors().items() if k != "harmonics"}, "base": base, "rest": rest}
    rates = RATES.by_field(2.0, 4)
    group_rates = {name: float(rates[name][0]) for name in theirs if name in rates}
    group_rates |= {"base": float(rates["harmonics"][0]), "rest": float(rates["harmonics"][-1])}
    groups = [{"params": [tensor], "lr": group_rates[name]} for name, tensor in theirs.items()]
    reference = torch.optim.Adam(groups, betas=_DECAYS, eps=1e-15)
    for step in range(5):
        leave_gradients(adam.splats, step)
        for name, tensor in theirs.items():
            gradient = adam.splats.harmonics.grad if name in ("base", "rest") else adam.splats.tensors()[name].grad
            assert gradient is not None
            part = {"base": slice(0, 1), "rest": slice(1, None)}.get(name)
            tensor.grad = (gradient if part is None else gradient[:, part]).clone()
        adam.step({})
        reference.step()
    ours = adam.splats.detach()
    # Five steps of float32 sums in another order.
    torch.testing.assert_close(ours.means, theirs["means"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.opacity_logits, theirs["opacity_logits"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.harmonics[:, :1], base, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.harmonics[:, 1:], rest, atol=1e-6, rtol=1e-6)


def test_the_kernel_equals_its_twin_for_other_devices():
    from gs_integration.fitting import splat_adam

    values = [torch.randn(40, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    values[3] = values[3].square()
    rates = torch.linspace(0.1, 0.5, 5, dtype=torch.float64)
    ours, theirs = [part.clone() for part in values], [part.clone() for part in values]
    corrections = [0.3, 0.05]
    arrays = [part.numpy() for part in ours]
    splat_adam.adam_step(arrays[0], arrays[1], arrays[2], arrays[3], rates.numpy(), *_DECAYS, *corrections)
    splat_adam._torch_adam_step(theirs[0], theirs[1], theirs[2], theirs[3], rates.float(), corrections)
    for our_part, their_part in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_part, their_part, atol=1e-6, rtol=1e-5)


def test_splats_that_stay_keep_their_moments_when_others_come_and_go():
    start = random_splats(10)
    adam, alone = SplatAdam(start, RATES, 1.0), SplatAdam(start, RATES, 1.0)
    for each in (adam, alone):
        leave_gradients(each.splats, 1)
        each.step({})
    kept = torch.tensor([7, 2, 5])
    adam.rebuild(kept, random_splats(4))
    assert len(adam.splats) == 7
    for each, rows in ((adam, slice(0, 3)), (alone, kept)):
        for tensor in each.splats.tensors().values():
            tensor.grad = torch.zeros_like(tensor)
            tensor.grad[rows] = 0.5
        each.step({"means": 0.1})
    for name, tensor in adam.splats.detach().tensors().items():
        torch.testing.assert_close(tensor[:3], alone.splats.detach().tensors()[name][kept], atol=0, rtol=0)


def test_finer_harmonics_do_not_change_the_step_of_the_coarse_ones():
    start = random_splats(6, coefficients=1)
    fine, coarse = SplatAdam(start, RATES, 1.0), SplatAdam(start, RATES, 1.0)
    for each in (fine, coarse):
        leave_gradients(each.splats, 1)
        each.step({})
    fine.raise_sh_degree(2)
    assert fine.splats.harmonics.shape == (6, 9, 3)
    assert not fine.splats.harmonics[:, 1:].any()
    for each in (fine, coarse):
        each.splats.harmonics.grad = torch.ones_like(each.splats.harmonics)
        each.step({})
    torch.testing.assert_close(fine.splats.harmonics[:, :1], coarse.splats.harmonics, atol=0, rtol=0)


def test_the_first_step_is_the_learning_rate():
    adam = SplatAdam(random_splats(3), RATES, scene_radius=5.0)
    before = adam.splats.detach().means.clone()
    for tensor in adam.splats.tensors().values():
        tensor.grad = torch.full_like(tensor, -3.0)
    adam.step({"means": 0.5})
    moved = adam.splats.detach().means - before
    assert moved.numpy() == pytest.approx(0.5 * 5.0 * RATES.means, rel=1e-3)
