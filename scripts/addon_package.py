"""The Blender extension as files: the add-on, and beside it what it shares with the worker."""

import re
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from pathlib import Path

from distill_core.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
MANIFEST = "blender_manifest.toml"
INDEX = "index.json"

_ADDON = REPOSITORY / "blender_addon"
_SHARED = REPOSITORY / "gs_integration"
_WORKER = "worker"
_ID = "onestep3d"
_WHEEL = ".whl"
# A zip holds the day of each file: one day for all makes two builds of the same files the same bytes.
_DAY = (2020, 1, 1, 0, 0, 0)
_GENERATE_SECONDS = 120.0


def addon_files(worker: Path | None = None) -> dict[str, Path]:
    """Where every file of the extension is, by its path in there.

    Args:
        worker: folder of the wheel that the worker is installed from, of the tested versions, and perhaps of the wheels
            of all that it needs; None leaves the worker out.

    Raises:
        UserError: a copied module would take the place of one of the add-on's own.
    """
    sources = {file.relative_to(_ADDON).as_posix(): file for file in sorted(_ADDON.rglob("*.py"))}
    sources[MANIFEST] = _ADDON / MANIFEST
    shared = {"protocol.py": _SHARED / "protocol.py", "LICENSE": REPOSITORY / "LICENSE"}
    shared |= {f"formats/{file.name}": file for file in sorted((_SHARED / "formats").glob("*.py"))}
    if twice := sorted(sources.keys() & shared.keys()):
        raise UserError(f"Expected {twice[0]} in gs_integration alone, got one in blender_addon, too; remove that one.")
    if worker is not None:
        shared |= {f"{_WORKER}/{file.name}": file for file in sorted(worker.iterdir())}
    return dict(sorted({**sources, **shared}.items()))


def manifest_version(files: dict[str, Path]) -> str:
    """The version that the manifest states.

    Args:
        files: of the extension.

    Raises:
        UserError: it states none that Blender would take.
    """
    version = tomllib.loads(files[MANIFEST].read_text(encoding="utf-8")).get("version")
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", version):
        raise UserError(f"{MANIFEST}: expected a version such as 1.2.3, got {version!r}; correct it.")
    return version


def write_zip(files: dict[str, Path], file: Path) -> None:
    """Write the extension as Blender installs it, whole or not at all; the same files make the same bytes.

    Args:
        files: of the extension.
        file: the zip; one that is there is replaced.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = file.with_name(f".{file.name}")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
            for name, source in files.items():
                about = zipfile.ZipInfo(name, _DAY)
                # A wheel is a zip itself: nothing is left to press out of it.
                about.compress_type = zipfile.ZIP_STORED if source.suffix == _WHEEL else zipfile.ZIP_DEFLATED
                about.external_attr = 0o644 << 16
                about.file_size = source.stat().st_size
                with source.open("rb") as read, zipped.open(about, "w") as write:
                    shutil.copyfileobj(read, write)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_folder(files: dict[str, Path], folder: Path) -> None:
    """Write the extension unpacked, whole or not at all; what was there of an earlier one is replaced.

    Args:
        files: of the extension.
        folder: new, empty, or holding an unpacked extension.

    Raises:
        UserError: the folder holds something else, or what the extension is made of.
        OSError: it cannot be written.
    """
    folder = folder.resolve()
    if problem := _folder_problem(files, folder):
        raise UserError(f"Expected an empty folder or an unpacked extension, got {folder}: {problem}; choose another.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workplace:
        new, older = Path(workplace) / "new", Path(workplace) / "older"
        for name, source in files.items():
            target = new / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        if folder.exists():
            folder.rename(older)
        try:
            new.rename(folder)
        except OSError:
            if older.exists():
                older.rename(folder)
            raise


def _folder_problem(files: dict[str, Path], folder: Path) -> str:
    """Why all that a folder holds may not go; "" if it may."""
    if not folder.exists():
        return ""
    if not folder.is_dir():
        return "it is a file"
    if any(folder in source.resolve().parents for source in files.values()):
        return "the extension is made of files in there"
    if not any(folder.iterdir()):
        return ""
    if not (folder / MANIFEST).is_file():
        return "it holds other files"
    try:
        named = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("id")
    except (ValueError, OSError):
        named = None
    if named != _ID:
        return "it holds another extension"
    # Files that the build brings together: where one is missing, this is the folder of somebody's sources.
    missing = [name for name in ("__init__.py", "protocol.py", "LICENSE") if not (folder / name).is_file()]
    return f"it lacks {missing[0]}, and may be a checkout" if missing else ""


def zip_name(files: dict[str, Path]) -> str:
    """What the zip of the extension is called.

    Args:
        files: of the extension.

    Raises:
        UserError: the manifest states no version.
    """
    return f"onestep3d-{manifest_version(files)}.zip"


def add_to_repository(files: dict[str, Path], repository: Path, blender: str) -> list[str]:
    """Offer the extension in a static repository, in the place of its other versions.

    From a repository Blender takes one version of an extension: of two it takes either, and an update may never come.

    Args:
        files: of the extension.
        repository: folder of zips; is made if it is not there.
        blender: the executable that writes the index.

    Returns:
        Names of the zips of other versions, which were removed.

    Raises:
        UserError: Blender does not write the index.
        OSError: the folder cannot be written.
    """
    repository.mkdir(parents=True, exist_ok=True)
    name = zip_name(files)
    write_zip(files, repository / name)
    others = sorted(file for file in repository.glob("onestep3d-[0-9]*.zip") if file.name != name)
    for other in others:
        other.unlink()
    write_index(repository, blender)
    return [other.name for other in others]


def write_index(repository: Path, blender: str) -> None:
    """Let Blender write the index of a static extension repository.

    Args:
        repository: folder of zips.
        blender: the executable.

    Raises:
        UserError: Blender cannot be started, or does not write the index.
    """
    command = [blender, "--factory-startup", "--command", "extension", "server-generate"]
    try:
        done = subprocess.run(
            [*command, "--repo-dir", str(repository.resolve()), "--html"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GENERATE_SECONDS,
        )
    except OSError as error:
        raise UserError(
            f"Expected to start Blender as {blender}, got: {error.strerror}; name one of version 4.2 or later: "
            "--blender PATH."
        ) from error
    except subprocess.TimeoutExpired:
        raise UserError(f"Expected an index from {blender} within {_GENERATE_SECONDS:g} s, got none.") from None
    if done.returncode != 0 or not (repository / INDEX).is_file():
        said = " ".join((done.stdout + done.stderr).split())[-400:]
        raise UserError(f"Expected an index from {blender}, got status {done.returncode}: {said}")
