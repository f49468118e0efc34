"""How near generated views come to the true ones: one score an object, one summary a method.

View 0 of an object goes in, views 2 to 15 are asked for. Pictures are compared over white.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill_core import metrics
from distill_core.cameras import Camera
from distill_core.pictures.images import composite
from gs_integration.row_log import RowLog
from gs_integration.validation_views import ValidationObject

SOURCE_VIEW = 0
TARGET_VIEWS = tuple(range(2, 16))
ANGLE_BINS_DEGREES = {"<45": (0.0, 45.0), "45-90": (45.0, 90.0), ">90": (90.0, 180.1)}
MEASURES = ("psnr", "psnr_inside", "ssim", "silhouette_iou", "gradient_energy_ratio", "high_frequency_correlation")
_MEANS = ("psnr", "psnr_inside", "ssim", "silhouette_iou", "high_frequency_correlation")
_GRADIENT, _TRUE_GRADIENT = "gradient_energy", "true_gradient_energy"
_WHITE = 1.0

FloatArray = npt.NDArray[np.float32]

ViewPredictor = Callable[[FloatArray, Camera, Sequence[Camera]], FloatArray]
"""(source [4, R, R] straight RGBA, its camera, target cameras) -> target views [V, 4, R, R], straight RGBA."""


@dataclass(frozen=True)
class ObjectScore:
    """What one method reached on one object.

    Attributes:
        method: name of the method.
        object_name: name of the object.
        seconds: what the method took for all views of the object.
        angles_degrees: [V], between the target view's and the source's direction.
        figures: for each measure its values, [V].
    """

    method: str
    object_name: str
    seconds: float
    angles_degrees: list[float]
    figures: dict[str, list[float]]


def score_object(
    method: str, truth: ValidationObject, predict: ViewPredictor, *, target_views: Sequence[int] = TARGET_VIEWS
) -> tuple[ObjectScore, FloatArray]:
    """Ask a method for the target views of an object and compare them with the true ones.

    Returns:
        The score, and the predicted views [V, 4, R, R], straight RGBA.

    Raises:
        ValueError: the method returned views of another shape than asked for, or values that are not finite.
    """
    cameras = [truth.cameras[view] for view in target_views]
    expected = truth.pictures[list(target_views)]
    began = time.perf_counter()
    predicted = predict(truth.pictures[SOURCE_VIEW], truth.cameras[SOURCE_VIEW], cameras)
    seconds = time.perf_counter() - began
    if predicted.shape != expected.shape or not np.isfinite(predicted).all():
        raise ValueError(f"{method}: expected finite views {expected.shape}, got {predicted.shape}")
    score = ObjectScore(
        method=method,
        object_name=truth.name,
        seconds=seconds,
        angles_degrees=[angle_between_degrees(truth.cameras[SOURCE_VIEW], camera) for camera in cameras],
        figures=compare_views(predicted, expected),
    )
    return score, predicted


def compare_views(predicted: FloatArray, truth: FloatArray) -> dict[str, list[float]]:
    """Measure predicted views [V, 4, R, R] (straight RGBA) against the true ones, over white.

    PSNR and SSIM over all pixels; `psnr_inside` where the true alpha exceeds a half; sharpness as the energy of the
    gradient inside the true mask beside the truth's, and as correlation above half the Nyquist frequency.

    Returns:
        For each measure its values, one a view; NaN where the truth does not define one.
    """
    predicted_rgb = np.clip(composite(predicted, _WHITE), 0, 1)
    truth_rgb = composite(truth, _WHITE)
    inside = truth[:, 3] > 0.5
    values = {
        "psnr": metrics.psnr(predicted_rgb, truth_rgb),
        "psnr_inside": metrics.psnr(predicted_rgb, truth_rgb, mask=inside),
        "ssim": metrics.ssim(predicted_rgb, truth_rgb),
        "silhouette_iou": metrics.silhouette_iou(predicted[:, 3], truth[:, 3]),
        "high_frequency_correlation": metrics.high_frequency_correlation(predicted_rgb, truth_rgb),
        _GRADIENT: metrics.gradient_energy(predicted_rgb, inside),
        _TRUE_GRADIENT: metrics.gradient_energy(truth_rgb, inside),
    }
    return {measure: figures.double().tolist() for measure, figures in values.items()}


def angle_between_degrees(first: Camera, second: Camera) -> float:
    """Return the angle between two cameras as seen from the origin, in degrees."""
    a, b = first.position, second.position
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@dataclass(frozen=True)
class MethodSummary:
    """What one method reached on a set of objects.

    Attributes:
        objects: how many.
        figures: each measure, mean over views, then over objects; for the energy of gradients the ratio of sums.
        by_angle: the same by angle from view 0, mean over the views of a bin.
        views_by_angle: how many views each bin holds.
        seconds_per_object: mean.
    """

    objects: int
    figures: dict[str, float]
    by_angle: dict[str, dict[str, float]]
    views_by_angle: dict[str, int]
    seconds_per_object: float


def summarise(scores: Sequence[ObjectScore]) -> MethodSummary:
    """Sum up the scores of one method.

    Raises:
        ValueError: no scores.
    """
    if not scores:
        raise ValueError("no scores to sum up")
    angles = np.concatenate([score.angles_degrees for score in scores])
    measured = {name: np.concatenate([score.figures[name] for score in scores]) for name in scores[0].figures}
    bins = {name: (angles >= low) & (angles < high) for name, (low, high) in ANGLE_BINS_DEGREES.items()}
    return MethodSummary(
        objects=len(scores),
        figures={
            **{measure: _mean([_mean(score.figures[measure]) for score in scores]) for measure in _MEANS},
            "gradient_energy_ratio": _sharpness(measured, np.full(len(angles), True)),
        },
        by_angle={
            name: {
                **{measure: _mean(measured[measure][chosen]) for measure in _MEANS},
                "gradient_energy_ratio": _sharpness(measured, chosen),
            }
            for name, chosen in bins.items()
        },
        views_by_angle={name: int(chosen.sum()) for name, chosen in bins.items()},
        seconds_per_object=_mean([score.seconds for score in scores]),
    )


def _sharpness(measured: Mapping[str, npt.NDArray[np.float64]], chosen: npt.NDArray[np.bool_]) -> float:
    """Ratio of sums: a mean of ratios would be ruled by the views in which the truth is all but flat."""
    truth = float(measured[_TRUE_GRADIENT][chosen].sum())
    return float(measured[_GRADIENT][chosen].sum()) / truth if truth > 0 else float("nan")


def _mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Mean of the values that are defined (a view without structure has no sharpness); NaN if there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else float("nan")


def copy_source(source: FloatArray, _source_camera: Camera, target_cameras: Sequence[Camera]) -> FloatArray:
    """The first baseline: the picture itself, whatever the view."""
    return np.repeat(source[None], len(target_cameras), axis=0)


class ScoreLog:
    """Scores as JSON lines beside the results, so that a stopped evaluation goes on where it was.

    Args:
        path: the file; its first line says what was evaluated.
        identity: what the scores depend on (checkpoint hash, settings); scores of another identity are discarded.
    """

    def __init__(self, path: Path, identity: dict[str, object]) -> None:
        """Read the scores that are already there, or begin a new file."""
        self._log = RowLog(path, identity, ("method", "object_name"))
        scores = [ObjectScore(**row) for row in self._log.rows.values()]
        self.scores = {(score.method, score.object_name): score for score in scores}

    def add(self, score: ObjectScore) -> None:
        """Keep a score and write it down at once."""
        self._log.add(asdict(score))
        self.scores[score.method, score.object_name] = score


def table(summaries: Mapping[str, MethodSummary]) -> str:
    """Return the summaries as a table in Markdown: a row a method, PSNR by angle from view 0 in the last columns."""
    titles = ("PSNR", "inside", "SSIM", "IoU", "gradient", "high freq.")
    head = ["method", "objects", *titles, "s / object", *(f"PSNR {name}" for name in ANGLE_BINS_DEGREES)]
    rows = [head, ["---"] * len(head)]
    for method, summary in summaries.items():
        rows.append(
            [
                method,
                str(summary.objects),
                *(f"{summary.figures[name]:.2f}" for name in MEASURES[:2]),
                *(f"{summary.figures[name]:.3f}" for name in MEASURES[2:]),
                f"{summary.seconds_per_object:.2f}",
                *(f"{summary.by_angle[name]['psnr']:.2f}" for name in ANGLE_BINS_DEGREES),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
