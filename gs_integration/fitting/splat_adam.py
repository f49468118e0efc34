"""Adam for splats whose number changes while they are optimised."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gs_integration.fitting.adam_kernels import adam_step
from gs_integration.splats import SH_BAND_0, Splats, concatenate

_DECAYS = (0.9, 0.99)
"""Hundreds of steps want a shorter memory of squares than Adam's usual 0.999."""


@dataclass(frozen=True)
class LearningRates:
    """Steps of Adam for each kind of parameter.

    Attributes:
        means: as a share of the scene's radius.
        quaternions_wxyz: quaternions of any length.
        log_scales: natural logarithms.
        opacity_logits: logits.
        colours: sRGB, of the part that does not depend on the direction.
        view_dependence: the same for the other harmonics.
    """

    means: float = 1.6e-3
    quaternions_wxyz: float = 1e-2
    log_scales: float = 4e-2
    opacity_logits: float = 5e-2
    colours: float = 1e-2
    view_dependence: float = 3e-3

    def by_field(self, scene_radius: float, num_coefficients: int) -> dict[str, np.ndarray]:
        """Return the rate of each column of each of the splats' tensors, flattened to [N, D].

        Args:
            scene_radius: world units.
            num_coefficients: of the harmonics.
        """
        harmonics = np.full((num_coefficients, 3), self.view_dependence / SH_BAND_0)
        harmonics[0] = self.colours / SH_BAND_0
        return {
            "means": np.full(3, self.means * scene_radius),
            "quaternions_wxyz": np.full(4, self.quaternions_wxyz),
            "log_scales": np.full(3, self.log_scales),
            "opacity_logits": np.full(1, self.opacity_logits),
            "harmonics": harmonics.ravel(),
        }


class SplatAdam:
    """Splats as leaves of autograd, with their moments.

    Args:
        splats: where to begin; copied.
        rates: learning rates.
        scene_radius: world units.
    """

    def __init__(self, splats: Splats, rates: LearningRates, scene_radius: float) -> None:
        self._rates = rates
        self._scene_radius = scene_radius
        self._steps = 0
        self._set(splats, {}, {})

    def _set(self, splats: Splats, first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
        copies = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, tensor in splats.tensors().items()
        }
        self.splats = Splats(**copies)
        self._first = {name: first.get(name, torch.zeros_like(tensor.detach())) for name, tensor in copies.items()}
        self._second = {name: second.get(name, torch.zeros_like(tensor.detach())) for name, tensor in copies.items()}
        self._column_rates = self._rates.by_field(self._scene_radius, splats.harmonics.shape[1])

    def step(self, rate_factors: dict[str, float]) -> None:
        """Follow the gradients that backward left, and forget them.

        Args:
            rate_factors: by name of a tensor, what its learning rates are multiplied by (1 where not named).
        """
        self._steps += 1
        corrections = [1 - decay**self._steps for decay in _DECAYS]
        for name, tensor in self.splats.tensors().items():
            if tensor.grad is None:
                continue
            rates = self._column_rates[name] * rate_factors.get(name, 1.0)
            values, gradient, first, second = (
                part.detach().reshape(len(self.splats), -1)
                for part in (tensor, tensor.grad, self._first[name], self._second[name])
            )
            if tensor.device.type == "cpu":
                arrays = (values.numpy(), gradient.contiguous().numpy(), first.numpy(), second.numpy())
                adam_step(*arrays, rates, *_DECAYS, *corrections)
            else:
                _torch_adam_step(values, gradient, first, second, torch.as_tensor(rates).to(tensor), corrections)
            tensor.grad = None

    def rebuild(self, kept: Int[Tensor, " rows"], born: Splats | None, *, changed: Splats | None = None) -> None:
        """Keep some splats with their moments and append new ones without.

        Args:
            kept: indices of the splats that stay, in their new order.
            born: appended after them.
            changed: values that the kept splats take instead of their own.
        """
        old = (changed if changed is not None else self.splats.select(kept)).detach()
        num_born = 0 if born is None else len(born)

        def moments(parts: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: torch.cat([part[kept], part.new_zeros(num_born, *part.shape[1:])]) for name, part in parts.items()
            }

        first, second = moments(self._first), moments(self._second)
        self._set(old if born is None else concatenate([old, born.detach()]), first, second)

    def raise_sh_degree(self, degree: int) -> None:
        """Give the colours finer harmonics, which begin at 0.

        Args:
            degree: 0 to 3, not below the present one.
        """
        finer = self.splats.detach().with_sh_degree(degree)
        moments = []
        for parts in (self._first, self._second):
            harmonics = parts["harmonics"]
            missing = harmonics.new_zeros(len(finer), finer.harmonics.shape[1] - harmonics.shape[1], 3)
            moments.append({**parts, "harmonics": torch.cat([harmonics, missing], 1)})
        self._set(finer, *moments)


def _torch_adam_step(
    values: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rates: Tensor, corrections: list[float]
) -> None:
    """`adam_kernels.adam_step` for any device."""
    first.lerp_(gradient, 1 - _DECAYS[0])
    second.mul_(_DECAYS[1]).addcmul_(gradient, gradient, value=1 - _DECAYS[1])
    values.sub_(rates / corrections[0] * first / ((second / corrections[1]).sqrt() + 1e-15))
