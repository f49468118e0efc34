"""The Python of README and docs runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path


def run_program_of(page: Path, repository: Path, folder: Path) -> str:
    """Run the one program of a page in a folder beside the examples; returns what it printed."""
    (program,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (folder / "examples").symlink_to(repository / "examples")
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_readme_makes_splats_of_a_picture(repository: Path, tmp_path: Path) -> None:
    run_program_of(repository / "README.md", repository, tmp_path)
    for name in ("splats.ply", "turntable.mp4", "preview.png", "input.png", "views", "transforms.json", "report.json"):
        assert (tmp_path / "out" / "python" / name).exists(), name


def test_views_are_synchronized_as_documented(repository: Path, tmp_path: Path) -> None:
    said = run_program_of(repository / "docs" / "synchronization.md", repository, tmp_path)
    assert "[3, 32, 96]" in said
