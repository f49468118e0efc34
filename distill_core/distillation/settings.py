"""What a person can choose about training; pydantic alone."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_DEFAULT_MINUTES = 60.0


class TrainingSettings(BaseModel):
    """How any network is trained: length, optimizer, averaging, checkpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_steps: int | None = Field(
        default=None, ge=1, description="length in optimizer steps; resuming then repeats an uninterrupted run exactly"
    )
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        description="length in minutes of training, those before an interruption included; 60 where neither is given",
    )
    optimizer: Literal["muon", "adamw"] = Field(
        default="muon", description="muon orthogonalises the updates of large matrices, AdamW does the rest"
    )
    learning_rate: float = Field(
        default=4e-4, gt=0, description="at the top of the schedule (warm-up, then cosine to 0)"
    )
    warmup_steps: int = Field(default=200, ge=0, description="steps over which the learning rate rises")
    weight_decay: float = Field(default=0.01, ge=0, description="of matrices; biases and scales do not decay")
    gradient_clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    average_decay: float = Field(
        default=0.999, ge=0, lt=1, description="of the average of the weights, which is what is kept"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="of the network's arithmetic; auto takes bf16 where the processor computes in it"
    )
    compile_network: bool = Field(default=False, description="compile the network with torch.compile")
    checkpoint_seconds: float = Field(default=60.0, gt=0, description="time between two saved states")
    log_every_steps: int = Field(default=10, ge=1, description="steps between two lines of log.jsonl")
    evaluate_every_minutes: float = Field(
        default=5.0, gt=0, description="time between two evaluations, if there are any"
    )
    data_threads: int = Field(default=1, ge=1, le=64, description="threads that make batches beside the training")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the weights, the data and the noise")

    @model_validator(mode="after")
    def _one_length(self) -> "TrainingSettings":
        if self.num_steps is not None and self.max_minutes is not None:
            raise ValueError("expected either a number of steps or a number of minutes, got both")
        return self

    @property
    def max_seconds(self) -> float | None:
        """Length in seconds, None where it is given in steps."""
        return None if self.num_steps is not None else 60 * (self.max_minutes or _DEFAULT_MINUTES)


class DroppingSettings(BaseModel):
    """How often what a generator is told is withheld while it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_guide_colour: float = Field(
        default=0.05, ge=0, le=1, description="share of views without lifted source pixels"
    )
    drop_guide_shape: float = Field(
        default=0.04, ge=0, le=1, description="share of views without the guide's mask, depth and thickness"
    )
    drop_guide_normals: float = Field(default=0.3, ge=0, le=1, description="share of views without the guide's normals")
    drop_everything: float = Field(
        default=0.05, ge=0, le=1, description="share of sets without source picture and guide"
    )


class PictureLossSettings(BaseModel):
    """Weights of the parts of the distance between two pictures.

    The squared error leads: absolute errors pull an uncertain edge to whichever side is likelier, which looks sharper
    and costs more where it is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    squared_weight: float = Field(
        default=10.0, ge=0, description="of the squared error beside the absolute one, values 0..1"
    )
    alpha_weight: float = Field(default=0.1, ge=0, description="of alpha's absolute error, once more")
    detail_weight: float = Field(default=0.25, ge=0, description="of the absolute errors of a Laplacian pyramid")


class DenoisingSettings(BaseModel):
    """Training a view generator to remove noise of every strength."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pure_noise_share: float = Field(
        default=0.75, ge=0, le=1, description="share of sets at time 1, which trains one step"
    )
    log_ratio_mean: float = Field(default=-0.4, description="of the natural logarithm of the other sets' noise ratio")
    log_ratio_deviation: float = Field(default=1.4, gt=0, description="standard deviation of that logarithm")
    weight_cap: float = Field(default=4.0, ge=1, description="largest factor on the error at little noise")
    loss: PictureLossSettings = PictureLossSettings()
    dropping: DroppingSettings = DroppingSettings()


class ConsistencySettings(BaseModel):
    """Distilling a denoiser into a generator that needs one step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: Literal["teacher", "data"] = Field(
        default="teacher",
        description="neighbours on a trajectory: a step of the teacher, or one picture under the same noise",
    )
    solver: Literal["ddim", "heun"] = Field(default="heun", description="the teacher's step")
    teacher_guidance: float = Field(default=1.0, ge=0, description="classifier-free guidance of the teacher; 1 is none")
    pure_noise_share: float = Field(default=0.25, ge=0, le=1, description="share of sets at time 1: trains one step")
    first_stage_steps: int = Field(default=6, ge=1, description="steps that a trajectory is cut into at first")
    num_stages: int = Field(default=3, ge=1, le=10, description="stages of equal length; each doubles those steps")
    weight_cap: float = Field(default=8.0, ge=1, description="largest factor on the error at little noise")
    seen_weight: float = Field(default=0.1, ge=0, description="of the error against the truth where the source sees it")
    dropping: DroppingSettings = DroppingSettings()
