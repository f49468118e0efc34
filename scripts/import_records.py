"""Make records of captures by others: CO3D, MVImgNet and other COLMAP folders, nerfstudio, instant-ngp, NeRF-synthetic.

The folder may be a dataset, a category or one capture. Sequences that CO3D itself scores low, and captures without
reconstruction, are left out and listed. The same command goes on where a stopped one was.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.import_settings import ImportSettings
from scripts.command_line import USER_ERROR_STATUS, run, say


class ImportRecords(ImportSettings):
    """Command line of this program."""

    captures_dir: Annotated[Path, tyro.conf.Positional] = Field(description="folder of the captures")
    output_dir: Path = Field(description="folder of the records; report.json in it lists what was left out")


def main(settings: ImportRecords, progress: Progress) -> int:
    """Import, report, and say what was left out."""
    from gs_integration.pipelines.import_captures import import_captures
    from gs_integration.pipelines.report import recorded_run, write_json

    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        chosen = ImportSettings.model_validate(settings.model_dump(include=set(ImportSettings.model_fields)))
        result = import_captures(settings.captures_dir, chosen, settings.output_dir, record.progress)
        write_json(settings.output_dir / "report.json", record.report(settings, **vars(result)))
    for name, reason in result.left_out.items():
        say(f"left out {name}: {reason}")
    say(f"{len(result.written)} records made, {len(result.kept)} were there; wrote {settings.output_dir}")
    return USER_ERROR_STATUS if result.left_out else 0


if __name__ == "__main__":
    run(main, ImportRecords, description=__doc__)
