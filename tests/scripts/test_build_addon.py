"""The zip of the extension; Blender's own view of it is in tests/blender."""

import ast
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.scripts.processes import REPOSITORY, run_program

PROGRAM = "scripts/build_addon.py"


def build(*options: str) -> tuple[int, str, str]:
    return run_program([PROGRAM, *options])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    status, output, error = build("--output-dir", str(folder), "--folder", str(folder / "unpacked"))
    assert status == 0, error
    manifest = tomllib.loads((REPOSITORY / "blender_addon" / "blender_manifest.toml").read_text())
    file = folder / f"onestep3d-{manifest['version']}.zip"
    assert str(file) in output
    return file


def test_the_zip_holds_the_add_on_and_what_it_shares_with_the_worker(built: Path) -> None:
    with zipfile.ZipFile(built) as zipped:
        names = set(zipped.namelist())
        own = {file.name for file in (REPOSITORY / "blender_addon").glob("*.py")}
        assert {"__init__.py", "blender_manifest.toml", "LICENSE", "protocol.py", "formats/spz.py"} <= names
        assert own <= names
        assert names == {
            file.relative_to(built.parent / "unpacked").as_posix()
            for file in (built.parent / "unpacked").rglob("*")
            if file.is_file()
        }
        others = {name for name in names if not name.endswith((".py", ".toml", "LICENSE"))}
        (wheel,) = others - {"worker/constraints.txt"}
        assert re.fullmatch(r"worker/onestep3d-[\w.]+-py3-none-any\.whl", wheel)
        with zipped.open(wheel) as read, zipfile.ZipFile(read) as packed:
            assert {"gs_integration/worker.py", "checkpoints/small/model.safetensors"} <= set(packed.namelist())
            assert packed.testzip() is None


def test_without_the_worker_it_is_small(tmp_path: Path) -> None:
    status, _, error = build("--no-worker", "--output-dir", str(tmp_path))
    assert status == 0, error
    (zipped,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(zipped) as archive:
        assert not [name for name in archive.namelist() if name.startswith("worker/")]
    assert zipped.stat().st_size < 1_000_000


def test_wheels_go_into_the_box(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    options = ["--wheels", str(wheels), "--output-dir", str(tmp_path)]
    status, _, error = build(*options)
    assert status == 2
    assert "pip download" in error
    for name in ("torch-2.0-py3-none-any.whl", "onestep3d-0.0-py3-none-any.whl"):
        (wheels / name).write_bytes(name.encode())
    status, _, error = build(*options)
    assert status == 0, error
    (zipped,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(zipped) as archive:
        names = [name for name in archive.namelist() if name.startswith("worker/")]
        assert archive.read("worker/torch-2.0-py3-none-any.whl") == b"torch-2.0-py3-none-any.whl"
    assert len(names) == 3
    assert "worker/onestep3d-0.0-py3-none-any.whl" not in names


def test_no_module_in_the_zip_imports_the_project(built: Path) -> None:
    """Every import is Blender's, numpy's, the standard library's, or relative and there."""
    outside = set()
    with zipfile.ZipFile(built) as zipped:
        names = set(zipped.namelist())
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            folder = Path(name).parent
            for node in ast.walk(ast.parse(zipped.read(name))):
                if isinstance(node, ast.Import):
                    outside |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    outside.add((node.module or "").split(".")[0])
                elif isinstance(node, ast.ImportFrom):
                    assert node.level == 1, f"{name} reaches out of its folder"
                    modules = [node.module] if node.module else [alias.name for alias in node.names]
                    for module in modules:
                        path = folder / (module or "").replace(".", "/")
                        assert f"{path.as_posix()}.py" in names, f"{name} imports {module}"
    import sys

    blender = {"bpy", "bpy_extras", "mathutils", "bmesh", "gpu", "gpu_extras", "numpy", "blf"}
    # The formats try Python's own zstd, and the package for Pythons without one.
    assert outside - set(sys.stdlib_module_names) - blender <= {"zstandard", "compression"}


def test_two_builds_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    status, _, error = build("--output-dir", str(tmp_path))
    assert status == 0, error
    assert (tmp_path / built.name).read_bytes() == built.read_bytes()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    status, _, error = build("--output-dir", str(tmp_path / "dist"), "--folder", str(tmp_path / "mine"))
    assert status == 2
    assert "choose another folder" in error
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_missing_blender_is_said(tmp_path: Path) -> None:
    options = ["--no-worker", "--output-dir", str(tmp_path), "--repository", str(tmp_path / "repository")]
    status, _, error = build(*options, "--blender", str(tmp_path / "no-blender"))
    assert status == 2
    assert "--blender" in error
    assert "Traceback" not in error
