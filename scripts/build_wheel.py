"""Build the wheel that the Blender add-on installs its worker from: the packages and the checkpoint that ships.

Writes DIR/onestep3d-VERSION-py3-none-any.whl and, beside it, the versions that the tests ran with. With every other
wheel in the same folder (pip download --dest DIR), the worker can be installed without a network.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError
from distill_core.progress import Progress
from scripts.command_line import run, say

_REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ("distill_core", "renderers", "gs_integration", "checkpoints")
_FILES = ("pyproject.toml", "README.md", "LICENSE")
_NEEDED = ("gs_integration/worker.py", "checkpoints/small/model.safetensors")


class BuildWheel(BaseModel):
    """Command line of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_dir: Path = Field(default=Path("dist"), description="folder of the wheel; other files in it stay")


def main(settings: BuildWheel, progress: Progress) -> None:
    """Build in a copy, so that nothing is left in the sources, and see that the wheel is whole."""
    progress.stage("wheel", None)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        sources, built = Path(temporary, "sources"), Path(temporary, "built")
        for package in _PACKAGES:
            shutil.copytree(_REPOSITORY / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in _FILES:
            shutil.copyfile(_REPOSITORY / file, sources / file)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        done = subprocess.run(
            [*command, "--wheel-dir", str(built), str(sources)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            last = (done.stdout.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise UserError(f"Expected pip to build a wheel, got: {last}; run make setup, which brings what it needs.")
        (wheel,) = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            missing = sorted(set(_NEEDED) - set(archive.namelist()))
        if missing:
            raise UserError(
                f"Expected {missing[0]} in the wheel, but it is not in {_REPOSITORY}; get the whole repository."
            )
        target = settings.output_dir / wheel.name
        # Under a temporary name first: a wheel is there whole or not at all.
        unfinished = target.with_name(f".{target.name}")
        shutil.copyfile(wheel, unfinished)
        unfinished.replace(target)
    shutil.copyfile(_REPOSITORY / "constraints.txt", settings.output_dir / "constraints.txt")
    say(f"wrote {target} ({target.stat().st_size:,} bytes)")


if __name__ == "__main__":
    run(main, BuildWheel, description=__doc__)
