"""Records of a ball in front of cameras, for tests: closed forms for alpha, depth and normals."""

from pathlib import Path

import numpy as np

from distill_core.cameras import Camera, orbit_rig
from distill_core.records.multi_view_record import MultiViewRecord, write_record

RADIUS = 0.9


def ball_record(
    seed: int = 0,
    *,
    num_views: int = 10,
    side_px: int = 32,
    with_depth: bool = True,
    metadata: dict | None = None,
    centre: tuple[float, float, float] = (0, 0, 0),
) -> MultiViewRecord:
    """A ball of one colour, drawn by its seed, seen from two rings around the origin."""
    cameras = orbit_rig(num_views, elevations_degrees=(20.0, -15.0), width=side_px, height=side_px)
    colour = np.random.default_rng(seed).uniform(0.2, 1, 3)
    views = [ball_view(camera, np.array(centre, float)) for camera in cameras]
    pictures = [
        np.concatenate([np.broadcast_to(colour[:, None, None], (3, *a.shape)) * a, a[None]]) for a, _, _ in views
    ]
    return MultiViewRecord(
        cameras=cameras,
        pictures=np.stack(pictures).astype(np.float32),
        depth=np.stack([depth for _, depth, _ in views]) if with_depth else None,
        normals=np.stack([normals for _, _, normals in views]) if with_depth else None,
        metadata={"normalisation": {"kind": "bounding sphere"}} if metadata is None else metadata,
    )


def ball_view(camera: Camera, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alpha (0 or 1), z-depth and world normals of the ball at the centres of the pixels."""
    rows, columns = np.mgrid[: camera.height, : camera.width]
    pixels = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    rays = camera.unproject(pixels, np.ones(len(pixels))) - camera.position  # one unit of z-depth each
    offset = camera.position - centre
    a, b, c = (rays**2).sum(1), rays @ offset, offset @ offset - RADIUS**2
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    hit = b**2 > a * c
    depth = np.where(hit, (-b - root) / a, 0)
    normals = np.where(hit[:, None], (camera.position + depth[:, None] * rays - centre) / RADIUS, 0)
    shape = rows.shape
    return (
        hit.reshape(shape).astype(np.float32),
        depth.reshape(shape).astype(np.float32),
        normals.T.reshape(3, *shape).astype(np.float32),
    )


def write_balls(folder: Path, count: int, **options) -> list[str]:
    """Records ball-00, ball-01, ... in a folder; their names."""
    names = [f"ball.{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        write_record(ball_record(number, **options), folder / name)
    return names
