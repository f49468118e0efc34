"""Splats that were moved, turned and scaled, written to a file and read again, look as they did before."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from distill_core.cameras import orbit_rig
from distill_core.metrics import psnr
from gs_integration.formats.by_ending import write_splat_file
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_files import read_splats, splats_from_arrays
from tests.gs_integration.formats.clouds import asymmetric_cloud


# Degree as far as the format keeps it: .spz has 4 bits for coefficients of band 2, which shows in a picture.
@pytest.mark.parametrize(("ending", "degree"), [("ply", 3), ("glb", 3), ("spz", 1), ("splat", 0)])
def test_exported_splats_look_as_they_did_before_they_were_moved(ending: str, degree: int, tmp_path: Path) -> None:
    cloud = asymmetric_cloud(150, degree)
    scale, shift = 1.7, np.array([3.0, -2.0, 0.5])
    rotation = Rotation.from_euler("xyz", [30, -50, 110], degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, shift
    write_splat_file(tmp_path / f"moved.{ending}", cloud.transformed(matrix))
    moved, _ = read_splats(tmp_path / f"moved.{ending}")
    for camera in orbit_rig(3, elevations_degrees=(20.0,), width=48, height=40):
        camera_to_world = np.eye(4)
        camera_to_world[:3, :3] = rotation @ camera.camera_to_world[:3, :3]
        camera_to_world[:3, 3] = scale * rotation @ camera.camera_to_world[:3, 3] + shift
        before = rasterize(splats_from_arrays(cloud), [camera], torch.ones(3)).colour[0]
        after = rasterize(moved, [camera.moved(camera_to_world)], torch.ones(3)).colour[0]
        assert float(before.std()) > 0.1
        assert float(psnr(after.numpy(), before.numpy())) > 35
