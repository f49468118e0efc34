"""Build the Blender extension: dist/onestep3d-VERSION.zip, from which Blender 4.2 or later installs it.

The worker and its model are in the zip; Install Worker in the tab brings what they need, over the network or, with
--wheels, from the zip, too. With --repository also a folder that Blender takes as an extension repository, from which
it installs and updates: the zip, in the place of those of other versions, and the index that Blender itself writes.
Serve it from anywhere, or name it as a local path.
"""

import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from distill_core.progress import Progress
from scripts.command_line import run, say


class BuildAddon(BaseModel):
    """Command line of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_dir: Path = Field(default=Path("dist"), description="folder that the zip is written to")
    worker: bool = Field(
        default=True, description="put the worker and its model into the zip; without them it is small"
    )
    wheels: Path | None = Field(
        default=None,
        description="also put every wheel of this folder into the zip (pip download --dest DIR onestep3d-*.whl), so "
        "that no network is needed; for one kind of system and Python alone",
    )
    folder: Path | None = Field(
        default=None, description="also write the extension unpacked into this folder, for work on it"
    )
    repository: Path | None = Field(
        default=None, description="also add the zip to the extension repository in this folder, and write its index"
    )
    blender: str = Field(default="blender", description="the Blender that writes the index, of version 4.2 or later")


def main(settings: BuildAddon, progress: Progress) -> None:
    """Build what was asked for and say where it is."""
    with tempfile.TemporaryDirectory() as temporary:
        _build(settings, _worker(settings, Path(temporary), progress), progress)


def _worker(settings: BuildAddon, folder: Path, progress: Progress) -> Path | None:
    """Gather what the worker is installed from; None if it is left out."""
    from distill_core.errors import UserError
    from scripts.worker_wheel import build_wheel

    if not settings.worker:
        if settings.wheels is not None:
            raise UserError("Expected --wheels with the worker, got --no-worker; leave one of them out.")
        return None
    progress.stage("worker", None)
    own = build_wheel(folder)
    if settings.wheels is not None:
        wheels = sorted(settings.wheels.glob("*.whl")) if settings.wheels.is_dir() else []
        if not any(wheel.name.startswith("torch-") for wheel in wheels):
            raise UserError(
                f"Expected a folder with the wheels of torch and all else, got {settings.wheels}; pip download --dest "
                f"{settings.wheels} --constraint constraints.txt {own.name} fills it."
            )
        for wheel in wheels:
            if not wheel.name.startswith("onestep3d-"):
                (folder / wheel.name).symlink_to(wheel.absolute())
    return folder


def _build(settings: BuildAddon, worker: Path | None, progress: Progress) -> None:
    from scripts.addon_package import add_to_repository, addon_files, write_folder, write_zip, zip_name

    progress.stage("extension", None)
    files = addon_files(worker)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    built = settings.output_dir / zip_name(files)
    write_zip(files, built)
    say(f"wrote {built} ({built.stat().st_size:,} bytes, {len(files)} files)")
    if settings.folder is not None:
        write_folder(files, settings.folder)
        say(f"wrote {settings.folder}")
    if settings.repository is not None:
        progress.stage("repository", None)
        for older in add_to_repository(files, settings.repository, settings.blender):
            say(f"removed {settings.repository / older}")
        say(f"wrote {settings.repository / 'index.json'}")


if __name__ == "__main__":
    run(main, BuildAddon, description=__doc__)
