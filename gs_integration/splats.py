"""3D Gaussian splats as torch tensors."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_integration.formats.harmonics import COEFFICIENTS_BY_DEGREE, SH_BAND_0


@dataclass(frozen=True, eq=False)
class Splats:
    """N Gaussians with opacity and colour, in the parameters that are optimised and stored (Kerbl et al., 2023).

    Args:
        means: [N, 3] centres in world units.
        quaternions_wxyz: [N, 4] rotations, any length but zero; normalised where they are used.
        log_scales: [N, 3] natural logarithms of the standard deviations along the Gaussian's own axes.
        opacity_logits: [N] opacity before the logistic function.
        harmonics: [N, K, 3] coefficients of spherical harmonics for red, green, blue, K = 1, 4, 9 or 16 for degree
            0 to 3; [:, 0] is what files call f_dc.

    Raises:
        ValueError: shapes that do not belong together, or tensors on several devices or of several precisions.
    """

    means: Float[Tensor, "splats 3"]
    quaternions_wxyz: Float[Tensor, "splats 4"]
    log_scales: Float[Tensor, "splats 3"]
    opacity_logits: Float[Tensor, " splats"]
    harmonics: Float[Tensor, "splats coefficients 3"]

    def __post_init__(self) -> None:
        num_splats = self.means.shape[0]
        num_coefficients = self.harmonics.shape[1] if self.harmonics.ndim == 3 else 0
        expected_shapes = {
            "means": (num_splats, 3),
            "quaternions_wxyz": (num_splats, 4),
            "log_scales": (num_splats, 3),
            "opacity_logits": (num_splats,),
            "harmonics": (num_splats, num_coefficients, 3),
        }
        for name, expected in expected_shapes.items():
            if tuple(getattr(self, name).shape) != expected:
                raise ValueError(f"Splats.{name}: expected shape {expected}, got {tuple(getattr(self, name).shape)}")
        if num_coefficients not in COEFFICIENTS_BY_DEGREE:
            raise ValueError(f"Splats.harmonics: expected 1, 4, 9 or 16 coefficients, got {num_coefficients}")
        kinds = {(tensor.dtype, tensor.device) for tensor in self.tensors().values()}
        if len(kinds) != 1:
            raise ValueError(f"Splats: expected tensors of one precision on one device, got {sorted(map(str, kinds))}")

    def __len__(self) -> int:
        """Return the number of splats."""
        return self.means.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """Return the five tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def scales(self) -> Float[Tensor, "splats 3"]:
        """Standard deviations in world units, positive."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, " splats"]:
        """Opacities in 0..1."""
        return self.opacity_logits.sigmoid()

    @property
    def base_colours(self) -> Float[Tensor, "splats 3"]:
        """The part of the colour that does not depend on the direction, sRGB; may leave 0..1."""
        return 0.5 + SH_BAND_0 * self.harmonics[:, 0]

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return COEFFICIENTS_BY_DEGREE.index(self.harmonics.shape[1])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.means.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the tensors."""
        return self.means.dtype

    def to(self, target: torch.device | torch.dtype | str) -> "Splats":
        """Return the same splats on another device or in another precision."""
        return Splats(**{name: tensor.to(target) for name, tensor in self.tensors().items()})

    def detach(self) -> "Splats":
        """Return the same values without their history of gradients."""
        return Splats(**{name: tensor.detach() for name, tensor in self.tensors().items()})

    def select(self, rows: Bool[Tensor, " splats"] | Int[Tensor, " rows"]) -> "Splats":
        """Return some of the splats, by mask or by index (repeats allowed)."""
        return Splats(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def with_sh_degree(self, degree: int) -> "Splats":
        """Return the same splats with a higher degree (new coefficients 0) or a lower one (cut off).

        Args:
            degree: 0 to 3.
        """
        num_coefficients = COEFFICIENTS_BY_DEGREE[degree]
        kept = self.harmonics[:, :num_coefficients]
        missing = kept.new_zeros(len(self), num_coefficients - kept.shape[1], 3)
        return replace(self, harmonics=torch.cat([kept, missing], 1))


def concatenate(parts: list[Splats]) -> Splats:
    """Join splats of one SH degree, precision and device, in order.

    Args:
        parts: at least one.
    """
    return Splats(
        **{name: torch.cat([part.tensors()[name] for part in parts]) for name in parts[0].tensors()},
    )


def harmonics_from_colours(colours: Float[Tensor, "splats 3"]) -> Float[Tensor, "splats 1 3"]:
    """Coefficients of degree 0 for sRGB colours.

    Args:
        colours: [N, 3] sRGB, 0..1.

    Returns:
        [N, 1, 3].
    """
    return ((colours - 0.5) / SH_BAND_0)[:, None]
