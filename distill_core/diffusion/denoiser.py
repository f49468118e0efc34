"""The one contract of everything that removes noise."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from distill_core.diffusion.schedules import Schedule

Condition = TypeVar("Condition", contravariant=True)


@runtime_checkable  # the shape checks of the tests ask
class Denoiser(Protocol[Condition]):
    """Predicts the clean sample in a noisy one, whatever its network says inside.

    Views of one set may attend to each other; sets are independent; permuting the views of a set permutes the
    results; a set of one is legal.
    """

    @property
    def schedule(self) -> Schedule:
        """The schedule whose noisy samples and times it reads."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: channels, height, width."""
        ...

    def __call__(self, noisy: Tensor, time: Tensor, condition: Condition, /) -> Tensor:
        """Return the clean prediction.

        Args:
            noisy: [B, C, H, W] samples at `time`.
            time: [B] in 0..1, 0 clean, 1 noise.
            condition: Whatever the denoiser was trained to be told about the B samples.

        Returns:
            [B, C, H, W] clean samples.
        """
        ...


class Watched:
    """A denoiser whose last prediction can be looked at.

    Attributes:
        clean: the last prediction.
    """

    clean: Tensor

    def __init__(self, denoiser: Denoiser[Any]) -> None:
        self._denoiser = denoiser
        self.schedule = denoiser.schedule
        self.sample_shape = denoiser.sample_shape

    def __call__(self, noisy: Tensor, time: Tensor, condition: Any) -> Tensor:
        """Return what the denoiser says, and keep it."""
        self.clean = self._denoiser(noisy, time, condition)
        return self.clean
