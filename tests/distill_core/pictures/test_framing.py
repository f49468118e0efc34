import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_core.cameras import orbit_camera
from distill_core.errors import UserError
from distill_core.pictures.framing import frame_object


def picture_with_box(height: int, width: int, left: int, top: int, box_width: int, box_height: int) -> np.ndarray:
    rgba = np.zeros((4, height, width), np.float32)
    rgba[:, top : top + box_height, left : left + box_width] = np.array([0.2, 0.6, 0.4, 1.0])[:, None, None]
    return rgba


def extent(alpha: np.ndarray) -> tuple[float, float, float, float]:
    """Left, right, top and bottom edge of what is visible, from 0 to 1."""
    columns, rows = np.flatnonzero(alpha.max(axis=0) > 0.5), np.flatnonzero(alpha.max(axis=1) > 0.5)
    height, width = alpha.shape
    return columns[0] / width, (columns[-1] + 1) / width, rows[0] / height, (rows[-1] + 1) / height


@given(
    st.integers(40, 90),
    st.integers(40, 90),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(8, 28),
    st.integers(1, 6),
)
def test_the_object_is_centred_and_fills_its_share(
    height: int, width: int, left: int, top: int, box_width: int, thickness: int
) -> None:
    rgba = picture_with_box(height, width, left, top, box_width, min(thickness, box_width // 2))
    framed = frame_object(rgba, resolution=128, fill=0.8)
    first, last, upper, lower = extent(framed.rgba[3])
    # The cut-out lies on whole pixels of the source: at most one pixel off in place, one in size; and the frame's own
    # pixels round once more.
    tolerance = 1.5 / framed.side_px + 1 / 128
    assert (first + last) / 2 == pytest.approx(0.5, abs=tolerance)
    assert (upper + lower) / 2 == pytest.approx(0.5, abs=tolerance)
    # A flat box never reaches the circle around the frame before it fills its share.
    assert last - first == pytest.approx(0.8, abs=tolerance + 1.5 / framed.side_px)


def test_corners_stay_within_the_circle_that_training_views_have() -> None:
    framed = frame_object(picture_with_box(200, 300, 100, 50, 100, 100), resolution=128, fill=0.95)
    rows, columns = np.nonzero(framed.rgba[3] > 0.5)
    farthest = np.hypot(np.abs(rows + 0.5 - 64) + 0.5, np.abs(columns + 0.5 - 64) + 0.5).max()
    assert farthest <= 64 + 1.5
    assert extent(framed.rgba[3])[1] - extent(framed.rgba[3])[0] == pytest.approx(np.sqrt(0.5), abs=0.02)


def test_colours_and_coverage_survive_and_outside_is_transparent() -> None:
    framed = frame_object(picture_with_box(60, 40, 0, 10, 40, 16), resolution=64)
    visible = framed.rgba[3] > 0.99
    np.testing.assert_allclose(
        framed.rgba[:3, visible].T, np.broadcast_to([0.2, 0.6, 0.4], (visible.sum(), 3)), atol=1e-5
    )
    assert framed.left_px < 0
    assert not framed.rgba[3, :, 0].any()


def test_dust_beside_the_object_does_not_count() -> None:
    rgba = picture_with_box(100, 100, 40, 40, 30, 20)
    alone = frame_object(rgba)
    rgba[:, 2, 2] = 1
    with_dust = frame_object(rgba)
    assert (with_dust.left_px, with_dust.top_px, with_dust.side_px) == (alone.left_px, alone.top_px, alone.side_px)


def test_a_point_of_the_cut_out_is_the_same_point_of_the_picture() -> None:
    rgba = picture_with_box(120, 200, 130, 20, 40, 60)
    framed = frame_object(rgba, resolution=128)
    framed_camera = orbit_camera(30, 10, width=128, height=128)
    source_camera = framed.source_camera(framed_camera)
    assert (source_camera.width, source_camera.height) == (200, 120)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    in_frame, _ = framed_camera.project(points)
    in_source, _ = source_camera.project(points)
    np.testing.assert_allclose(in_source, in_frame / framed.scale + (framed.left_px, framed.top_px), atol=1e-9)


def test_an_object_at_the_edge_is_framed_and_said(caplog: pytest.LogCaptureFixture) -> None:
    framed = frame_object(picture_with_box(80, 80, 50, 30, 30, 20))
    assert framed.cut_off_at == ("right",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "right" in caplog.records[0].message


def test_what_cannot_be_framed_is_refused() -> None:
    with pytest.raises(UserError, match="fully transparent"):
        frame_object(np.zeros((4, 30, 30), np.float32))
    with pytest.raises(UserError, match=r"at least 8 pixels, got one of 5 x 4"):
        frame_object(picture_with_box(100, 100, 40, 40, 5, 4))


def test_faint_objects_are_framed_by_their_own_strength() -> None:
    rgba = picture_with_box(100, 100, 30, 40, 40, 20)
    faint = rgba.copy()
    faint[3] *= 0.3
    assert frame_object(faint).side_px == frame_object(rgba).side_px
