"""Build the wheel that the Blender add-on installs its worker from: the packages and the checkpoint that ships.

Writes DIR/onestep3d-VERSION-py3-none-any.whl and, beside it, the versions that the tests ran with. With every other
wheel in the same folder (pip download --dest DIR), the worker can be installed without a network.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from distill_core.progress import Progress
from scripts.command_line import run, say


class BuildWheel(BaseModel):
    """Command line of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_dir: Path = Field(default=Path("dist"), description="folder of the wheel; other files in it stay")


def main(settings: BuildWheel, progress: Progress) -> None:
    """Build it and say where it is."""
    from scripts.worker_wheel import build_wheel

    progress.stage("wheel", None)
    wheel = build_wheel(settings.output_dir)
    say(f"wrote {wheel} ({wheel.stat().st_size:,} bytes)")


if __name__ == "__main__":
    run(main, BuildWheel, description=__doc__)
