"""Draws of records, whether they lie in folders or in shards: a pure function of (seed, index).

Every epoch goes through all records once, in an order of its own. Worker k of n takes the positions k, k + n, ... of
the endless sequence of epochs, so that workers never meet and nothing but a number is needed to go on.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.carving import carve_frustum
from distill_core.distillation.draw_variation import mirrored, recoloured
from distill_core.distillation.solid import SilhouetteRays, SolidSet
from distill_core.distillation.view_source import ViewSet
from distill_core.errors import UserError
from distill_core.records.ball_framing import FramedView, framed_view
from distill_core.records.multi_view_record import MultiViewRecord
from distill_core.records.record_sets import RecordSet

logger = logging.getLogger(__name__)

LEAST_CARVING_VIEWS = 8
"""With fewer silhouettes what is left standing is no likeness of the object."""
_MOST_CARVING_VIEWS = 24
_CARVING_RESOLUTION_PX = 96
_RAYS = 1024
_SOURCE_ELEVATIONS_DEGREES = (-10.0, 45.0)
"""From where a person takes a picture; the sources of other training views come from there too."""
_UNKNOWN_DEPTH = 1e-6
"""A surface so near that no cell lies before it: a pixel of this depth frees nothing."""


@dataclass(frozen=True)
class RecordViewsSettings:
    """What is drawn.

    Args:
        resolution_px: Side of the pictures.
        targets: Target views of a draw.
        sources_per_solid: Source pictures of one draw of solids.
    """

    resolution_px: int = 128
    targets: int = 2
    sources_per_solid: int = 2


def place_at(seed: int, position: int, num_records: int) -> int:
    """The record at a position of the endless sequence of epochs.

    Args:
        seed: Of the orders.
        position: From 0; the epoch is position // num_records.
        num_records: Of an epoch.
    """
    epoch, within = divmod(position, num_records)
    return int(_order(seed, epoch, num_records)[within])


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, num_records: int) -> np.ndarray:
    order = np.random.default_rng((seed, 6, epoch)).permutation(num_records)
    order.setflags(write=False)
    return order


class RecordViews:
    """Draws of the train split of a set of records.

    Args:
        records: Where they are.
        settings: What is drawn.
        seed: Of everything that is drawn.
        for_solids: Whether solids will be drawn, which asks for more views of a record.
        worker: Number of this worker among `num_workers`, each of which has its own source.
        num_workers: How many share an epoch.

    Raises:
        UserError: no record of the train split can be used.
    """

    def __init__(
        self,
        records: RecordSet,
        settings: RecordViewsSettings,
        *,
        seed: int,
        for_solids: bool = False,
        worker: int = 0,
        num_workers: int = 1,
    ) -> None:
        if not 0 <= worker < num_workers:
            raise ValueError(f"expected a worker from 0 to {num_workers - 1}, got {worker}")
        self.settings = settings
        self.seed = seed
        self._records = records
        self._worker, self._num_workers = worker, num_workers
        self._places = _usable(records, LEAST_CARVING_VIEWS if for_solids else settings.targets + 1)
        chosen = [records.summaries[place] for place in self._places]
        self.fingerprint = records.fingerprint
        self.has_surfaces = all(summary.has_depth and summary.has_normals for summary in chosen)

    def __len__(self) -> int:
        """Records of an epoch, of all workers together."""
        return len(self._places)

    def name_at(self, index: int) -> str:
        """The record that a draw of this worker meets."""
        return self._records.summaries[self._place(index)].name

    def draw(self, index: int) -> ViewSet:
        """A source view (first) and target views of one record."""
        place, generator = self._place(index), np.random.default_rng((self.seed, 7, self._worker, index))
        record = _one_moment(self._records.read(place), generator)
        source = int(generator.choice(_source_places(record.cameras)))
        others = [number for number in range(len(record)) if number != source]
        targets = generator.permutation(others)[: self.settings.targets].tolist()
        views = [framed_view(record.read_view(number), self.settings.resolution_px) for number in [source, *targets]]
        pictures = recoloured(np.stack([_as_bytes(view.rgba) for view in views]), generator)
        drawn = ViewSet(
            torch.from_numpy(pictures),
            [view.camera for view in views],
            _stacked([view.depth for view in views]),
            _stacked([view.normals for view in views]),
            self._records.summaries[place].name,
        )
        return mirrored(drawn) if generator.random() < 0.5 else drawn

    def draw_solid(self, index: int) -> SolidSet:
        """Source pictures of one record and the solid behind each, carved by its depth or else its silhouettes."""
        place, generator = self._place(index), np.random.default_rng((self.seed, 8, self._worker, index))
        record, settings = _one_moment(self._records.read(place), generator), self.settings
        sources = generator.permutation(_source_places(record.cameras))[: settings.sources_per_solid].tolist()
        # A record with few sources still brings the number of pictures that every draw brings.
        sources = [sources[number % len(sources)] for number in range(settings.sources_per_solid)]
        carving = generator.permutation(len(record))[:_MOST_CARVING_VIEWS].tolist()
        carving_views = [framed_view(record.read_view(number), _CARVING_RESOLUTION_PX) for number in carving]
        depths = np.stack([_carving_depth(view) for view in carving_views])
        views = [framed_view(record.read_view(number), settings.resolution_px) for number in sources]
        pictures = np.concatenate([recoloured(_as_bytes(view.rgba)[None], generator) for view in views])
        occupied = [_occupied(view, [one.camera for one in carving_views], depths) for view in views]
        return SolidSet(
            torch.from_numpy(pictures),
            [view.camera for view in views],
            torch.from_numpy(np.stack(occupied)),
            torch.tensor([_elevation_degrees(view.camera) for view in views]),
            _silhouette_rays(generator, carving_views, len(views)),
            self._records.summaries[place].name,
        )

    def _place(self, index: int) -> int:
        position = index * self._num_workers + self._worker
        return self._places[place_at(self.seed, position, len(self._places))]


def _usable(records: RecordSet, least_views: int) -> list[int]:
    """The places of the records that may be drawn, with one line on what is left out and why."""
    training = [place for place, summary in enumerate(records.summaries) if summary.split == "train"]
    placed = [place for place in training if records.summaries[place].is_normalised]
    usable = [place for place in placed if records.summaries[place].views_of_a_moment >= least_views]
    reasons = {
        "hold an object that is not in the unit ball (import them with masks)": len(training) - len(placed),
        f"have fewer than the {least_views} views that this needs": len(placed) - len(usable),
    }
    said = "; ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    if not usable:
        raise UserError(
            f"{records.address}: expected records to train on, got {len(records.summaries)}, of which "
            f"{len(records.summaries) - len(training)} are held out (val){f'; {said}' if said else ''}."
        )
    if said:
        logger.warning("%s: %d records are trained on; %s.", records.address, len(usable), said)
    return usable


def _one_moment(record: MultiViewRecord, generator: np.random.Generator) -> MultiViewRecord:
    """The views of a random moment: those of different ones show different shapes. A still record stays as it is."""
    moments = record.moments()
    return record if len(moments) == 1 else record.subset(moments[generator.integers(len(moments))])


def _source_places(cameras: Sequence[Camera]) -> list[int]:
    """The views that a person could have taken, or all where there are none."""
    low, high = _SOURCE_ELEVATIONS_DEGREES
    chosen = [place for place, camera in enumerate(cameras) if low <= _elevation_degrees(camera) <= high]
    return chosen or list(range(len(cameras)))


def _elevation_degrees(camera: Camera) -> float:
    return math.degrees(math.asin(camera.position[2] / np.linalg.norm(camera.position)))


def _carving_depth(view: FramedView) -> np.ndarray:
    """The depth that carves: the view's own, or a silhouette, which frees what lies beside the object alone."""
    inside = view.rgba[3] > 0.5
    surface = np.full(inside.shape, _UNKNOWN_DEPTH) if view.depth is None else view.depth
    # A pixel that depth calls empty and alpha does not (an edge, glass) says nothing of the cells behind it.
    known = np.where(inside, np.where(surface > 0, surface, _UNKNOWN_DEPTH), 0)
    return np.where(view.is_seen, known, _UNKNOWN_DEPTH).astype(np.float32)


def _occupied(source: FramedView, carving_cameras: list[Camera], depths: np.ndarray) -> np.ndarray:
    """[bins, h, w] uint8 behind the source's pixels, h and w being half of its sides."""
    half = len(source.is_seen) // 2
    silhouette = source.rgba[3].reshape(half, 2, half, 2).mean((1, 3))
    nearest = None
    if source.depth is not None:
        nearest = np.where(source.depth > 0, source.depth, np.inf).reshape(half, 2, half, 2).min((1, 3))
        nearest[~np.isfinite(nearest)] = 0
    camera = source.camera.resized(half, half)
    return carve_frustum(camera, silhouette, carving_cameras, depths, source_depth=nearest)


def _silhouette_rays(generator: np.random.Generator, views: list[FramedView], count: int) -> SilhouetteRays:
    """Random pixels that the views do show, as rays, and whether they meet the object."""
    shown = np.flatnonzero(np.stack([view.is_seen for view in views]))
    picked = shown[generator.integers(len(shown), size=(count, _RAYS))]
    number, rows, columns = np.unravel_index(picked, (len(views), *views[0].is_seen.shape))
    lens = np.array([[view.camera.fx, view.camera.fy, view.camera.cx, view.camera.cy] for view in views])[number]
    poses = np.stack([view.camera.camera_to_world for view in views])[number]
    in_camera = np.stack(
        [
            (columns + 0.5 - lens[..., 2]) / lens[..., 0],
            (rows + 0.5 - lens[..., 3]) / lens[..., 1],
            np.ones(picked.shape),
        ],
        -1,
    )
    in_camera /= np.linalg.norm(in_camera, axis=-1, keepdims=True)
    hits = np.stack([view.rgba[3] > 0.5 for view in views])[number, rows, columns]
    return SilhouetteRays(
        torch.from_numpy(poses[..., :3, 3].copy()).float(),
        torch.from_numpy(np.einsum("srij,srj->sri", poses[..., :3, :3], in_camera)).float(),
        torch.from_numpy(hits).float(),
    )


def _as_bytes(rgba: np.ndarray) -> np.ndarray:
    return np.rint(rgba * 255).astype(np.uint8)


def _stacked(views: list[np.ndarray | None]) -> torch.Tensor | None:
    known = [view for view in views if view is not None]
    return torch.from_numpy(np.stack(known)) if len(known) == len(views) else None
