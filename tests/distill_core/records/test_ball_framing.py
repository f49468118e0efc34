import numpy as np
import pytest

from distill_core.cameras import Camera, look_at, orbit_camera
from distill_core.errors import UserError
from distill_core.records.ball_framing import FramedView, framed_view
from distill_core.records.multi_view_record import RecordView
from tests.distill_core.records.record_folders import ball_view


def ball_at(camera: Camera) -> RecordView:
    alpha, depth, normals = ball_view(camera, np.zeros(3))
    rgba = np.concatenate([np.full((3, *alpha.shape), 0.5, np.float32) * alpha, alpha[None]])
    return RecordView(camera, rgba, depth, normals, "ball")


def depth_of(view: RecordView | FramedView) -> np.ndarray:
    assert view.depth is not None
    return view.depth


def test_a_view_that_is_framed_so_already_is_left_as_it_is() -> None:
    view = ball_at(orbit_camera(30, 20, width=48, height=48))
    framed = framed_view(view, 48)
    np.testing.assert_allclose(framed.rgba, view.rgba, atol=1e-6)
    np.testing.assert_array_equal(framed.depth, view.depth)
    assert (framed.camera.cx, framed.camera.fx) == (view.camera.cx, view.camera.fx)
    assert framed.is_seen.all()


def test_the_square_holds_the_outline_of_the_ball_wherever_it_lies() -> None:
    # Off the axis, with pixels that are not square: the outline is an ellipse that is not centred on the centre.
    pose = look_at((1, -4, 2), (0.6, 0, 0.4))
    camera = Camera(200, 150, 170, 150, 90, 80, pose)
    view = RecordView(camera, np.ones((4, 150, 200), np.float32), None, None, "off the axis")
    framed = framed_view(view, 64).camera
    # By brute force: the directions of the plane that touches the ball from the camera.
    towards = -camera.position / np.linalg.norm(camera.position)
    distance = np.linalg.norm(camera.position)
    one = np.cross(towards, (0, 0, 1))
    one /= np.linalg.norm(one)
    other = np.cross(towards, one)
    angle = np.linspace(0, 2 * np.pi, 4000)[:, None]
    rim = towards * (-1 / distance) + np.sqrt(1 - 1 / distance**2) * (np.cos(angle) * one + np.sin(angle) * other)
    pixels, _ = framed.project(rim)
    # Edges lie on whole pixels of the source, of which the square has some 90.
    assert pixels.min() > -1
    assert pixels.max() < 65
    widest = max(np.ptp(pixels[:, 0]), np.ptp(pixels[:, 1]))
    assert 62.5 < widest <= 64.01


def test_what_lies_beyond_the_picture_is_unknown_and_transparent() -> None:
    whole = ball_at(orbit_camera(0, 0, width=40, height=40))
    cut = RecordView(whole.camera.cropped(0, 0, 40, 25), whole.rgba[:, :25], depth_of(whole)[:25], None, "cut")
    framed, expected = framed_view(cut, 40), framed_view(whole, 40)
    assert framed.is_seen[:25].all()
    assert not framed.is_seen[25:].any()
    assert not framed.rgba[3, 25:].any()
    np.testing.assert_array_equal(depth_of(framed)[:25], depth_of(expected)[:25])
    np.testing.assert_allclose(framed.camera.intrinsics, expected.camera.intrinsics)


def test_depth_of_another_size_stays_on_the_surface() -> None:
    camera = orbit_camera(70, 10, width=256, height=256, distance=5)
    _, depth, normals = ball_view(camera.resized(128, 128), np.zeros(3))
    view = ball_at(camera)
    framed = framed_view(RecordView(camera, view.rgba, depth, normals, "half"), 64)
    rows, columns = np.nonzero(depth_of(framed))
    points = framed.camera.unproject(np.stack([columns + 0.5, rows + 0.5], 1), depth_of(framed)[rows, columns])
    # Half a pixel of 128 at distance 5 is 0.014; a steep surface multiplies it.
    off = np.abs(np.linalg.norm(points, axis=1) - 0.9)
    assert np.median(off) < 0.015


def test_cameras_in_the_ball_or_beside_it_are_refused() -> None:
    inside = Camera(8, 8, 8, 8, 4, 4, look_at((0, -0.5, 0)))
    with pytest.raises(UserError, match="not normalised"):
        framed_view(RecordView(inside, np.ones((4, 8, 8), np.float32), None, None, "x"), 8)
    beside = Camera(8, 8, 80, 80, 4, 4, look_at((0, -5, 0), (4, 0, 0)))
    with pytest.raises(UserError, match="one beside it"):
        framed_view(RecordView(beside, np.ones((4, 8, 8), np.float32), None, None, "x"), 8)
