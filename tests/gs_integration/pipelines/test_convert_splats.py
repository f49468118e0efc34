import logging
from pathlib import Path

import numpy as np
import pytest

from distill_core.errors import UserError
from gs_integration.formats.by_ending import write_splat_file
from gs_integration.pipelines.convert_splats import convert_splats
from gs_integration.pipelines.settings import ConvertSettings
from gs_integration.splat_array_files import read_splat_arrays
from tests.gs_integration.formats.clouds import asymmetric_cloud


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_splat_file(tmp_path / "cloud.ply", asymmetric_cloud(9, 1, axes="y-down"))
    return tmp_path / "cloud.ply"


def test_options_reach_the_file(source: Path, tmp_path: Path) -> None:
    convert_splats(source, tmp_path / "turned.ply", ConvertSettings(output_axes="z-up"))
    turned, straight = read_splat_arrays(tmp_path / "turned.ply"), read_splat_arrays(source)
    assert (turned.axes, straight.axes) == ("z-up", "y-down")
    np.testing.assert_allclose(turned.in_axes("y-down").means, straight.means, atol=1e-6)
    convert_splats(source, tmp_path / "four.spz", ConvertSettings(spz_version=4))
    assert (tmp_path / "four.spz").read_bytes()[:5] == b"NGSP\x04"
    convert_splats(tmp_path / "four.spz", tmp_path / "mistaken.ply", ConvertSettings(axes="y-down"))
    mistaken = read_splat_arrays(tmp_path / "mistaken.ply").means
    np.testing.assert_allclose(mistaken, straight.means * (1, -1, -1), atol=1e-5)


def test_what_is_lost_is_said(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        convert_splats(source, tmp_path / "cloud.splat", ConvertSettings())
    assert "cannot hold spherical harmonics above degree 0 (here 1)" in caplog.text


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("cloud.spz", ConvertSettings(output_axes="z-up"), "--output-axes for a .ply alone"),
        ("cloud.glb", ConvertSettings(spz_version=4), "--spz-version for an .spz alone"),
        ("cloud.sog", ConvertSettings(), "PlayCanvas's SOG"),
        ("cloud.gltf", ConvertSettings(), r"expected \.ply, \.spz, \.splat or \.glb"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, settings, words: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        convert_splats(source, tmp_path / name, settings)
    assert {entry.name for entry in tmp_path.iterdir()} == {"cloud.ply"}


def test_gltf_says_its_axes_itself(source: Path, tmp_path: Path) -> None:
    convert_splats(source, tmp_path / "cloud.glb", ConvertSettings())
    with pytest.raises(UserError, match="y up by specification"):
        convert_splats(tmp_path / "cloud.glb", tmp_path / "again.ply", ConvertSettings(axes="z-up"))
