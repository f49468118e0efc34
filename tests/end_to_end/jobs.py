"""Whole jobs at settings so short that a test has time for them."""

import shutil
from pathlib import Path

from distill_core.progress import SilentProgress
from scripts import generate_views, image_to_3dgs
from scripts.command_line import parse

SHORT_VIEWS = ["--num-views", "4"]
SHORT_FIT = ["--iterations", "12", "--num-splats", "400", "--max-splats", "400", "--refinements", "1"]
SHORT = [*SHORT_VIEWS, *SHORT_FIT, "--turntable-frames", "2", "--device", "cpu"]
TWO_ANGLES = ["--azimuths-degrees", "0", "120", "--device", "cpu"]

VIEW_FILES = {"input.png", "views", "transforms.json", "preview.png", "report.json"}
SPLAT_FILES = VIEW_FILES | {"splats.ply", "turntable.mp4"}


def make_splats(image: Path, output_dir: Path, *options: str) -> int:
    """Run image_to_3dgs.py in this process; returns its exit status."""
    arguments = [str(image), "--output-dir", str(output_dir), *SHORT, *options]
    return image_to_3dgs.main(parse(image_to_3dgs.ImageToSplats, arguments=arguments), SilentProgress())


def make_views(image: Path, output_dir: Path, *options: str) -> int:
    """Run generate_views.py in this process; returns its exit status."""
    arguments = [str(image), "--output-dir", str(output_dir), *TWO_ANGLES, *options]
    return generate_views.main(parse(generate_views.GenerateViews, arguments=arguments), SilentProgress())


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()


def copies(files: list[Path], folder: Path) -> Path:
    """A folder with copies of files, for jobs that take a folder."""
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return folder
