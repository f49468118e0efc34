"""The zip as Blender itself sees it: validated, installed, enabled and disabled, offered by a repository."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from benchmarks.addon_versions import TWICE, complaints, problems
from scripts.addon_package import MANIFEST, add_to_repository, addon_files, manifest_version
from tests.scripts.processes import REPOSITORY, run_program

pytestmark = pytest.mark.blender

PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, installed_blender: str) -> tuple[Path, Path]:
    """The zip, and a repository that offers it."""
    folder = tmp_path_factory.mktemp("built")
    options = [
        "--output-dir",
        str(folder / "dist"),
        "--repository",
        str(folder / "repository"),
        "--blender",
        installed_blender,
    ]
    status, _, error = run_program(["scripts/build_addon.py", *options])
    assert status == 0, error
    (zipped,) = (folder / "dist").glob("onestep3d-*.zip")
    return zipped, folder / "repository"


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=REPOSITORY)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return said


def test_blender_validates_the_zip(installed_blender: str, built: tuple[Path, Path]) -> None:
    said = run([installed_blender, "--command", "extension", "validate", str(built[0])])
    assert "Success" in said
    assert "warning" not in said.lower().replace("cuew", "")


def test_blender_installs_it_and_enables_it_twice(installed_blender: str, built: tuple[Path, Path]) -> None:
    run(
        [
            installed_blender,
            "--command",
            "extension",
            "install-file",
            "--repo",
            "user_default",
            "--enable",
            str(built[0]),
        ]
    )
    said = run([installed_blender, "--background", "--python-exit-code", "1", "--python-expr", TWICE])
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


INSTALLED = """
import json, sys, tomllib
from pathlib import Path
import bpy, addon_utils
name = "bl_ext.{repository}.onestep3d"
found = {{"enabled": name in bpy.context.preferences.addons, "running": addon_utils.check(name)[1]}}
if found["running"]:
    folder = Path(sys.modules[name].__file__).parent
    found["version"] = tomllib.loads((folder / "blender_manifest.toml").read_text())["version"]
    found["button"] = hasattr(bpy.types, "ONESTEP3D_OT_generate_views")
print("RESULT " + json.dumps(found), flush=True)
"""


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, nothing written to the terminal."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder at an address of this machine that no other machine can reach."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def named(folder: Path) -> Iterator[str]:
    """A folder by its path."""
    yield folder.as_uri()


@pytest.mark.parametrize("place", [named, served])
def test_blender_installs_and_updates_it_from_a_repository(
    place: Callable[[Path], AbstractContextManager[str]],
    installed_blender: str,
    built: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    repository, module = tmp_path / "a repository", f"of_{place.__name__}"
    shutil.copytree(built[1], repository)
    first = manifest_version(files := addon_files())
    second = f"{int(first.partition('.')[0]) + 1}.0.0"

    def extension(*arguments: str) -> str:
        return run([installed_blender, "--online-mode", "--command", "extension", *arguments])

    def installed() -> dict[str, object]:
        said = run([installed_blender, "--background", "--python-exit-code", "1", "--python-expr", asked])
        return json.loads(
            next(line for line in said.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT ")
        )

    asked = INSTALLED.format(repository=module)
    with place(repository) as address:
        extension("repo-add", "--name", module, "--url", f"{address}/index.json", module)
        extension("install", "--sync", "--enable", f"{module}.onestep3d")
        assert installed() == {"enabled": True, "running": True, "version": first, "button": True}
        extension("update", "--sync")
        assert installed()["version"] == first  # there is nothing newer yet
        manifest = tmp_path / MANIFEST
        manifest.write_text(files[MANIFEST].read_text().replace(f'"{first}"', f'"{second}"'))
        assert add_to_repository({**files, MANIFEST: manifest}, repository, installed_blender) == [built[0].name]
        extension("update", "--sync")
        assert installed() == {"enabled": True, "running": True, "version": second, "button": True}
        extension("remove", f"{module}.onestep3d")
        extension("repo-remove", module)
    assert installed() == {"enabled": False, "running": False}
