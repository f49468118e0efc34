"""The wheel that the worker is installed from: the packages, and the checkpoint that ships."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from distill_core.errors import UserError

_REPOSITORY = Path(__file__).resolve().parents[1]
_PACKAGES = ("distill_core", "renderers", "gs_integration", "checkpoints")
_FILES = ("pyproject.toml", "README.md", "LICENSE")
_NEEDED = ("gs_integration/worker.py", "checkpoints/small/model.safetensors")
_CONSTRAINTS = "constraints.txt"
# 2020-01-01: one day for all files makes two builds of the same files the same bytes.
_DAY = "1577836800"


def build_wheel(folder: Path) -> Path:
    """Build the wheel, in a copy so that nothing is left in the sources, and put the tested versions beside it.

    Args:
        folder: of the wheel and of constraints.txt; other files in it stay.

    Returns:
        The wheel, whole.

    Raises:
        UserError: pip cannot build it, or the repository is not whole.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
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
            env={**os.environ, "SOURCE_DATE_EPOCH": _DAY},
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
        target = folder / wheel.name
        # Under a temporary name first: a wheel is there whole or not at all.
        unfinished = target.with_name(f".{target.name}")
        shutil.copyfile(wheel, unfinished)
        unfinished.replace(target)
    shutil.copyfile(_REPOSITORY / _CONSTRAINTS, folder / _CONSTRAINTS)
    return target
