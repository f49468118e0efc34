"""The whole job on many pictures: counts those that end with every file written, and compares splats and picture.

The pictures are those of a folder, or rendered from well-known models: with alpha, on white, as JPEG on grey; square
and not.
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
from distill_core.errors import UserError
from distill_core.pictures.images import PICTURE_ENDINGS

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
    pictures: Path | None = Field(default=None, description="folder of pictures that take the place of rendered ones")
    keep: Path | None = Field(default=None, description="folder in which pictures and results stay; none keeps nothing")
    limit: int | None = Field(default=None, ge=1, description="try only this many models")


def run(settings: Settings) -> dict[str, Any]:
    """Render the pictures, run the job on their folder and look at what it wrote.

    Args:
        settings: which models.

    Raises:
        UserError: there are no pictures.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.keep or Path(temporary)
        pictures = settings.pictures or folder / "pictures"
        if settings.pictures is None:
            pictures.mkdir(parents=True, exist_ok=True)
            for name, mesh in evaluation_models(settings.models, settings.limit):
                for variant in _VARIANTS:
                    _write_picture(mesh, variant, pictures / f"{name}_{variant}")
        names = sorted(file.stem for file in pictures.iterdir() if file.suffix.lower() in PICTURE_ENDINGS)
        if not names:
            raise UserError(f"Expected pictures in {pictures}, found none; name another folder with --pictures.")
        command = [sys.executable, str(_PROGRAM), str(pictures), "--output-dir", str(folder / "results")]
        # What the program says of each picture goes to the terminal; standard output is for the table.
        status = subprocess.run(command, stdout=sys.stderr).returncode
        rows = [_outcome(name, folder / "results") for name in names]
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
    rows, variants = result["pictures"], tuple(_VARIANTS)
    if all(row["picture"].endswith(variants) for row in rows):
        lines = [f"| PSNR against the picture (dB) | {' | '.join(variants)} |", "| --- |" + " ---: |" * len(variants)]
        by_name = {row["picture"]: row for row in rows}
        for model in dict.fromkeys(row["picture"].rpartition("_")[0] for row in rows):
            lines.append(f"| {model} | {' | '.join(_cell(by_name[f'{model}_{variant}']) for variant in variants)} |")
    else:
        lines = ["| picture | PSNR against it (dB) |", "| --- | ---: |"]
        lines += [f"| {row['picture']} | {_cell(row)} |" for row in rows]
    median = result["median_source_psnr"]
    lines.append(f"\nAll files written: {result['complete']} of {len(rows)}; median {_decibels(median)} dB.")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"without {', '.join(row['missing'])}" if row["missing"] else _decibels(row["source_psnr"])


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _write_picture(mesh: Any, variant: str, stem: Path) -> None:
    import numpy as np
    from PIL import Image

    width, height, ending, background = _VARIANTS[variant]
    camera = orbit_camera(_AZIMUTH_DEGREES, _ELEVATION_DEGREES, width=width, height=height)
    picture = render_pictures(mesh, [camera])[0]
    if background is not None:
        from distill_core.pictures.images import composite

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
