import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def addon_folder(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The add-on's modules beside what the build copies to them, in a package that asks for no Blender by itself."""
    return copied_addon(repository, tmp_path_factory.mktemp("addon") / "onestep3d_addon")


def copied_addon(repository: Path, folder: Path) -> Path:
    """Copy the add-on into a folder that can be imported as a package."""
    shutil.copytree(repository / "blender_addon", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "__init__.py").write_text("")
    shutil.copyfile(repository / "gs_integration" / "protocol.py", folder / "protocol.py")
    shutil.copytree(repository / "gs_integration" / "formats", folder / "formats")
    return folder


@pytest.fixture(scope="session")
def client_module(addon_folder: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(addon_folder.parent))
    try:
        yield importlib.import_module("onestep3d_addon.processes.client")
    finally:
        sys.path.remove(str(addon_folder.parent))
