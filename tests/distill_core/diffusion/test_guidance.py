"""Guidance of a denoiser that says what it is told: a pair of numbers, for the instruction and for the picture."""

from typing import Any

import pytest
import torch
from torch import Tensor

from distill_core.diffusion.guidance import ClassifierFreeGuidance, InstructionGuidance
from distill_core.diffusion.schedules import Schedule, VariancePreserving


class Sum:
    def __init__(self) -> None:
        self.schedule: Schedule = VariancePreserving()
        self.sample_shape = (1, 2, 2)

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        return torch.full_like(noisy, sum(condition))


NOISY, TIME = torch.zeros(1, 1, 2, 2), torch.ones(1)


@pytest.mark.parametrize(
    ("instruction", "picture", "expected"),
    [(1.0, 1.0, 13.0), (0.0, 1.0, 10.0), (0.0, 0.0, 0.0), (12.0, 1.5, 12 * 3 + 1.5 * 10)],
)
def test_instruction_and_picture_are_strengthened_apart(instruction, picture, expected):
    guided = InstructionGuidance(
        Sum(), instruction, picture, lambda condition: (0.0, condition[1]), lambda condition: (0.0, 0.0)
    )
    assert float(guided(NOISY, TIME, (3.0, 10.0)).mean()) == pytest.approx(expected)
    assert guided.sample_shape == (1, 2, 2)
    assert guided.schedule == VariancePreserving()


def test_with_one_scale_for_both_it_is_plain_guidance():
    scale = 7.0
    twofold = InstructionGuidance(Sum(), scale, scale, lambda told: (0.0, told[1]), lambda told: (0.0, 0.0))
    plain = ClassifierFreeGuidance(Sum(), scale, lambda told: (0.0, 0.0))
    told = (3.0, 10.0)
    torch.testing.assert_close(twofold(NOISY, TIME, told), plain(NOISY, TIME, told))
