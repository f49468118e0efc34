"""Fit 3D Gaussian splats to pictures with known cameras, and compare views that were held out.

Reads nerfstudio, NeRF-synthetic and instant-ngp folders, COLMAP models and CO3D. Writes splats.ply, preview.png,
turntable.mp4 and report.json.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.fitting.settings import FitRecordSettings
from scripts.command_line import run, say


class FitSplats(FitRecordSettings):
    """Command line of this program."""

    record_dir: Annotated[Path, tyro.conf.Positional] = Field(description="folder of the pictures and their cameras")
    output_dir: Path = Field(description="folder of the results")


def main(settings: FitSplats, progress: Progress) -> None:
    """Fit, compare, write, and print the figures."""
    from gs_integration.output_folder import check_replaceable
    from gs_integration.pipelines.fit_record import fit_record
    from gs_integration.pipelines.fit_record_files import FIT_RESULTS, save_fit, table
    from gs_integration.pipelines.report import recorded_run

    check_replaceable(settings.output_dir, FIT_RESULTS)
    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        result = fit_record(settings.record_dir, settings, record.progress)
        save_fit(result, settings.output_dir, record)
    say(table(result))
    say(f"wrote {settings.output_dir}")


if __name__ == "__main__":
    run(main, FitSplats, description=__doc__)
