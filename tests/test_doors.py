import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ["distill_core", "renderers", "gs_integration"]
# Modules that import neither torch nor any other slow library: settings may use pydantic, the rest numpy alone.
NUMPY_ALONE = [
    "distill_core.errors",
    "distill_core.progress",
    "distill_core.cameras",
    "distill_core.camera_conventions",
    "distill_core.camera_rigs",
    "gs_integration.formats",
    "gs_integration.protocol",
]
SLOW = ["torch", "open3d", "trimesh", "scipy", "numba", "cv2", "skimage", "PIL", "imageio", "safetensors"]
NUMPY_BESIDES = [*SLOW, "pydantic", "tyro", "rich", "jaxtyping"]


def modules(repository: Path, *packages: str) -> dict[str, Path]:
    found = {}
    for package in packages or PACKAGES:
        for file in sorted((repository / package).rglob("*.py")):
            name = ".".join(file.relative_to(repository).with_suffix("").parts).removesuffix(".__init__")
            found[name] = file
    return found


def imports_in_a_fresh_process(repository: Path, names: list[str], forbidden: list[str]) -> None:
    code = "\n".join(
        [
            "import sys, importlib",
            f"for name in {forbidden!r}: sys.modules[name] = None",
            f"for name in {names!r}: importlib.import_module(name)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_modules_that_others_copy_import_with_numpy_alone(repository: Path) -> None:
    names = [
        name for name in modules(repository) if any(name == room or name.startswith(room + ".") for room in NUMPY_ALONE)
    ]
    assert "distill_core.cameras" in names
    imports_in_a_fresh_process(repository, names, NUMPY_BESIDES)


def test_settings_import_nothing_slow(repository: Path) -> None:
    names = [name for name in modules(repository) if name.rpartition(".")[2] == "settings"]
    if not names:
        pytest.skip("no settings module yet")
    imports_in_a_fresh_process(repository, names, SLOW)


def test_modules_at_the_top_of_distill_core_import_none_of_its_rooms(repository: Path) -> None:
    rooms = {folder.name for folder in (repository / "distill_core").iterdir() if (folder / "__init__.py").exists()}
    for file in (repository / "distill_core").glob("*.py"):
        assert not rooms & {name.split(".")[1] for name in imported_modules(file) if name.startswith("distill_core.")}


def test_every_annotated_module_is_shape_checked(repository: Path) -> None:
    conftest = ast.parse((repository / "tests" / "conftest.py").read_text())
    listed = next(
        ast.literal_eval(node.value)
        for node in conftest.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "SHAPE_CHECKED_MODULES"
    )
    annotated = {
        name
        for name, file in modules(repository).items()
        if not name.endswith("_kernels") and "jaxtyping" in imported_names(file)
    }
    assert sorted(listed) == sorted(annotated)


def test_kernels_are_not_annotated_and_nothing_postpones_annotations(repository: Path) -> None:
    for name, file in modules(repository).items():
        imported = imported_names(file)
        assert not (name.endswith("_kernels") and "jaxtyping" in imported), name
        # A postponed annotation is a string, and hides the fields of a dataclass from the checker.
        assert not ("jaxtyping" in imported and "__future__" in imported), name


# Each room of the add-on may use those before it; "" stands for the modules of its own folder.
ADDON_ROOMS = ("processes", "queueing", "worker_setup", "", "views", "splats", "texturing", "dataset")
ADDON_ROOMS_WITHOUT_BPY = ADDON_ROOMS[:3]
ADDON_TOPS = ("__init__", "panels")
"""They put everything together."""
COPIED_INTO_THE_ADDON = {"protocol", "formats"}


def test_the_addon_imports_blender_numpy_and_itself_alone(repository: Path) -> None:
    """By relative imports: in Blender its package has another name; what it shares is copied beside it."""
    blender = {"bpy", "bpy_extras", "bl_ui", "bmesh", "gpu", "gpu_extras", "mathutils", "_cycles"}
    for room in ADDON_ROOMS:
        admitted = set(sys.stdlib_module_names) | {"numpy"} | (set() if room in ADDON_ROOMS_WITHOUT_BPY else blender)
        for file in sorted((repository / "blender_addon" / room).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    assert {alias.name.split(".")[0] for alias in node.names} <= admitted, file
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert str(node.module).split(".")[0] in admitted, file


def test_each_room_of_the_addon_uses_those_before_it(repository: Path) -> None:
    addon = repository / "blender_addon"
    assert {file.parent.name for file in addon.glob("*/*.py")} == set(ADDON_ROOMS) - {""}
    for number, room in enumerate(ADDON_ROOMS):
        for file in sorted((addon / room).glob("*.py")):
            if room == "" and file.stem in ADDON_TOPS:
                continue
            seen = set(ADDON_ROOMS[: number + 1])
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.ImportFrom) or not node.level:
                    continue
                assert node.level <= (2 if room else 1), file
                outside = node.level == 2 or not room
                first = str(node.module).split(".")[0] if node.module else ""
                if not outside:
                    assert (addon / room / f"{first}.py").exists() or not first, (file, first)
                elif first not in COPIED_INTO_THE_ADDON:
                    assert (first if (addon / first).is_dir() and first else "") in seen, (file, first)
                    assert not set(ADDON_TOPS) & {first, *(alias.name for alias in node.names)}, (file, first)


def test_kernels_live_in_kernel_modules(repository: Path) -> None:
    for name, file in modules(repository).items():
        decorators = [
            ast.unparse(decorator)
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef)
            for decorator in node.decorator_list
        ]
        if any("njit" in decorator or "numba.jit" in decorator for decorator in decorators):
            assert name.endswith("_kernels"), f"{name} holds numba kernels"


def test_packages_open_with_a_docstring_alone(repository: Path) -> None:
    for name, file in modules(repository).items():
        if file.name == "__init__.py":
            body = ast.parse(file.read_text()).body
            assert len(body) == 1, f"{name} does more than describe itself"
            assert isinstance(body[0], ast.Expr), f"{name} does more than describe itself"


def test_modules_stay_readable(repository: Path) -> None:
    too_long = {
        name: lines
        for name, file in modules(repository, *PACKAGES, "blender_addon", "scripts", "benchmarks").items()
        if (lines := len(file.read_text().splitlines())) > 400
    }
    assert not too_long


def imported_names(file: Path) -> set[str]:
    """Names of the packages that a module imports."""
    return {name.split(".")[0] for name in imported_modules(file)}


def imported_modules(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
