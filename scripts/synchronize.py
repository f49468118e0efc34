"""Make one picture of many views that agree: several diffusion processes joined in one canonical space.

Writes picture.png (a zoom: zoom.mp4; a sequence: sequence.csv, too), views/, preview.png and report.json.
"""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)
from scripts.command_line import run, say


class Panorama(PanoramaSettings):
    """A wide picture from square windows of it."""

    output_dir: Path = Field(description="folder of the results")


class Panorama360(Panorama360Settings):
    """A picture of everything around, equirectangular, from perspective views."""

    output_dir: Path = Field(description="folder of the results")


class Ambiguous(AmbiguousSettings):
    """One picture that looks right in several views: turned, flipped, negated, cut up."""

    output_dir: Path = Field(description="folder of the results")


class Zoom(ZoomSettings):
    """Pictures of which each is the middle of the one before, and the film of flying through them."""

    output_dir: Path = Field(description="folder of the results")


class Sequence(SequenceSettings):
    """A long sequence of values from short windows."""

    output_dir: Path = Field(description="folder of the results")


Task = (
    Annotated[Panorama, tyro.conf.subcommand("panorama")]
    | Annotated[Panorama360, tyro.conf.subcommand("panorama360")]
    | Annotated[Ambiguous, tyro.conf.subcommand("ambiguous")]
    | Annotated[Zoom, tyro.conf.subcommand("zoom")]
    | Annotated[Sequence, tyro.conf.subcommand("sequence")]
)


def main(settings: Panorama | Panorama360 | Ambiguous | Zoom | Sequence, progress: Progress) -> None:
    """Run the task, write its pictures, and say how well the views agree."""
    from gs_integration.output_folder import check_replaceable
    from gs_integration.pipelines.joint_picture_files import save_joint_pictures
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.result_names import JOINT_RESULTS
    from gs_integration.pipelines.synchronize_pictures import synchronize_pictures

    check_replaceable(settings.output_dir, JOINT_RESULTS)
    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        result = synchronize_pictures(settings, record.progress)
        save_joint_pictures(result, settings.output_dir, record)
    agreement = "exactly" if result.consistency == math.inf else f"to {result.consistency:.1f} dB"
    contrast = "" if result.contrast is None else f" and have {result.contrast:.0%} of the field's contrast"
    say(f"{len(result.views)} views agree {agreement}{contrast}; they cover {result.coverage:.1%} of the picture")
    say(f"wrote {settings.output_dir}")


if __name__ == "__main__":
    run(main, Task, description=__doc__)
