"""Checks of records: a ball in closed form passes, and each way to break it is found by the check that should."""

from dataclasses import replace

import numpy as np
import pytest

from distill_core.cameras import Camera, orbit_rig
from distill_core.errors import UserError
from distill_core.records.multi_view_record import LazyViews, MultiViewRecord, RecordView
from distill_core.records.record_checks import CheckedRecord, check_record
from distill_core.records.record_geometry import contradicted_depth, hull_points, unexplained_share
from tests.distill_core.records.record_folders import RADIUS, ball_record, ball_view

SIDE_PX = 64
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def ball(**options) -> MultiViewRecord:
    return ball_record(side_px=SIDE_PX, num_views=12, **options)


def states(checked: CheckedRecord) -> dict[str, str]:
    return {finding.check: finding.state for finding in checked.findings}


def wrong(record: MultiViewRecord) -> set[str]:
    return {check for check, state in states(check_record(record)).items() if state == "wrong"}


def rods() -> MultiViewRecord:
    """Two balls far apart, so that cameras cannot be swapped without being noticed."""
    cameras = orbit_rig(12, elevations_degrees=(20.0, -15.0), width=SIDE_PX, height=SIDE_PX)
    centres = np.array([[0.55, 0.2, 0.35], [-0.4, -0.3, -0.5]])
    pictures, depths, normals = [], [], []
    for camera in cameras:
        # The balls of record_folders, made smaller about their own centres by moving the camera away.
        views = [small_ball(camera, centre, 0.28) for centre in centres]
        depth = np.where(views[0][1] * views[1][1] > 0, np.minimum(views[0][1], views[1][1]), views[0][1] + views[1][1])
        first = (depth == views[0][1]) & (depth > 0)
        alpha = np.maximum(views[0][0], views[1][0])
        pictures.append(np.stack([alpha * 0.5, alpha * 0.6, alpha * 0.7, alpha]))
        depths.append(depth)
        normals.append(np.where(first, views[0][2], views[1][2]))
    return MultiViewRecord(
        cameras,
        np.stack(pictures).astype(np.float32),
        np.stack(depths).astype(np.float32),
        np.stack(normals).astype(np.float32),
        {"normalisation": {"kind": "unit-ball"}},
    )


def small_ball(camera: Camera, centre: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = RADIUS / radius
    pose = camera.camera_to_world.copy()
    pose[:3, 3] = (pose[:3, 3] - centre) * scale
    alpha, depth, normals = ball_view(camera.moved(pose), np.zeros(3))
    return alpha, depth / scale, normals


def test_a_true_record_passes_every_check() -> None:
    for record in (ball(), rods()):
        checked = check_record(record)
        assert set(states(checked).values()) == {"ok"}, checked.findings
        assert checked.is_sound
        # Points of the surface lie on it.
        assert len(checked.surface) > 1000
    distances = np.linalg.norm(check_record(ball()).surface, axis=1)
    np.testing.assert_allclose(distances, RADIUS, atol=1e-5)


def test_the_ball_of_an_unnormalised_object_is_found() -> None:
    record = ball(metadata={}, with_depth=False, centre=(0.05, -0.03, 0.02))
    checked = check_record(record)
    assert set(states(checked).values()) == {"ok", "absent"}
    # A pixel of the 64 is 0.045 of the world's units there.
    np.testing.assert_allclose(checked.centre, (0.05, -0.03, 0.02), atol=0.03)
    assert checked.radius == pytest.approx(RADIUS, abs=0.05)


def test_a_thin_object_is_explained_by_its_own_hull() -> None:
    """A rod thinner than the cells of the grid: the law holds whatever the shape."""
    cameras = orbit_rig(9, elevations_degrees=(25.0, -10.0), width=256, height=256)
    ends = np.array([[-0.4, 0.2, -0.6], [0.5, -0.1, 0.7]])
    line = ends[0] + np.linspace(0, 1, 4000)[:, None] * (ends[1] - ends[0])
    views = []
    for camera in cameras:
        columns, rows = np.floor(camera.project(line)[0]).astype(int).T
        rgba = np.zeros((4, 256, 256), np.float32)
        rgba[:, rows, columns] = 1
        views.append(RecordView(camera, rgba, None, None, "rod"))
    hull = hull_points(views, np.zeros(3), 1.0)
    assert 0 < len(hull) < 2000
    assert max(unexplained_share(view, hull, 1.0) for view in views) == 0


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        # The axes of OpenGL taken for OpenCV's: every camera looks away.
        (lambda r: replace(r, cameras=[c.moved(c.camera_to_world @ OPENGL) for c in r.cameras]), "cameras"),
        (lambda r: replace(r, cameras=[*r.cameras[3:], *r.cameras[:3]]), "silhouettes"),
        (lambda r: replace(r, cameras=[*r.cameras[3:], *r.cameras[:3]]), "depth between views"),
        (lambda r: replace(r, depth=np.asarray(r.depth) * 0.9), "depth between views"),
        (lambda r: replace(r, depth=np.asarray(r.depth)[:, ::-1].copy()), "depth and alpha"),
        (lambda r: replace(r, normals=-np.asarray(r.normals)), "normals"),
        (lambda r: replace(r, metadata=r.metadata | {"missing_pictures": ["images/007.png"]}), "files"),
        (lambda r: replace(r, pictures=np.concatenate([np.zeros_like(r.pictures[:1]), r.pictures[1:]])), "alpha"),
        (lambda r: replace(r, depth=np.asarray(r.depth)[:, :, :40].copy()), "sizes"),
    ],
)  # fmt: skip
def test_what_is_broken_is_found(broken, expected: str) -> None:
    assert expected in wrong(broken(rods()))


def test_a_damaged_view_is_named_and_the_rest_is_checked() -> None:
    record = ball()

    def damaged() -> np.ndarray:
        raise UserError("images/003.png: cut off")

    readers = [damaged if index == 3 else (lambda index=index: record.pictures[index]) for index in range(len(record))]
    checked = check_record(replace(record, pictures=LazyViews(readers)))
    assert not checked.is_sound
    assert "1 of 12 views cannot be read: images/003.png: cut off" in checked.findings[0].says
    assert states(checked)["silhouettes"] == "ok"


def test_opaque_pictures_are_noted_and_not_wrong() -> None:
    record = ball(with_depth=False, metadata={})
    opaque = np.asarray(record.pictures).copy()
    opaque[:, 3] = 1
    checked = check_record(replace(record, pictures=opaque))
    assert states(checked) | {"cameras": ""} == states(checked) | {"cameras": "", "alpha": "note"}
    assert checked.is_sound
    # All cameras look at the origin.
    np.testing.assert_allclose(checked.centre, 0, atol=1e-9)


def test_depth_scaled_about_its_cameras_floats_by_as_much_as_it_is_off() -> None:
    """The tolerance is a hundredth of the radius and a pixel: what is off by five times as much is contradicted."""
    record = ball()
    views = [record.read_view(index) for index in range(len(record))]
    assert contradicted_depth(views, 1.0) == (0.0, pytest.approx(1.0, abs=0.02))
    nearer = [
        replace(view, depth=np.where(view.depth > 0, view.depth - 0.4, 0)) for view in views if view.depth is not None
    ]
    contradicted, _ = contradicted_depth(nearer, 1.0)
    assert contradicted > 0.3


def test_views_of_two_moments_are_not_held_against_each_other() -> None:
    """A ball that becomes two: neither explains the other's depth or silhouette."""
    before, after = ball(), rods()
    both = {
        name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in ("pictures", "depth", "normals")
    }
    record = replace(before, cameras=[*before.cameras, *after.cameras], **both)
    assert wrong(record)
    assert not wrong(replace(record, times=[0.0] * len(before) + [1.0] * len(after)))
