"""Learning to remove noise of every strength: the teacher, and at pure noise already a one-step regression."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill_core.diffusion.denoiser import Denoiser
from distill_core.diffusion.schedules import add_noise
from distill_core.distillation.dropping import drop_parts
from distill_core.distillation.noise_levels import error_weight, lognormal_times, times_of_sets
from distill_core.distillation.pace import TrainingStep
from distill_core.distillation.picture_losses import picture_loss
from distill_core.distillation.settings import DenoisingSettings
from distill_core.distillation.view_source import ViewBatch


@dataclass(frozen=True)
class Denoising:
    """The objective: the distance of the clean prediction from the truth.

    Args:
        settings: Noise levels, losses, dropping.
        sigma_data: Standard deviation of the pictures' values in -1..1.
    """

    settings: DenoisingSettings
    sigma_data: float

    def __call__(
        self, student: Denoiser[Any], batch: ViewBatch, step: TrainingStep, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean absolute error (values 0..1) at pure noise and elsewhere.

        Args:
            student: What learns.
            batch: Views and what is known of them.
            step: Not used; every objective is called alike.
            generator: Of times, noise and dropping.
        """
        settings, schedule, clean = self.settings, student.schedule, batch.clean
        sets = clean.shape[0] // batch.views_per_set
        times = lognormal_times(schedule, sets, settings.log_ratio_mean, settings.log_ratio_deviation, generator)
        time = times_of_sets(times, settings.pure_noise_share, batch.views_per_set, generator)
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        condition = drop_parts(batch.condition, settings.dropping, generator)
        predicted = student(add_noise(schedule, clean, noise, time), time, condition)
        weight = error_weight(schedule, time, self.sigma_data, settings.weight_cap)
        return picture_loss(predicted, clean, weight, settings.loss), error_by_time(predicted, clean, time)


def error_by_time(predicted: Tensor, clean: Tensor, time: Tensor) -> dict[str, Tensor]:
    """Mean absolute error, values in 0..1, of the samples at time 1 and of the others (0 where there are none).

    Args:
        predicted: [B, C, H, W] in -1..1.
        clean: [B, C, H, W].
        time: [B].
    """
    with torch.no_grad():
        errors = 0.5 * (predicted.float() - clean).abs().mean((1, 2, 3))
        pure = (time == 1).float()
        return {
            "error_at_pure_noise": (errors * pure).sum() / pure.sum().clamp(min=1),
            "error_elsewhere": (errors * (1 - pure)).sum() / (1 - pure).sum().clamp(min=1),
        }
