"""A training on records as a program of its own, so that tests can kill it: DATA FOLDER NUM_STEPS."""

import sys
from pathlib import Path

from distill_core.distillation.settings import TrainingSettings
from distill_core.progress import SilentProgress
from gs_integration.pipelines.train_generator import train_generator
from gs_integration.pipelines.training_settings import DenoisingJob, SolidJob


def settings(num_steps: int) -> TrainingSettings:
    return TrainingSettings(
        num_steps=num_steps, warmup_steps=2, log_every_steps=1, precision="fp32", checkpoint_seconds=0.01
    )


def run(data: str, folder: Path, num_steps: int) -> Path:
    """The first two stages, tiny."""
    shared = {"data": data, "output_dir": folder, "preset": "tiny", "draws_per_step": 2}
    train_generator(SolidJob(**shared, training=settings(num_steps)), SilentProgress())
    return train_generator(DenoisingJob(**shared, training=settings(num_steps)), SilentProgress())


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
