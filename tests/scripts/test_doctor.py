import sys
from pathlib import Path

import pytest

from scripts.doctor import Finding, findings
from scripts.system_libraries import PACKAGE_OF_LIBRARY, install_command, missing_libraries
from tests.scripts.processes import run_program


def test_the_doctor_examines_everything_and_ends_well() -> None:
    status, report, error = run_program(["scripts/doctor.py"])
    assert (status, error) == (0, "")
    for thing in ("cores", "Python", "torch", "bfloat16", "CUDA", "gsplat", "Open3D", "ffmpeg", "viser", "Blender"):
        assert thing in report
    assert "checkpoint" in report


def test_what_is_missing_has_a_consequence_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    found: list[Finding] = list(findings())
    missing = {finding.what for finding in found if not finding.present}
    assert {"torch", "Blender on the path", "ffmpeg, for turntables"} <= missing
    assert all(finding.without and finding.remedy for finding in found if not finding.present)


def test_missing_libraries_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("libraries of Linux")
    monkeypatch.setitem(PACKAGE_OF_LIBRARY, "libnot_there.so.7", "libnot-there7")
    assert "libnot_there.so.7" in missing_libraries()
    assert install_command(["libnot_there.so.7"])[-1] == "libnot-there7"


def test_the_remedies_name_extras_that_exist() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    source = (Path(__file__).parents[2] / "scripts" / "doctor.py").read_text()
    for extra in ("gpu", "viewer", "metrics", "pretrained"):
        assert extra in project["optional-dependencies"]
        assert f'"{extra}"' in source
