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

from distill_core.cameras import Camera, orbit_camera
from distill_core.carving import carve_frustum
from distill_core.distillation.solid import SolidSet
from distill_core.distillation.view_source import ViewSet
from renderers.lighting import StudioLight, bake_light, sphere_directions
from renderers.mesh_rendering import RenderableMesh, prepare, render_depth, render_views
from renderers.packed_models import PackedModel, training_models

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

_CARVING_VIEWS = 24
_CARVING_RESOLUTION_PX = 96


@dataclass(frozen=True)
class TrainingViewsSettings:
    """What is drawn.

    Args:
        resolution_px: Side of the pictures.
        targets: Target views of a draw.
        sources_per_solid: Source pictures of one draw of solids; they share the carving views.
        photo_share: Share of the draws that are photo-textured models.
        shape_share: Share of the draws of solids that come from the split `shape`.
        framing_share: Share of the draws whose object is made smaller and moved a little off the centre.
        cache_bytes: Memory for prepared meshes.
    """

    resolution_px: int = 128
    targets: int = 2
    sources_per_solid: int = 2
    photo_share: float = 0.5
    shape_share: float = 0.35
    framing_share: float = 0.3
    cache_bytes: int = 4_000_000_000


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

    def draw(self, index: int) -> ViewSet:
        """A source view (first) and target views of one model."""
        generator = np.random.default_rng((self.seed, 1, index))
        row = self._draw_row(generator)
        mesh = self._framed(self._prepared(row), generator)
        source = _source_camera(generator, self.settings.resolution_px)
        cameras = [source, *_target_cameras(generator, source, self.settings.targets, self.settings.resolution_px)]
        views = render_views(mesh, cameras)
        pictures = _recoloured(views.colour, generator)
        drawn = ViewSet(
            torch.from_numpy(pictures),
            cameras,
            torch.from_numpy(views.depth),
            torch.from_numpy(views.normals),
            row.name,
        )
        return mirrored(drawn) if generator.random() < 0.5 else drawn

    def draw_solid(self, index: int) -> SolidSet:
        """Source pictures of one model and the solid behind each."""
        generator = np.random.default_rng((self.seed, 2, index))
        from_shapes = bool(self._shapes) and generator.random() < self.settings.shape_share
        row = self._shapes[generator.integers(len(self._shapes))] if from_shapes else self._draw_row(generator)
        mesh = self._framed(self._prepared(row), generator)
        resolution = self.settings.resolution_px
        sources = [_source_camera(generator, resolution) for _ in range(self.settings.sources_per_solid)]
        views = render_views(mesh, sources, with_normals=False)
        carving = _carving_cameras(generator)
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
        pictures = np.concatenate([_recoloured(picture[None], generator) for picture in views.colour])
        labels = np.stack(occupied)
        for number in range(len(sources)):
            # The frustum of a camera with a centred principal point is its own mirror image.
            if generator.random() < 0.5:
                pictures[number] = pictures[number, :, :, ::-1]
                labels[number] = labels[number, :, :, ::-1]
        elevations = torch.tensor([_elevation_degrees(camera) for camera in sources])
        return SolidSet(torch.from_numpy(pictures), sources, torch.from_numpy(labels), elevations, row.name)

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

    def _framed(self, mesh: RenderableMesh, generator: np.random.Generator) -> RenderableMesh:
        """In some draws the object is smaller and off the centre, as a person's own framing leaves it."""
        if generator.random() >= self.settings.framing_share:
            return mesh
        scale = generator.uniform(0.85, 1)
        offset = generator.normal(size=3)
        offset *= generator.random() * (1 - scale) / np.linalg.norm(offset)
        return replace(mesh, corners=mesh.corners * scale + offset)


def mirrored(views: ViewSet) -> ViewSet:
    """The views of the mirror image of the object: pictures flipped, cameras mirrored in the plane x = 0."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    cameras = [
        replace(camera, cx=camera.width - camera.cx, camera_to_world=mirror @ camera.camera_to_world @ mirror)
        for camera in views.cameras
    ]
    normals = views.normals
    if normals is not None:
        normals = normals.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    depth = None if views.depth is None else views.depth.flip(-1)
    return ViewSet(views.pictures.flip(-1), cameras, depth, normals, views.name)


def _source_camera(generator: np.random.Generator, resolution: int) -> Camera:
    """Mostly from the front and a little above, at 40 degrees field of view; sometimes from anywhere."""
    azimuth = generator.uniform(-50, 50) if generator.random() < 0.8 else generator.uniform(-180, 180)
    elevation = generator.uniform(0, 30) if generator.random() < 0.8 else generator.uniform(-10, 45)
    field_of_view = 40.0 if generator.random() < 0.8 else generator.uniform(30, 50)
    return orbit_camera(azimuth, elevation, field_of_view_degrees=field_of_view, width=resolution, height=resolution)


def _target_cameras(generator: np.random.Generator, source: Camera, count: int, resolution: int) -> list[Camera]:
    """Half on rings around the object as the main job asks for, half anywhere between -20 and 70 degrees."""
    start = np.degrees(np.arctan2(source.position[0], -source.position[1]))
    cameras = []
    for number in range(count):
        if number % 2 == 0:
            azimuth = start + 22.5 * generator.integers(16)
            elevation = generator.choice([15.0, 15.0, 0.0, 40.0, -15.0])
        else:
            azimuth = generator.uniform(-180, 180)
            low, high = np.sin(np.radians([-20, 70]))
            elevation = np.degrees(np.arcsin(generator.uniform(low, high)))
        cameras.append(
            orbit_camera(azimuth, float(elevation), field_of_view_degrees=40, width=resolution, height=resolution)
        )
    return cameras


def _carving_cameras(generator: np.random.Generator) -> list[Camera]:
    """Depth views spread over the sphere, turned by a random angle each draw."""
    turn = generator.uniform(0, 360)
    cameras = []
    for direction in sphere_directions(_CARVING_VIEWS):
        elevation = float(np.degrees(np.arcsin(direction[2])))
        azimuth = float(np.degrees(np.arctan2(direction[0], -direction[1]))) + turn
        cameras.append(
            orbit_camera(
                azimuth,
                max(-85.0, min(85.0, elevation)),
                field_of_view_degrees=40,
                width=_CARVING_RESOLUTION_PX,
                height=_CARVING_RESOLUTION_PX,
            )
        )
    return cameras


def _elevation_degrees(camera: Camera) -> float:
    return float(np.degrees(np.arcsin(camera.position[2] / np.linalg.norm(camera.position))))


def _recoloured(pictures: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All pictures [V, 4, H, W] of a draw with the same change of colour: channels swapped, gain, contrast."""
    result = pictures.copy()
    if generator.random() < 0.5:
        result[:, :3] = result[:, generator.permutation(3)]
    gain = generator.uniform(0.8, 1.15)
    gamma = generator.uniform(0.85, 1.2)
    if generator.random() < 0.6:
        result[:, :3] = np.clip(result[:, :3] ** gamma * gain, 0, 1)
    return result
