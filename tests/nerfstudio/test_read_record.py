"""Records are nerfstudio folders: its own data parser must see the same cameras, depth and pictures as we do."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill_core.camera_conventions import pose_to_opengl
from distill_core.cameras import Camera, look_at
from distill_core.records.multi_view_record import MultiViewRecord, read_record, write_record
from tests.distill_core.records.record_folders import ball_record, ball_view
from tests.scripts.processes import REPOSITORY

pytestmark = pytest.mark.nerfstudio

PYTHON = REPOSITORY / ".venv-nerfstudio" / "bin" / "python"
READER = Path(__file__).with_name("read_record.py")


def seen_by_nerfstudio(record: Path, output: Path) -> dict[str, np.ndarray]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([PYTHON, READER, record, output], env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(output) as arrays:
        return dict(arrays)


def odd_record() -> MultiViewRecord:
    """Pictures that are not square, with the principal point off their middle, another lens for each, rolled."""
    generator = np.random.default_rng(5)
    cameras = []
    for index in range(4):
        position = generator.normal(size=3)
        pose = look_at(3.2 * position / np.linalg.norm(position), generator.uniform(-0.2, 0.2, 3), (0.3, index, 1.0))
        cameras.append(Camera(60, 44, 70.0 + index, 81.5, 26.25 + index, 24.5, pose))
    views = [ball_view(camera, np.zeros(3)) for camera in cameras]
    pictures = [np.stack([alpha * 0.2, alpha * 0.4, alpha * 0.8, alpha]) for alpha, _, _ in views]
    return MultiViewRecord(
        cameras,
        np.stack(pictures).astype(np.float32),
        np.stack([depth for _, depth, _ in views]),
        np.stack([normals for _, _, normals in views]),
    )


@pytest.mark.parametrize("kind", ["ring", "odd"])
def test_nerfstudio_s_parser_sees_the_same_cameras_depth_and_pictures(kind: str, tmp_path: Path) -> None:
    made = ball_record(num_views=6, side_px=40) if kind == "ring" else odd_record()
    write_record(replace(made, metadata={"licence": "CC0-1.0"}), tmp_path / "record")
    record = read_record(tmp_path / "record")
    seen = seen_by_nerfstudio(tmp_path / "record", tmp_path / "seen.npz")
    assert seen["files"].tolist() == list(record.names)
    np.testing.assert_array_equal(seen["scale"], [1.0, 0.001])
    for index, camera in enumerate(record.cameras):
        view = record.read_view(index)
        # Its tensors are float32: seven digits.
        np.testing.assert_allclose(
            seen["camera_to_worlds"][index], pose_to_opengl(camera.camera_to_world)[:3], rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(seen["intrinsics"][index], (camera.fx, camera.fy, camera.cx, camera.cy), rtol=1e-6)
        assert tuple(seen["sizes"][index]) == (camera.width, camera.height)
        assert view.depth is not None
        np.testing.assert_allclose(seen[f"depth_{index}"], view.depth, rtol=1e-6)
        # The same point of the world behind each pixel: along its ray, as far as the z-depth says.
        rows, columns = np.nonzero(view.depth)
        points = camera.unproject(np.stack([columns, rows], -1) + 0.5, view.depth[rows, columns])
        origins, directions = (seen[f"{name}_{index}"][rows, columns] for name in ("origins", "directions"))
        along = seen[f"depth_{index}"][rows, columns] / (directions @ camera.forward)
        np.testing.assert_allclose(origins + directions * along[:, None], points, rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.9, atol=0.002)  # the ball, in steps of 0.001
        stored = np.rint(view.rgba * 255).astype(np.uint8).transpose(1, 2, 0)
        np.testing.assert_array_equal(seen[f"image_{index}"], stored)
