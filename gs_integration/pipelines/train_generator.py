"""The stages of training the view generator on models or records: solid, denoising, consistency; correspondence.

Each stage keeps its state and log in a folder of its own inside the output folder and goes on by the same call; all but
the first leave a checkpoint, `model.safetensors`, there.
"""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, assert_never

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from distill_core.distillation.batches import SolidBatches, ViewBatches
from distill_core.distillation.checkpoints import read_state
from distill_core.distillation.consistency import Consistency, pairs_of
from distill_core.distillation.denoising import Denoising
from distill_core.distillation.solid import solid_loss
from distill_core.distillation.trainer import Objective, train
from distill_core.distillation.training_state import STATE_FILE
from distill_core.errors import UserError
from distill_core.models.checkpoint_loading import load_generator, new_generator, save_generator
from distill_core.models.correspondence_tuning import CorrespondenceTuned
from distill_core.models.settings import ViewGeneratorSettings
from distill_core.models.solid_network import SolidNetwork
from distill_core.models.view_generator import ViewGenerator
from distill_core.models.view_network import ViewNetwork
from distill_core.progress import Progress
from distill_core.validation import user_error
from gs_integration.pipelines.devices import torch_device
from gs_integration.pipelines.training_data import TrainingData, open_training_data
from gs_integration.pipelines.training_settings import (
    ConsistencyJob,
    CorrespondenceJob,
    DenoisingJob,
    SolidJob,
    TrainingJob,
    ViewJob,
    networks_of,
)
from gs_integration.pipelines.training_validation import one_step_figures

CHECKPOINT_FILE = "model.safetensors"

_Student = TypeVar("_Student", bound=ViewNetwork | CorrespondenceTuned)


def train_generator(job: SolidJob | DenoisingJob | ConsistencyJob | CorrespondenceJob, progress: Progress) -> Path:
    """Run one stage of the training, or go on with it.

    Args:
        job: Which stage, on what, how long.
        progress: Stage "training".

    Returns:
        The file that the stage leaves: the training's state of the solid, else a checkpoint.

    Raises:
        UserError: data or the stage before are missing, or the folder holds another training.
        Cancelled: the caller or SIGTERM asked for the end; the state is saved.
    """
    match job:
        case SolidJob():
            return _train_solid(job, progress)
        case DenoisingJob():
            return _train_denoising(job, progress)
        case ConsistencyJob():
            return _train_consistency(job, progress)
        case CorrespondenceJob():
            return _train_correspondence(job, progress)
        case _:
            assert_never(job)


def _train_solid(job: SolidJob, progress: Progress) -> Path:
    folder, networks = job.output_dir / "solid", networks_of(job.preset)
    data = open_training_data(job, networks.solid.resolution_px, for_solids=True)
    student = _fresh(networks, job.training.seed).solid_network.requires_grad_(requires_grad=True)
    begun = {} if job.initial is None else {"initial": _begin(student, job.initial, "solid")}
    train(
        student.to(torch_device(job.device)),
        solid_loss,
        SolidBatches(data.source, job.draws_per_step),
        job.training,
        folder,
        progress,
        recipe=_recipe(job, data, {"networks": networks.solid.model_dump(mode="json"), **begun}),
    )
    return folder / STATE_FILE


@dataclass(frozen=True)
class _ViewStage:
    """What the stages of the view network have in common.

    Attributes:
        name: of the stage, and of its folder.
        job: as the person chose it.
        data: what is trained on.
        solid: the trained network that stands before the view network, on the device of the training.
        networks: sizes of both.
    """

    name: str
    job: ViewJob
    data: TrainingData
    solid: SolidNetwork
    networks: ViewGeneratorSettings

    def run(
        self,
        student: _Student,
        objective: Objective[_Student, Any],
        recipe: Mapping[str, Any],
        progress: Progress,
    ) -> Path:
        """Train the view network and return its checkpoint; `recipe` holds what is the stage's own."""
        job, data, networks = self.job, self.data, self.networks
        common = {"networks": networks.model_dump(mode="json"), "solid": _fingerprint(self.solid.state_dict())}
        shares = {} if data.has_surfaces else {"surface_share": 0.0}
        evaluate = None
        if job.validation is not None:
            evaluate = one_step_figures(job.validation, job.validation_objects, self.solid, networks)
        folder = job.output_dir / self.name
        result = train(
            student,
            objective,
            ViewBatches(data.source, job.draws_per_step, self.solid, seed=job.training.seed, **shares),
            job.training,
            folder,
            progress,
            recipe=_recipe(job, data, {**common, **recipe}),
            evaluate=evaluate,
        )
        facts = {
            "stage": self.name,
            "steps": result.steps,
            "minutes": round(result.seconds / 60, 1),
            "seed": job.training.seed,
            "data_sha256": data.sha256,
        }
        path = folder / CHECKPOINT_FILE
        save_generator(path, ViewGenerator(self.solid, result.average, networks), {"training": facts})
        return path


def _train_denoising(job: DenoisingJob, progress: Progress) -> Path:
    networks, device = networks_of(job.preset), torch_device(job.device)
    data = open_training_data(job, networks.view.resolution_px)
    generator = _fresh(networks, job.training.seed)
    solid = _trained_solid(generator.solid_network, (job.solid or job.output_dir) / "solid" / STATE_FILE).to(device)
    network = generator.view_network
    assert isinstance(network, ViewNetwork)  # a new one has no attention between views to tune yet
    begun = {} if job.initial is None else {"initial": _begin(network, job.initial, "view")}
    return _ViewStage("denoising", job, data, solid, networks).run(
        network.requires_grad_(requires_grad=True).to(device),
        Denoising(job.denoising, networks.view.sigma_data),
        {"denoising": job.denoising.model_dump(mode="json"), **begun},
        progress,
    )


def _train_consistency(job: ConsistencyJob, progress: Progress) -> Path:
    teacher = load_generator(_stage_file(job, job.teacher, "denoising", "--teacher"), torch_device(job.device))
    network = teacher.view_network
    if isinstance(network, CorrespondenceTuned):
        raise UserError(
            "Expected --teacher to be a checkpoint of the second stage, got one with attention between corresponding "
            "pixels; distil first, then run `train.py correspondence`."
        )
    data = open_training_data(job, teacher.settings.view.resolution_px)
    student = copy.deepcopy(network).requires_grad_(requires_grad=True)
    pairs = pairs_of(job.consistency, network)
    return _ViewStage("consistency", job, data, teacher.solid_network, teacher.settings).run(
        student,
        Consistency(job.consistency, pairs, teacher.settings.view.sigma_data),
        {
            "teacher": _fingerprint(network.state_dict()),
            "consistency": job.consistency.model_dump(mode="json"),
        },
        progress,
    )


def _train_correspondence(job: CorrespondenceJob, progress: Progress) -> Path:
    device = torch_device(job.device)
    generator = load_generator(_stage_file(job, job.generator, "consistency", "--generator"), device)
    data = open_training_data(job, generator.settings.view.resolution_px)
    student, networks = _with_correspondences(generator, job)
    before = _fingerprint(student.state_dict())
    student.attentions.requires_grad_(requires_grad=True)
    return _ViewStage("correspondence", job, data, generator.solid_network, networks).run(
        student.to(device),
        Denoising(job.denoising, networks.view.sigma_data),
        {"initial": before, "denoising": job.denoising.model_dump(mode="json")},
        progress,
    )


def _with_correspondences(
    generator: ViewGenerator, job: CorrespondenceJob
) -> tuple[CorrespondenceTuned, ViewGeneratorSettings]:
    """The view network with its attention, which begins without effect unless the checkpoint brings it."""
    network = generator.view_network
    if isinstance(network, CorrespondenceTuned):
        return network, generator.settings
    try:
        networks = ViewGeneratorSettings(
            solid=generator.settings.solid, view=generator.settings.view, correspondence_heads=job.heads
        )
    except ValidationError as error:
        raise user_error(error) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.training.seed)
        return CorrespondenceTuned(network, heads=job.heads), networks


def _fresh(networks: ViewGeneratorSettings, seed: int) -> ViewGenerator:
    """Networks with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return new_generator(networks)


def _trained_solid(network: SolidNetwork, state: Path) -> SolidNetwork:
    if not state.exists():
        raise UserError(
            f"Expected a trained solid network in {state}, got no file; run `train.py solid` first or name its folder "
            "with --solid."
        )
    _load_average(network, state)
    return network


def _begin(network: nn.Module, path: Path, part: Literal["solid", "view"]) -> str:
    """Fill a network from a training state of its stage or from a checkpoint; return the fingerprint of the weights."""
    if path.name == STATE_FILE:
        _load_average(network, path)
    else:
        generator = load_generator(path)
        weights = (generator.solid_network if part == "solid" else generator.view_network).state_dict()
        _load(network, weights, path)
    return _fingerprint(network.state_dict())


def _load_average(network: nn.Module, state: Path) -> None:
    prefix = "average/"
    tensors = read_state(state).tensors
    _load(network, {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}, state)


def _load(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"Expected the weights of this stage and this --preset in {path}, got another network's; choose the "
            "--preset that it was trained with."
        ) from error


def _stage_file(job: ViewJob, named: Path | None, stage: str, option: str) -> Path:
    """The checkpoint that an option names, or else the one that an earlier stage left in the output folder."""
    given = named or job.output_dir / stage
    path = given / CHECKPOINT_FILE if given.is_dir() or named is None else given
    if not path.is_file():
        raise UserError(
            f"Expected a checkpoint of the {stage} stage in {path}, got no file; run `train.py {stage}` to its end "
            f"first or name a checkpoint with {option}."
        )
    return path


def _recipe(job: TrainingJob, data: TrainingData, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "draws_per_step": job.draws_per_step,
        "distinct_draws": job.distinct_draws,
        "data": data.sha256,
        **more,
    }


def _fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of weights, shortened: which network a training depends on."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
