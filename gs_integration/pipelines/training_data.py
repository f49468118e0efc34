"""What a training draws from: told apart by what lies in the folder that --data names."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from distill_core.distillation.record_views import RecordViews, RecordViewsSettings
from distill_core.errors import UserError
from distill_core.records.shard_files import INDEX_FILE
from distill_core.records.shard_sets import open_record_set
from gs_integration.pipelines.training_settings import TrainingJob
from renderers.training.training_views import TrainingViews, TrainingViewsSettings

logger = logging.getLogger(__name__)

_MODELS_INDEX = "index.csv"


@dataclass(frozen=True)
class TrainingData:
    """A source of draws.

    Attributes:
        source: of views and solids.
        sha256: of the index that names every object and its split: a training goes on only with the same.
        has_surfaces: whether every view comes with depth and normals.
    """

    source: TrainingViews | RecordViews
    sha256: str
    has_surfaces: bool


def open_training_data(job: TrainingJob, resolution_px: int, *, for_solids: bool = False) -> TrainingData:
    """Open packed models, records or shards.

    Args:
        job: names them, and says what is drawn of models.
        resolution_px: side of the pictures.
        for_solids: whether solids will be drawn.

    Raises:
        UserError: nothing of that kind is there, or nothing that may be trained on.
    """
    folder = Path(job.data)
    if (folder / _MODELS_INDEX).is_file():
        settings = TrainingViewsSettings(
            resolution_px=resolution_px, distinct_draws=job.distinct_draws, varied_share=job.varied_share
        )
        models = TrainingViews(folder, settings, seed=job.training.seed)
        digest = hashlib.sha256((folder / _MODELS_INDEX).read_bytes()).hexdigest()
        return TrainingData(models, digest, has_surfaces=True)
    has_records = "://" in job.data or (folder / INDEX_FILE).is_file() or any(folder.glob("**/transforms.json"))
    if not has_records:
        raise UserError(
            f"Expected packed models ({_MODELS_INDEX}), shards ({INDEX_FILE}) or records (folders with a "
            f"transforms.json) in {job.data}, got none of them; name another folder with --data."
        )
    views = RecordViews(
        open_record_set(job.data),
        RecordViewsSettings(resolution_px=resolution_px),
        seed=job.training.seed,
        for_solids=for_solids,
    )
    if not (views.has_surfaces or for_solids):
        logger.warning(
            "%s: not all records have depth and normals, so no view is guided by its true surface; the network learns "
            "nothing for meshes.",
            job.data,
        )
    return TrainingData(views, views.fingerprint, views.has_surfaces)
