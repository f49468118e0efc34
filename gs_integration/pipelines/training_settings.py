"""What a person can choose about training the view generator. No torch here."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from distill_core.distillation.settings import ConsistencySettings, DenoisingSettings, TrainingSettings
from distill_core.models.settings import SolidNetworkSettings, ViewGeneratorSettings, ViewNetworkSettings


class TrainingJob(BaseModel):
    """What the stages of training a view generator have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[str, BeforeValidator(os.fspath)] = Field(
        description="packed models (a folder with index.csv), records (a folder of folders with transforms.json), or "
        "shards (a folder with shards.json, or an address such as s3://bucket/shards)"
    )
    output_dir: Path = Field(description="folder of the training; each stage has a folder of its own inside")
    preset: Literal["small", "tiny"] = Field(
        default="small", description="size of the networks; tiny is of no use but to try the machinery"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="where to train; auto takes CUDA if present"
    )
    draws_per_step: int = Field(default=8, ge=1, le=4096, description="objects of a step; each brings several pictures")
    distinct_draws: int | None = Field(
        default=3000,
        ge=1,
        description="of models: draws that are rendered and kept in memory to be met again, in other colours and "
        "mirrored (0.4 MB each for the solid, 1.6 MB for the views); None renders anew each time, which takes as long "
        "as the training",
    )
    varied_share: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="of models: share of the draws whose object is stretched, tapered or bulged: a few thousand models "
        "teach more shapes so",
    )
    training: TrainingSettings = TrainingSettings()


class SolidJob(TrainingJob):
    """First stage: the network that predicts the solid behind a picture."""

    initial: Path | None = Field(
        default=None, description="checkpoint or training_state.safetensors whose weights are the beginning"
    )
    draws_per_step: int = Field(default=16, ge=1, le=4096, description="objects of a step; each brings two pictures")
    training: TrainingSettings = TrainingSettings(learning_rate=6e-4, warmup_steps=100)


class ViewJob(TrainingJob):
    """What the stages of the view network have in common."""

    validation: Path | None = Field(
        default=None, description="validation views; if given, log.jsonl says now and then what one step reaches there"
    )
    validation_objects: int = Field(default=12, ge=1, description="objects of the validation views that are measured")


class DenoisingJob(ViewJob):
    """Second stage: the view network learns to remove noise, guided by the predicted solid."""

    solid: Path | None = Field(
        default=None, description="training folder with the solid network; --output-dir if not given"
    )
    initial: Path | None = Field(
        default=None, description="checkpoint or training_state.safetensors whose weights are the beginning"
    )
    denoising: DenoisingSettings = DenoisingSettings()
    training: TrainingSettings = TrainingSettings(learning_rate=4e-4, warmup_steps=100)


class ConsistencyJob(ViewJob):
    """Third stage: the view network is distilled until one step is enough."""

    teacher: Path | None = Field(
        default=None, description="checkpoint of the second stage; the one in --output-dir if not given"
    )
    consistency: ConsistencySettings = ConsistencySettings()
    training: TrainingSettings = TrainingSettings(learning_rate=3e-4, warmup_steps=100)


class CorrespondenceJob(ViewJob):
    """After them: attention between pixels that show the same point (MVDiffusion) on the view network, which stays."""

    generator: Path | None = Field(
        default=None,
        description="checkpoint that gets the attention; that of the third stage in --output-dir if not given",
    )
    heads: int = Field(default=4, ge=1, description="heads of each attention; a checkpoint that has some keeps them")
    denoising: DenoisingSettings = DenoisingSettings()
    training: TrainingSettings = TrainingSettings(learning_rate=3e-4, warmup_steps=100)


def networks_of(preset: Literal["small", "tiny"]) -> ViewGeneratorSettings:
    """Return the sizes of the networks of a preset."""
    if preset == "small":
        return ViewGeneratorSettings()
    return ViewGeneratorSettings(
        solid=SolidNetworkSettings(resolution_px=32, widths=(16, 16, 32), blocks=1),
        view=ViewNetworkSettings(resolution_px=32, widths=(16, 16, 32), blocks=1, embedding=32, fine_channels=8),
    )
