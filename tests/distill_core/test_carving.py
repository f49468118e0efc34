"""Carving a sphere, whose inside is known in closed form."""

import numpy as np

from distill_core.cameras import Camera, orbit_camera
from distill_core.carving import carve_frustum

_RADIUS = 0.6


def _sphere_depth(camera: Camera) -> np.ndarray:
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    directions = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)], -1)
    distance = np.linalg.norm(camera.position)
    # |z d - (0, 0, distance)|^2 = r^2 in camera axes, the sphere's centre on the optical axis.
    square = (directions**2).sum(-1)
    root = distance**2 - square * (distance**2 - _RADIUS**2)
    depth = (distance - np.sqrt(np.maximum(root, 0))) / square
    return np.where(root > 0, depth, 0).astype(np.float32)


def test_a_carved_sphere_is_the_sphere():
    source = orbit_camera(10, 20, width=32, height=32)
    carving = [orbit_camera(a, e, width=96, height=96) for a in range(0, 360, 45) for e in (-50, 0, 50)]
    depths = np.stack([_sphere_depth(camera) for camera in carving])
    silhouette = (_sphere_depth(source) > 0).astype(np.float32)
    occupied = carve_frustum(source, silhouette, carving, depths).astype(bool)

    bins = occupied.shape[0]
    rows, columns = np.mgrid[0:32, 0:32] + 0.5
    directions = np.stack([(columns - source.cx) / source.fx, (rows - source.cy) / source.fy, np.ones((32, 32))], -1)
    depth = np.linalg.norm(source.position) - 1 + (np.arange(bins) + 0.5) * 2 / bins
    points = depth[:, None, None, None] * directions - np.array([0, 0, np.linalg.norm(source.position)])
    distance = np.linalg.norm(points, axis=-1)

    # Everything inside stays; grown by a pixel (0.023) and the margin (0.03), nothing farther out than their sum stays,
    # but for the corners between 24 views.
    assert occupied[(distance < _RADIUS - 0.01) & (silhouette > 0)].all()
    assert occupied[distance > _RADIUS + 0.12].mean() < 1e-3


def test_a_sheet_thinner_than_a_cell_leaves_no_hole():
    source = orbit_camera(0, 0, width=16, height=16)
    sheet = np.full((16, 16), np.linalg.norm(source.position) + 0.001, np.float32)
    carving = [orbit_camera(90, 0, width=64, height=64)]
    occupied = carve_frustum(source, np.ones((16, 16)), carving, np.zeros((1, 64, 64)), source_depth=sheet)
    assert (occupied.sum(0) == 1).all()
    assert (occupied.argmax(0) == 16).all()


def test_empty_pixels_hold_nothing():
    source = orbit_camera(0, 0, width=16, height=16)
    silhouette = np.zeros((16, 16), np.float32)
    silhouette[4:8, 4:8] = 1
    carving = [orbit_camera(90, 0, width=64, height=64)]
    depths = np.ones((1, 64, 64), np.float32)
    occupied = carve_frustum(source, silhouette, carving, depths)
    assert not occupied[:, silhouette == 0].any()
