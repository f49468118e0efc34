"""What the worker's environment can be made from: the wheel of the project, its folder, or a folder of wheels.

No bpy here.
"""

import hashlib
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .job_requests import JobError

PROJECT = "onestep3d"
_NEEDED = ("gs_integration/worker.py", "checkpoints/small/model.safetensors")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """Where the project comes from.

    Attributes:
        project: the wheel, or the folder that holds pyproject.toml.
        constraints: tested versions of what it needs, None if there are none beside it.
        wheels: a folder that has every wheel, torch's too, so that nothing is downloaded; None if there is none.
    """

    project: Path
    constraints: Path | None
    wheels: Path | None

    @property
    def needs_network(self) -> bool:
        """Whether packages are downloaded."""
        return self.wheels is None

    def fingerprint(self) -> str:
        """Return what changes when the project or the versions do."""
        watched = [self.project] if self.project.is_file() else sorted(self.project.glob("*_*/**/*.py"))
        digest = hashlib.sha256()
        for file in [*watched, *([self.constraints] if self.constraints else [])]:
            about = file.stat()
            digest.update(f"{file}\n{about.st_size}\n{about.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def find_source(path: Path) -> Source:
    """Return what a wheel or a folder can be installed from.

    Args:
        path: the project's wheel, its folder, or a folder with its wheel and perhaps all others.

    Raises:
        JobError: it is neither.
    """
    if path.is_file():
        _check_wheel(path)
        return Source(path, _constraints_in(path.parent), None)
    if (path / "pyproject.toml").is_file():
        _check_checkout(path)
        return Source(path, _constraints_in(path), None)
    found = sorted(path.glob(f"{PROJECT}-*.whl"), key=lambda wheel: wheel.stat().st_mtime) if path.is_dir() else []
    if not found:
        raise JobError(
            f"Expected the wheel of {PROJECT} ({PROJECT}-VERSION-py3-none-any.whl) or a folder with it, got {path}. "
            "Choose another."
        )
    _check_wheel(found[-1])
    has_torch = any(path.glob("torch-*.whl"))
    return Source(found[-1], _constraints_in(path), path if has_torch else None)


def _constraints_in(folder: Path) -> Path | None:
    file = folder / "constraints.txt"
    return file if file.is_file() else None


def _check_wheel(wheel: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise JobError(
            f"Expected a wheel, but {wheel.name} cannot be read ({error}). Copy or build it again."
        ) from None
    if not wheel.name.startswith(f"{PROJECT}-") or wheel.suffix != ".whl":
        raise JobError(f"Expected the wheel of {PROJECT}, got {wheel.name}. Choose {PROJECT}-VERSION-py3-none-any.whl.")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise JobError(f"Expected a whole wheel, but {wheel.name} lacks {missing[0]}. Build it again.")


def _check_checkout(folder: Path) -> None:
    try:
        content = (folder / "pyproject.toml").read_bytes()[:_MOST_BYTES].decode()
        project = tomllib.loads(content).get("project", {})
    except (OSError, ValueError) as error:
        raise JobError(f"Expected the folder of {PROJECT}, but its pyproject.toml cannot be read: {error}.") from None
    name = project.get("name") if isinstance(project, dict) else None
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if name != PROJECT or missing:
        raise JobError(
            f"Expected the folder of {PROJECT}, got {folder} ({f'without {missing[0]}' if missing else name}). "
            "Choose another, or the wheel."
        )
