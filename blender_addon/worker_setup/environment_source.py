"""What the worker's environment can be made from: what the extension brings, a wheel, its folder, a folder of wheels.

No bpy here.
"""

import functools
import hashlib
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..queueing.job_requests import JobError

PROJECT = "onestep3d"
_NEEDED = ("gs_integration/worker.py", "checkpoints/small/model.safetensors")
_MOST_BYTES = 1 << 20
_BOX = Path(__file__).parents[1] / "worker"


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
        digest = hashlib.sha256(self.versions().encode())
        if self.project.is_file():
            # Of a wheel only what is in it: an extension that is installed again has it in another file.
            with zipfile.ZipFile(self.project) as archive:
                for entry in archive.infolist():
                    digest.update(f"{entry.filename}\n{entry.file_size}\n{entry.CRC}\n".encode())
            return digest.hexdigest()
        for file in sorted(self.project.glob("*_*/**/*.py")):
            about = file.stat()
            digest.update(f"{file}\n{about.st_size}\n{about.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def versions(self) -> str:
        """Return the tested versions as their file has them, "" if there are none."""
        return "" if self.constraints is None else self.constraints.read_text(encoding="utf-8", errors="replace")


@functools.cache
def in_the_box() -> bool:
    """Whether this build of the extension brings the worker."""
    return any(_BOX.glob(f"{PROJECT}-*.whl"))


@functools.cache
def needs_in_the_box() -> bool:
    """Whether this build of the extension brings all that the worker needs, too."""
    return in_the_box() and any(_BOX.glob("torch-*.whl"))


def find_source(path: Path | None) -> Source:
    """Return what a wheel or a folder can be installed from.

    Args:
        path: the project's wheel, its folder, or a folder with its wheel and perhaps all others; None is what the
            extension brings.

    Raises:
        JobError: it is neither.
    """
    if path is None:
        if not in_the_box():
            raise JobError("Expected a worker in this extension, got one without. Choose a wheel or a folder.")
        path = _BOX
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
