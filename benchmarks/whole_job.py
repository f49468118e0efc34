"""The whole job on rendered pictures of well-known models: with alpha, on white, as JPEG on grey; square and not.

Counts the pictures that end with every file written, and how well the splats agree with the picture.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.evaluation_models import evaluation_models, render_pictures
from distill_core.cameras import orbit_camera

_PROGRAM = Path(__file__).resolve().parents[1] / "scripts" / "image_to_3dgs.py"
_FILES = ("input.png", "transforms.json", "splats.ply", "turntable.mp4", "preview.png", "report.json")
_SIDE_PX = 400
_VARIANTS = {
    "alpha": (_SIDE_PX, _SIDE_PX, ".png", None),
    "white": (_SIDE_PX * 3 // 2, _SIDE_PX, ".png", 1.0),
    "grey": (_SIDE_PX, _SIDE_PX * 5 // 4, ".jpg", 0.5),
}
_AZIMUTH_DEGREES, _ELEVATION_DEGREES = 30.0, 15.0


class Settings(BaseModel):
    """Which models, and what to keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/eval"), description="folder of the models, with INDEX.csv")
    keep: Path | None = Field(default=None, description="folder in which pictures and results stay; none keeps nothing")
    limit: int | None = Field(default=None, ge=1, description="try only this many models")


def run(settings: Settings) -> dict[str, Any]:
    """Render the pictures, run the job on their folder and look at what it wrote.

    Args:
        settings: which models.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.keep or Path(temporary)
        pictures = folder / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        for name, mesh in evaluation_models(settings.models, settings.limit):
            for variant in _VARIANTS:
                _write_picture(mesh, variant, pictures / f"{name}_{variant}")
        command = [sys.executable, str(_PROGRAM), str(pictures), "--output-dir", str(folder / "results")]
        status = subprocess.run(command).returncode
        rows = [_outcome(file.stem, folder / "results") for file in sorted(pictures.iterdir())]
    complete = [row for row in rows if not row["missing"]]
    return {
        "exit_status": status,
        "pictures": rows,
        "complete": len(complete),
        "median_source_psnr": statistics.median(row["source_psnr"] for row in complete) if complete else None,
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = ["| picture | files | PSNR against the picture (dB) |", "| --- | --- | ---: |"]
    for row in result["pictures"]:
        files = f"without {', '.join(row['missing'])}" if row["missing"] else "all"
        lines.append(f"| {row['picture']} | {files} | {_decibels(row['source_psnr'])} |")
    total = f"{result['complete']} of {len(result['pictures'])}"
    lines.append(f"| **median** | **{total} complete** | **{_decibels(result['median_source_psnr'])}** |")
    return "\n".join(lines)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _write_picture(mesh: Any, variant: str, stem: Path) -> None:
    import numpy as np
    from PIL import Image

    width, height, ending, background = _VARIANTS[variant]
    camera = orbit_camera(_AZIMUTH_DEGREES, _ELEVATION_DEGREES, width=width, height=height)
    picture = render_pictures(mesh, [camera])[0]
    if background is not None:
        from distill_core.images import composite

        picture = composite(picture, background)
    encoded = np.round(picture.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8)
    Image.fromarray(encoded).save(stem.with_name(stem.name + ending))


def _outcome(name: str, results: Path) -> dict[str, Any]:
    folder = results / name
    missing = [file for file in _FILES if not (folder / file).is_file()]
    if not any((folder / "views").glob("*.png")):
        missing.append("views")
    report = json.loads((folder / "report.json").read_text()) if "report.json" not in missing else {}
    return {"picture": name, "missing": missing, "source_psnr": report.get("source_view", {}).get("psnr")}
