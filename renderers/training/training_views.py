"""Training views rendered on the fly from packed models: a pure function of (seed, index).

A draw picks a model (half of the draws a photo-textured one), a source camera as a person would take the picture,
and target cameras, and renders them under the studio light. Held-out models cannot be drawn.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.carving import carve_frustum
from distill_core.distillation.draw_variation import mirrored, recoloured
from distill_core.distillation.solid import SilhouetteRays, SolidSet
from distill_core.distillation.view_source import ViewSet
from renderers.lighting import StudioLight, bake_light
from renderers.mesh_rendering import RenderableMesh, prepare, render_depth, render_views
from renderers.training.packed_models import PackedModel, training_models
from renderers.training.replay import Replay
from renderers.training.shape_variation import ShapeVariation, varied
from renderers.training.training_cameras import carving_cameras, elevation_degrees, source_camera, target_cameras

PHOTO_TEXTURED_PREFIXES = (
    "gso_",
    "ycb_",
    "pburdf_",
    "gazebo_",
    "aws_",
    "polyhaven_",
    "libero_",
    "drake_",
    "sketchfab_",
)
"""Names of scans and photo-textured models begin with these."""

_RAYS = 1024
_KEPT_SOURCES, _KEPT_TARGETS, _KEPT_SOLIDS = 2, 6, 4
"""Views of one rendering. Lighting a mesh takes longer than all of them, so that each draw takes only some."""


@dataclass(frozen=True)
class TrainingViewsSettings:
    """What is drawn.

    Args:
        resolution_px: Side of the pictures.
        targets: Target views of a draw, at most 6.
        sources_per_solid: Source pictures of one draw of solids, at most 4; they share the carving views.
        photo_share: Share of the draws that are photo-textured models.
        shape_share: Share of the draws of solids that come from the split `shape`.
        framing_share: Share of the draws whose object is made smaller and moved a little off the centre.
        varied_share: Share of the draws whose object gets other proportions (`shape_variation`).
        distinct_draws: Draws that are rendered and kept in memory (0.4 MB each for solids, 1.6 MB for views) to be met
            again, in other colours and mirrored; rendering costs as much as training on what is rendered. None renders
            every draw.
        cache_bytes: Memory for prepared meshes.
    """

    resolution_px: int = 128
    targets: int = 2
    sources_per_solid: int = 2
    photo_share: float = 0.5
    shape_share: float = 0.35
    framing_share: float = 0.3
    varied_share: float = 0.7
    distinct_draws: int | None = 3000
    cache_bytes: int = 4_000_000_000

    def __post_init__(self) -> None:
        """Refuse more views of a draw than one rendering keeps."""
        if self.targets > _KEPT_TARGETS or self.sources_per_solid > _KEPT_SOLIDS:
            raise ValueError(
                f"expected at most {_KEPT_TARGETS} targets and {_KEPT_SOLIDS} sources of a solid, got {self.targets} "
                f"and {self.sources_per_solid}"
            )


@dataclass(frozen=True)
class _KeptViews:
    """The views of a draw before their colours are changed, small enough to keep thousands.

    Args:
        pictures: [V, 4, H, W] uint8 straight sRGB RGBA.
        cameras: V cameras, the source's first.
        depth: [V, H, W] float16.
        normals: [V, 3, H, W] float16.
        name: The model.
    """

    pictures: np.ndarray
    cameras: list[Camera]
    depth: np.ndarray
    normals: np.ndarray
    name: str


@dataclass(frozen=True)
class _KeptSolids:
    """The sources of a draw of solids before their colours are changed.

    Args:
        pictures: [K, 4, H, W] uint8 straight sRGB RGBA.
        cameras: K source cameras.
        occupied: [K, D, h, w / 8] bits.
        carving_cameras: V cameras around the object.
        silhouettes: [V, H, W / 8] bits: where they see it.
        name: The model.
    """

    pictures: np.ndarray
    cameras: list[Camera]
    occupied: np.ndarray
    carving_cameras: list[Camera]
    silhouettes: np.ndarray
    name: str


class TrainingViews:
    """Draws of the train split (and, for solids, of the shape split).

    Args:
        models_dir: The folder of packed models.
        settings: What is drawn.
        seed: Of everything that is drawn.

    Raises:
        UserError: the folder holds no training models.
    """

    def __init__(self, models_dir: Path, settings: TrainingViewsSettings, *, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self._models, rows = training_models(models_dir, ("train",))
        self._photo = [row for row in rows if row.name.startswith(PHOTO_TEXTURED_PREFIXES)]
        self._stylised = [row for row in rows if not row.name.startswith(PHOTO_TEXTURED_PREFIXES)]
        self._shapes = self._models.rows(("shape",))
        self._cache: OrderedDict[str, RenderableMesh] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()
        self._views = Replay(self._render_views, settings.distinct_draws, seed)
        self._solids = Replay(self._render_solids, settings.distinct_draws, seed)

    def draw(self, index: int) -> ViewSet:
        """A source view (first) and target views of one model."""
        kept = self._views.at(index)
        generator = np.random.default_rng((self.seed, 1, index))
        targets = _KEPT_SOURCES + generator.permutation(len(kept.cameras) - _KEPT_SOURCES)[: self.settings.targets]
        chosen = [int(generator.integers(_KEPT_SOURCES)), *targets.tolist()]
        pictures = recoloured(kept.pictures[chosen], generator)
        drawn = ViewSet(
            torch.from_numpy(pictures),
            [kept.cameras[number] for number in chosen],
            torch.from_numpy(kept.depth[chosen].astype(np.float32)),
            torch.from_numpy(kept.normals[chosen].astype(np.float32)),
            kept.name,
        )
        return mirrored(drawn) if generator.random() < 0.5 else drawn

    def draw_solid(self, index: int) -> SolidSet:
        """Source pictures of one model and the solid behind each."""
        kept = self._solids.at(index)
        generator = np.random.default_rng((self.seed, 2, index))
        chosen = generator.permutation(len(kept.cameras))[: self.settings.sources_per_solid].tolist()
        cameras = [kept.cameras[number] for number in chosen]
        pictures = np.concatenate([recoloured(kept.pictures[number][None], generator) for number in chosen])
        labels = np.unpackbits(kept.occupied[chosen], axis=-1)
        origins, directions, hits = _silhouette_rays(generator, kept, (len(chosen), _RAYS))
        for number, source in enumerate(cameras):
            # The frustum of a camera with a centred principal point is its own mirror image.
            if generator.random() < 0.5:
                pictures[number] = pictures[number, :, :, ::-1]
                labels[number] = labels[number, :, :, ::-1]
                right = source.camera_to_world[:3, 0]
                origins[number] -= 2 * ((origins[number] - source.position) @ right)[:, None] * right
                directions[number] -= 2 * (directions[number] @ right)[:, None] * right
        rays = SilhouetteRays(
            torch.from_numpy(origins).float(), torch.from_numpy(directions).float(), torch.from_numpy(hits).float()
        )
        elevations = torch.tensor([elevation_degrees(camera) for camera in cameras])
        return SolidSet(torch.from_numpy(pictures), cameras, torch.from_numpy(labels), elevations, rays, kept.name)

    def _render_views(self, place: int) -> _KeptViews:
        generator = np.random.default_rng((self.seed, 4, place))
        row = self._draw_row(generator)
        mesh = self._framed(self._varied(self._prepared(row), generator), generator)
        resolution = self.settings.resolution_px
        cameras = [source_camera(generator, resolution) for _ in range(_KEPT_SOURCES)]
        cameras += target_cameras(generator, cameras[0], _KEPT_TARGETS, resolution)
        views = render_views(mesh, cameras)
        return _KeptViews(
            _as_bytes(views.colour), cameras, views.depth.astype(np.float16), views.normals.astype(np.float16), row.name
        )

    def _render_solids(self, place: int) -> _KeptSolids:
        generator = np.random.default_rng((self.seed, 5, place))
        from_shapes = bool(self._shapes) and generator.random() < self.settings.shape_share
        row = self._shapes[generator.integers(len(self._shapes))] if from_shapes else self._draw_row(generator)
        mesh = self._framed(self._varied(self._prepared(row), generator, with_normals=False), generator)
        resolution = self.settings.resolution_px
        sources = [source_camera(generator, resolution) for _ in range(_KEPT_SOLIDS)]
        views = render_views(mesh, sources, with_normals=False)
        carving = carving_cameras(generator)
        depths = render_depth(mesh, carving)
        occupied = []
        half = resolution // 2
        for camera, picture, depth in zip(sources, views.colour, views.depth, strict=True):
            silhouette = picture[3].reshape(half, 2, half, 2).mean((1, 3))
            nearest = np.where(depth > 0, depth, np.inf).reshape(half, 2, half, 2).min((1, 3))
            nearest[~np.isfinite(nearest)] = 0
            occupied.append(
                carve_frustum(camera.resized(half, half), silhouette, carving, depths, source_depth=nearest)
            )
        return _KeptSolids(
            _as_bytes(views.colour),
            sources,
            np.packbits(np.stack(occupied), axis=-1),
            carving,
            np.packbits(depths > 0, axis=-1),
            row.name,
        )

    def _draw_row(self, generator: np.random.Generator) -> PackedModel:
        rows = self._photo if generator.random() < self.settings.photo_share else self._stylised
        return rows[generator.integers(len(rows))]

    def _prepared(self, row: PackedModel) -> RenderableMesh:
        with self._lock:
            mesh = self._cache.get(row.name)
            if mesh is not None:
                self._cache.move_to_end(row.name)
                return mesh
        fine, light = bake_light(self._models.load(row.name), StudioLight())
        mesh = prepare(fine, corner_light=light)
        size = sum(array.nbytes for array in vars(mesh).values())
        with self._lock:
            if row.name not in self._cache:
                self._cache[row.name] = mesh
                self._cached_bytes += size
            while self._cached_bytes > self.settings.cache_bytes and len(self._cache) > 1:
                _, oldest = self._cache.popitem(last=False)
                self._cached_bytes -= sum(array.nbytes for array in vars(oldest).values())
        return mesh

    def _varied(
        self, mesh: RenderableMesh, generator: np.random.Generator, *, with_normals: bool = True
    ) -> RenderableMesh:
        """In most draws the object has other proportions than its model."""
        if generator.random() >= self.settings.varied_share:
            return mesh
        return varied(mesh, ShapeVariation.drawn(generator), with_normals=with_normals)

    def _framed(self, mesh: RenderableMesh, generator: np.random.Generator) -> RenderableMesh:
        """In some draws the object is smaller and off the centre, as a person's own framing leaves it."""
        if generator.random() >= self.settings.framing_share:
            return mesh
        scale = generator.uniform(0.85, 1)
        offset = generator.normal(size=3)
        offset *= generator.random() * (1 - scale) / np.linalg.norm(offset)
        return replace(mesh, corners=mesh.corners * scale + offset)


def _as_bytes(pictures: np.ndarray) -> np.ndarray:
    """Pictures in 0..1 as uint8."""
    return np.rint(pictures * 255).astype(np.uint8)


def _silhouette_rays(
    generator: np.random.Generator, kept: _KeptSolids, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origins [S, R, 3], directions [S, R, 3] and hits [S, R] of random pixels of cameras that are not far below."""
    cameras = kept.carving_cameras
    above = np.array([number for number, camera in enumerate(cameras) if elevation_degrees(camera) > -25])
    chosen = above[generator.integers(len(above), size=size)]
    columns, rows = generator.integers(cameras[0].width, size=size), generator.integers(cameras[0].height, size=size)
    hits = kept.silhouettes[chosen, rows, columns // 8] >> (7 - columns % 8) & 1
    shared = cameras[0]
    in_camera = np.stack(
        [
            (columns + 0.5 - shared.cx) / shared.fx,
            (rows + 0.5 - shared.cy) / shared.fy,
            np.ones(size),
        ],
        -1,
    )
    in_camera /= np.linalg.norm(in_camera, axis=-1, keepdims=True)
    to_world = np.stack([camera.camera_to_world for camera in cameras])[chosen]
    return to_world[..., :3, 3].copy(), np.einsum("srij,srj->sri", to_world[..., :3, :3], in_camera), hits
