"""The zip of the extension; Blender's own view of it is in tests/blender."""

import ast
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from distill_core.errors import UserError
from scripts.addon_package import MANIFEST, addon_files, write_folder
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
        own = {
            path.relative_to(REPOSITORY / "blender_addon").as_posix()
            for path in (REPOSITORY / "blender_addon").rglob("*.py")
        }
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
            for node in ast.walk(ast.parse(zipped.read(name))):
                if isinstance(node, ast.Import):
                    outside |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    outside.add((node.module or "").split(".")[0])
                elif isinstance(node, ast.ImportFrom):
                    assert node.level <= len(Path(name).parts), f"{name} reaches out of its zip"
                    base = Path(name).parents[node.level - 1] / (node.module or "").replace(".", "/")
                    if f"{base.as_posix()}.py" not in names:
                        for alias in node.names:
                            path = (base / alias.name).as_posix()
                            assert f"{path}.py" in names, f"{name} imports {path}"
    import sys

    blender = {"bpy", "bpy_extras", "mathutils", "bmesh", "gpu", "gpu_extras", "numpy", "blf", "_cycles"}
    # The formats try Python's own zstd, and the package for Pythons without one.
    assert outside - set(sys.stdlib_module_names) - blender <= {"zstandard", "compression"}


def test_two_builds_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    status, _, error = build("--output-dir", str(tmp_path))
    assert status == 0, error
    assert (tmp_path / built.name).read_bytes() == built.read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    status, _, error = build("--output-dir", str(tmp_path / "dist"), "--folder", str(tmp_path / "mine"))
    assert status == 2
    assert "choose another" in error
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_unpacked_extension_is_replaced_whole(tmp_path: Path) -> None:
    files, folder = addon_files(), tmp_path / "unpacked"
    write_folder(files, folder)
    (folder / "of_an_earlier_one.py").write_text("")
    link = tmp_path / "link"
    link.symlink_to(folder)
    write_folder(files, link)
    assert link.is_symlink()
    assert contents(folder) == {name: source.read_bytes() for name, source in files.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "unpacked"]


@pytest.mark.parametrize("place", ["", "blender_addon", "gs_integration", "gs_integration/formats"])
def test_the_folder_of_the_sources_is_left_alone(place: str, tmp_path: Path) -> None:
    """In a copy of the sources, reached by its own path and by another one."""
    files = {}
    for name, source in addon_files().items():
        files[name] = tmp_path / "checkout" / source.relative_to(REPOSITORY)
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(source.read_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "checkout")
    before = contents(tmp_path / "checkout")
    for folder in (
        tmp_path / "checkout" / place,
        tmp_path / "link" / place,
        tmp_path / "checkout" / "x" / ".." / place,
    ):
        with pytest.raises(UserError, match="choose another"):
            write_folder(files, folder)
        assert contents(tmp_path / "checkout") == before


@pytest.mark.parametrize("manifest", ['id = "another"', 'id = "onestep3d"', "id ="])
def test_other_extensions_and_other_checkouts_are_left_alone(manifest: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (tmp_path / MANIFEST).write_text(manifest)
    (tmp_path / "__init__.py").write_text("")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="choose another"):
        write_folder(addon_files(), tmp_path)
    assert contents(tmp_path) == before


def test_a_copy_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    files, folder = addon_files(), tmp_path / "unpacked"
    write_folder(files, folder)
    before = contents(folder)
    with pytest.raises(OSError, match="gone"):
        write_folder({**files, "zz.py": tmp_path / "gone.py"}, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["unpacked"]


def test_a_missing_blender_is_said(tmp_path: Path) -> None:
    options = ["--no-worker", "--output-dir", str(tmp_path), "--repository", str(tmp_path / "repository")]
    status, _, error = build(*options, "--blender", str(tmp_path / "no-blender"))
    assert status == 2
    assert "--blender" in error
    assert "Traceback" not in error
