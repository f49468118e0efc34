"""A training as a program of its own, so that tests can kill it: FOLDER NUM_STEPS SECONDS_A_STEP."""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from distill_core.distillation.settings import TrainingSettings
from distill_core.distillation.trainer import train
from distill_core.errors import Cancelled
from distill_core.progress import SilentProgress


class Numbers:
    """Batches that depend on the step alone."""

    def draw(self, step: int) -> Tensor:
        return torch.randn(8, 6, generator=torch.Generator().manual_seed(step))

    def prepare(self, drawn: Tensor, device: torch.device) -> Tensor:
        return drawn.to(device)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 40), nn.LayerNorm(40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 6))


def objective(student, batch, step, generator):
    """Undo noise that the step's generator draws."""
    noisy = batch + 0.3 * torch.randn(batch.shape, generator=generator, device=batch.device)
    loss = (student(noisy) - batch).square().mean()
    return loss, {"fraction": torch.tensor(step.fraction)}


def run(folder: Path, num_steps: int, seconds_a_step: float = 0.0) -> None:
    def slow_objective(*arguments):
        time.sleep(seconds_a_step)
        return objective(*arguments)

    settings = TrainingSettings(
        num_steps=num_steps, warmup_steps=5, precision="fp32", checkpoint_seconds=0.05, log_every_steps=1
    )
    train(network(), slow_objective, Numbers(), settings, folder, SilentProgress())


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    except (KeyboardInterrupt, Cancelled) as end:
        sys.exit(f"{type(end).__name__}")
