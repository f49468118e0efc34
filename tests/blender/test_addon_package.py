"""The zip as Blender itself sees it: validated, installed, enabled and disabled, offered by a repository."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.addon_versions import TWICE, complaints, problems
from tests.scripts.processes import REPOSITORY, run_program

pytestmark = pytest.mark.blender

PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def blender(tmp_path_factory: pytest.TempPathFactory, shared_assets: Path) -> str:
    """A Blender with a user folder of its own."""
    named = os.environ.get("BLENDER")
    program = shared_assets.parent / "tools" / "blender_gui.sh"
    folder = tmp_path_factory.mktemp("blender")
    start = folder / "blender.sh"
    if named:
        start.write_text(f'#!/bin/sh\nBLENDER_USER_RESOURCES="{folder}/user" exec "{named}" "$@"\n')
    else:
        start.write_text(f'#!/bin/sh\nBLENDER_STATE="{folder}" exec "{program}" blender "$@"\n')
    start.chmod(0o755)
    try:
        version = subprocess.run([str(start), "--version"], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except OSError as error:
        pytest.skip(f"needs an installed Blender, named in the environment variable BLENDER: {error}")
    if version.returncode or "Blender" not in version.stdout:
        pytest.skip("needs an installed Blender, named in the environment variable BLENDER, or blender_gui.sh install")
    return str(start)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, blender: str) -> tuple[Path, Path]:
    """The zip, and a repository that offers it."""
    folder = tmp_path_factory.mktemp("built")
    options = ["--output-dir", str(folder / "dist"), "--repository", str(folder / "repository"), "--blender", blender]
    status, _, error = run_program(["scripts/build_addon.py", *options])
    assert status == 0, error
    (zipped,) = (folder / "dist").glob("onestep3d-*.zip")
    return zipped, folder / "repository"


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=REPOSITORY)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return said


def test_blender_validates_the_zip(blender: str, built: tuple[Path, Path]) -> None:
    said = run([blender, "--command", "extension", "validate", str(built[0])])
    assert "Success" in said
    assert "warning" not in said.lower().replace("cuew", "")


def test_blender_installs_it_and_enables_it_twice(blender: str, built: tuple[Path, Path]) -> None:
    run([blender, "--command", "extension", "install-file", "--repo", "user_default", "--enable", str(built[0])])
    said = run([blender, "--background", "--python-exit-code", "1", "--python-expr", TWICE])
    found = json.loads(next(line for line in said.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT "))
    assert not complaints(said), said[-4000:]
    assert not problems(found)


def test_the_repository_offers_it(built: tuple[Path, Path]) -> None:
    zipped, repository = built
    (entry,) = json.loads((repository / "index.json").read_text())["data"]
    assert (entry["id"], entry["type"]) == ("onestep3d", "add-on")
    assert entry["version"] in zipped.name
    assert entry["archive_size"] == zipped.stat().st_size
    assert (repository / zipped.name).read_bytes() == zipped.read_bytes()
