"""Measure a checkpoint on validation objects: baselines, views in so many steps, and splats made from them.

Scores are written as they are made; the same call goes on where a stopped one was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
from distill_core.pictures.contact_sheet import contact_sheet
from distill_core.pictures.images import composite, read_picture, write_png
from distill_core.progress import Progress
from gs_integration.evaluation import (
    SOURCE_VIEW,
    TARGET_VIEWS,
    MethodSummary,
    ObjectScore,
    ScoreLog,
    ViewPredictor,
    copy_source,
    score_object,
    summarise,
)
from gs_integration.output_folder import check_replaceable
from gs_integration.pipelines.devices import torch_device
from gs_integration.pipelines.report import file_sha256, versions, write_json
from gs_integration.pipelines.settings import (
    EvaluationSettings,
    GeneratorSettings,
    ImageToSplatsSettings,
    ImageToViewsSettings,
)
from gs_integration.pipelines.view_methods import guide_predictor, hull_predictor, splat_predictor, view_predictor
from gs_integration.validation_views import (
    ValidationObject,
    first_by_hash,
    open_validation_set,
    read_validation_object,
    validation_set_sha256,
)

SPLAT_OBJECTS = 25
"""Splats are measured on the first so many objects by SHA-256 of the name."""

_RESULTS = frozenset({"metrics.json", "grid.png", "grid/*/*.png", "scores.jsonl"})
_GRID_OBJECTS = 8
_GRID_VIEWS = (1, 3, 5, 9)  # places among the target views: 45, 135, 225 degrees of the ring, and a random one
_WHITE = 1.0


def evaluate_generator(settings: EvaluationSettings, output_dir: Path, progress: Progress) -> dict[str, MethodSummary]:
    """Score every method that the settings ask for; write scores.jsonl, metrics.json and grid.png.

    Returns:
        The summary of each method.

    Raises:
        UserError: no validation set, no such checkpoint, other files in the folder.
    """
    check_replaceable(output_dir, _RESULTS)
    methods = _methods(settings)
    output_dir.mkdir(parents=True, exist_ok=True)
    identity = _identity(settings)
    log = ScoreLog(output_dir / "scores.jsonl", identity)
    with open_validation_set(settings.data, limit=settings.limit) as folders:
        grid = first_by_hash(folders, _GRID_OBJECTS)
        splat_folders = first_by_hash(folders, SPLAT_OBJECTS)
        measured: dict[str, list[ObjectScore]] = {}
        for name, method in methods.items():
            chosen = [folder for folder in folders if method.every_object or folder in splat_folders]
            progress.stage(name, len(chosen))
            for folder in chosen:
                if (name, folder.name) not in log.scores:
                    truth = read_validation_object(folder)
                    score, predicted = score_object(name, truth, method.predict)
                    if folder in grid:
                        _write_strips(output_dir / "grid", name, truth, predicted)
                    log.add(score)
                progress.advance()
            measured[name] = [log.scores[name, folder.name] for folder in chosen]
    summaries = {name: summarise(scores) for name, scores in measured.items()}
    figures = {name: asdict(summary) for name, summary in summaries.items()}
    write_json(output_dir / "metrics.json", {**identity, "methods": figures, "versions": versions()})
    _write_grid(output_dir, [folder.name for folder in grid], list(methods))
    return summaries


@dataclass(frozen=True)
class _Method:
    predict: ViewPredictor
    every_object: bool = True


def _methods(settings: EvaluationSettings) -> Mapping[str, _Method]:
    methods: dict[str, _Method] = {}
    if "copy" in settings.baseline:
        methods["copy"] = _Method(copy_source)
    if settings.checkpoint is None:
        return methods
    generator = load_generator(settings.checkpoint, torch_device(settings.device))
    if "guide" in settings.baseline:
        methods["guide"] = _Method(guide_predictor(generator))
    for steps in settings.steps:
        name = f"{steps} step{'s' if steps > 1 else ''}"
        sampling = GeneratorSettings(steps=steps, sampler=settings.sampler, seed=settings.seed)
        methods[name] = _Method(view_predictor(generator, sampling))
    if settings.splats:
        sampling = GeneratorSettings(steps=settings.steps[0], sampler=settings.sampler, seed=settings.seed)
        job = ImageToSplatsSettings(views=ImageToViewsSettings(generator=sampling))
        of_views = "" if sampling.steps == 1 else f" of {sampling.steps} steps"
        methods[f"splats{of_views}"] = _Method(splat_predictor(generator, job), every_object=False)
        methods[f"hull{of_views}"] = _Method(hull_predictor(generator, job), every_object=False)
    return methods


def _identity(settings: EvaluationSettings) -> dict[str, object]:
    """What the scores depend on."""
    checkpoint = None
    if settings.checkpoint is not None:
        path = find_checkpoint(settings.checkpoint)
        checkpoint = {"name": settings.checkpoint, "sha256": file_sha256(path)}
    return {
        "data_sha256": validation_set_sha256(settings.data),
        "checkpoint": checkpoint,
        "protocol": {
            "source_view": SOURCE_VIEW,
            "target_views": list(TARGET_VIEWS),
            "resolution_px": 128,
            "background": "white",
        },
        "sampler": settings.sampler,
        "seed": settings.seed,
        "device": settings.device,
    }


def _write_strips(folder: Path, method: str, truth: ValidationObject, predicted: np.ndarray) -> None:
    """Keep the shown views of an object side by side, as the method has them, and the input with the true ones."""
    shown = {
        method: predicted[list(_GRID_VIEWS)],
        "truth": truth.pictures[[SOURCE_VIEW, *(TARGET_VIEWS[view] for view in _GRID_VIEWS)]],
    }
    (folder / truth.name).mkdir(parents=True, exist_ok=True)
    for name, pictures in shown.items():
        write_png(folder / truth.name / f"{name}.png", np.concatenate(list(composite(pictures, _WHITE)), axis=2))


def _write_grid(output_dir: Path, objects: Sequence[str], methods: Sequence[str]) -> None:
    """Lay the strips out: a row an object, a column a method, the input and the truth last."""
    strips, labels = [], []
    columns = [*methods, "truth"]
    for name in sorted(objects):
        files = [output_dir / "grid" / name / f"{column}.png" for column in columns]
        if all(file.exists() for file in files):
            strips += [read_picture(file).rgba for file in files]
            labels += [*methods, f"input, truth: {name}"]
    if strips:
        write_png(output_dir / "grid.png", contact_sheet(strips, len(columns), labels))
