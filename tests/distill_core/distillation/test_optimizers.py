"""What the optimizer does to single weights, against definitions of Muon and AdamW."""

from typing import Literal

import pytest
import torch
from torch import nn

from distill_core.distillation.optimizers import Optimizer
from distill_core.distillation.settings import TrainingSettings

RATE = 1e-2


def stepped(network: nn.Module, kind: Literal["muon", "adamw"], *, decay: float = 0.0) -> dict[str, torch.Tensor]:
    """The change of each parameter in one step along random gradients."""
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    generator = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    Optimizer(network, TrainingSettings(optimizer=kind, weight_decay=decay)).step(RATE)
    return {name: parameter.detach() - before[name] for name, parameter in network.named_parameters()}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 48, 3), nn.Conv2d(48, 3, 1))


def test_muon_moves_large_matrices_by_a_nearly_orthogonal_matrix_of_adams_size(network: nn.Module):
    change = stepped(network, "muon")
    # Convolutions are matrices of (outputs, inputs x window). Five Newton-Schulz steps leave singular values in
    # 0.7..1.2 (Jordan et al. 2024); 0.2 sqrt(larger side) makes the root mean square 0.2, AdamW's usual one.
    values = torch.linalg.svdvals(change["0.weight"].flatten(1)) / (RATE * 0.2 * 72**0.5)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_small_matrices_and_vectors_follow_adamw_whatever_is_chosen(network: nn.Module):
    change = stepped(network, "muon")
    for name in ("0.bias", "1.weight", "1.bias"):
        # The first step of Adam is the learning rate along the gradient's sign.
        assert torch.allclose(change[name].abs(), torch.full_like(change[name], RATE), rtol=1e-3), name


def test_adamw_moves_every_weight_by_the_learning_rate(network: nn.Module):
    for name, moved in stepped(network, "adamw").items():
        assert torch.allclose(moved.abs(), torch.full_like(moved, RATE), rtol=1e-3), name


def test_what_it_remembers_is_restored(network: nn.Module):
    settings = TrainingSettings(optimizer="muon")
    first = Optimizer(network, settings)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step(RATE)
    kept = {name: tensor.clone() for name, tensor in first.tensors().items()}
    assert {name.split("/")[-1] for name in kept} == {"exp_avg", "exp_avg_sq", "step", "momentum_buffer"}
    other = Optimizer(network, settings)
    other.restore(kept)
    assert {name: tensor.tolist() for name, tensor in other.tensors().items()} == {
        name: tensor.tolist() for name, tensor in kept.items()
    }
