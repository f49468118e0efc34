import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import orbit_angles, orbit_rig
from distill_core.errors import UserError
from distill_core.records.transforms_files import transforms_text
from gs_integration.texturing.texture_cameras import (
    automatic_cameras,
    cameras_from_file,
    ring_and_poles_cameras,
    texel_areas,
)
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.meshes import TexturedMesh
from renderers.texture_space.texel_surface import texel_surface
from tests.renderers.texturable_meshes import bare_mesh, charted_box


def tray() -> TexturedMesh:
    """A flat box that is open at the top, with a wall inside: rings at low elevation miss its floor."""
    box = charted_box()
    kept = np.array([face for face in range(12) if face // 2 != 2])  # side 2 is the top
    sides = bare_mesh(box.vertices * [1, 1, 0.5], box.faces[kept], box.corner_uvs[kept])
    inner = replace(sides, vertices=sides.vertices * 0.9, faces=sides.faces[:, ::-1])
    return replace(
        sides,
        vertices=np.concatenate([sides.vertices, inner.vertices]),
        faces=np.concatenate([sides.faces, inner.faces + len(sides.vertices)]),
        corner_uvs=np.concatenate([sides.corner_uvs * 0.5, inner.corner_uvs[:, ::-1] * 0.5 + np.float32(0.5)]),
        face_picture=np.zeros(2 * len(kept), np.int64),
    )


def test_rings_look_from_where_they_say() -> None:
    cameras = ring_and_poles_cameras(8, width=32, height=32, start_azimuth_degrees=10)
    angles = [orbit_angles(camera.position) for camera in cameras]
    np.testing.assert_allclose([angle[1] for angle in angles], [15] * 6 + [90, -90], atol=1e-6)
    assert angles[0][0] == pytest.approx(10)
    with pytest.raises(UserError, match="at least 3"):
        ring_and_poles_cameras(2, width=32, height=32)


def test_areas_of_texels_add_up_to_the_surface() -> None:
    mesh = charted_box()
    assert texel_areas(mesh, texel_surface(mesh, 64)).sum() == pytest.approx(6 * (2 / 3**0.5) ** 2)


def test_automatic_views_see_more_than_a_ring_and_begin_in_front() -> None:
    mesh = tray()
    automatic = automatic_cameras(mesh, 5, width=64, height=64)
    azimuth, elevation, _ = orbit_angles(automatic[0].position)
    assert (azimuth, elevation) == (pytest.approx(0, abs=1e-9), pytest.approx(15))
    shares = [
        TextureProjection(mesh, cameras, 96).coverage.surface_share
        for cameras in (automatic, orbit_rig(5, elevations_degrees=(15.0,), width=64, height=64))
    ]
    assert shares[0] > shares[1] + 0.1
    assert shares[0] > 0.9
    with pytest.raises(UserError, match="expected 1 to 81, got 0"):
        automatic_cameras(mesh, 0, width=64, height=64)


def test_more_automatic_views_begin_with_the_fewer() -> None:
    few, many = (automatic_cameras(charted_box(), count, width=64, height=64) for count in (2, 4))
    for one, other in zip(few, many[:2], strict=True):
        np.testing.assert_array_equal(one.camera_to_world, other.camera_to_world)
    # Each sees the most that is new: two views of a box that look along the same diagonal, from both ends, see it all.
    assert few[1].position @ few[0].position < 0


def test_cameras_of_a_file_come_back_for_another_resolution(tmp_path: Path) -> None:
    cameras = orbit_rig(4, width=100, height=80)
    file = tmp_path / "transforms.json"
    file.write_text(transforms_text(cameras, [f"images/{view}.png" for view in range(4)]))
    for source in (file, tmp_path):
        found = cameras_from_file(source, width=50, height=40)
        for one, camera in zip(found, cameras, strict=True):
            np.testing.assert_allclose(one.camera_to_world, camera.camera_to_world, atol=1e-12)
            assert (one.width, one.height, one.fx) == (50, 40, pytest.approx(camera.fx / 2))
    with pytest.raises(UserError, match=r"shaped like 64 x 64, got 100 x 80"):
        cameras_from_file(file, width=64, height=64)
    with pytest.raises(UserError, match="cannot be read"):
        cameras_from_file(tmp_path / "none.json", width=64, height=64)


def test_cameras_without_a_stated_size_take_the_pictures(tmp_path: Path) -> None:
    file = tmp_path / "transforms.json"
    pose = np.eye(4)
    pose[2, 3] = 3
    file.write_text(
        json.dumps({"camera_angle_x": 0.7, "frames": [{"file_path": "a", "transform_matrix": pose.tolist()}]})
    )
    (camera,) = cameras_from_file(file, width=48, height=48)
    assert camera.field_of_view_degrees[0] == pytest.approx(np.degrees(0.7))
