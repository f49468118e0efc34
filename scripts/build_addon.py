"""Build the Blender extension: dist/onestep3d-VERSION.zip, from which Blender 4.2 or later installs it.

With --repository also a folder that Blender takes as an extension repository, from which it installs and updates: the
zip, in the place of those of other versions, and the index that Blender itself writes. Serve it from anywhere, or name
it as a local path.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from distill_core.progress import Progress
from scripts.command_line import run, say


class BuildAddon(BaseModel):
    """Command line of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_dir: Path = Field(default=Path("dist"), description="folder that the zip is written to")
    folder: Path | None = Field(
        default=None, description="also write the extension unpacked into this folder, for work on it"
    )
    repository: Path | None = Field(
        default=None, description="also add the zip to the extension repository in this folder, and write its index"
    )
    blender: str = Field(default="blender", description="the Blender that writes the index, of version 4.2 or later")


def main(settings: BuildAddon, progress: Progress) -> None:
    """Build what was asked for and say where it is."""
    from scripts.addon_package import add_to_repository, addon_files, write_folder, write_zip, zip_name

    progress.stage("extension", None)
    files = addon_files()
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
