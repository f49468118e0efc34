import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.cameras import orbit_rig
from distill_core.errors import UserError
from gs_integration.formats.ply import read_ply
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_files import read_splats, write_splats
from gs_integration.splats import Splats


@pytest.fixture
def splats() -> Splats:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    means = normal(40, 3) * torch.tensor([0.1, 0.2, 0.3]) + torch.tensor([0.1, 0.2, 0.3])
    return Splats(means, normal(40, 4), normal(40, 3) * 0.5 - 2.5, normal(40), normal(40, 9, 3) * 0.5)


@pytest.mark.parametrize("axes", ["y-down", "y-up", "z-up"])
def test_splats_look_the_same_from_every_camera_whatever_the_axes_of_the_file(
    splats: Splats, axes, tmp_path: Path
) -> None:
    write_splats(tmp_path / "splats.ply", splats, axes=axes, antialiased=True)
    again, antialiased = read_splats(tmp_path / "splats.ply")
    assert antialiased
    cameras = orbit_rig(4, elevations_degrees=(25.0,), width=48, height=40)
    before, after = (rasterize(each, cameras, torch.ones(3), antialiased=True) for each in (splats, again))
    # Quaternions and harmonics were turned and rounded to float32 twice.
    torch.testing.assert_close(after.colour, before.colour, rtol=0, atol=1e-4)


def test_one_warning_says_what_was_dropped(shared_assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_splats(shared_assets / "bad_inputs" / "splat_nan_inf.ply")
    assert len(caplog.records) == 1
    assert "Dropped 2 of 20" in caplog.text


def test_errors_name_the_file(shared_assets: Path, tmp_path: Path, splats: Splats) -> None:
    with pytest.raises(UserError, match=r"point_cloud\.ply: This is a point cloud"):
        read_splats(shared_assets / "bad_inputs" / "point_cloud.ply")
    with pytest.raises(UserError, match=r"missing\.ply: No such file"):
        read_splats(tmp_path / "missing.ply")
    with pytest.raises(UserError, match=r"splats\.ply: No such file"):
        write_splats(tmp_path / "no_folder" / "splats.ply", splats)
    with pytest.raises(UserError, match=r"expected \.ply, .* got splats\.xyz"):
        write_splats(tmp_path / "splats.xyz", splats)


def test_quaternions_in_files_have_length_one(tmp_path: Path, splats: Splats) -> None:
    write_splats(tmp_path / "cloud.ply", replace(splats, quaternions_wxyz=splats.quaternions_wxyz * 1.7))
    arrays = read_ply(tmp_path / "cloud.ply", axes_if_unsaid="y-down").splats
    assert np.linalg.norm(arrays.quaternions_wxyz, axis=1) == pytest.approx(1, abs=1e-6)
