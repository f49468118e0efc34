"""A download of Objaverse, rendered: what its annotations say stands in the record."""

from pathlib import Path

import pytest

from distill_core.records.multi_view_record import read_record
from tests.blender.test_jobs import QUICK, render, report
from tests.renderers.sources.test_by_layout import UIDS, a_download

pytestmark = pytest.mark.blender


def test_a_record_of_objaverse_keeps_uid_licence_and_author(shared_assets: Path, tmp_path: Path) -> None:
    download = a_download(tmp_path / "download")
    for uid, name in zip(UIDS, ["market_taxi.glb", "crane_Spot_full.glb"], strict=False):
        model = (shared_assets / "mixed_formats" / name).read_bytes()
        (download / "hf-objaverse-v1" / "glbs" / "000-000" / f"{uid}.glb").write_bytes(model)
    status, text = render(download, tmp_path / "out", *QUICK, "--categories", "cars")
    assert status == 0, text
    assert list(report(tmp_path / "out")) == UIDS[:1]
    metadata = read_record(tmp_path / "out" / f"{UIDS[0]}.glb").metadata
    assert metadata["licence"] == "CC-BY-4.0"
    assert metadata["source"]["uid"] == UIDS[0]
    assert metadata["source"]["author"] == "Ann"
    assert metadata["source"]["origin"] == "Objaverse 1.0"
