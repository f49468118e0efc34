"""Convert 3D Gaussian splats from one file format to another.

Reads .ply (plain, or compressed by PlayCanvas), .spz, .splat and glTF with KHR_gaussian_splatting; writes .ply, .spz,
.splat and .glb, by the ending of the name. The splats stay where they are, whatever the axes of the formats.
"""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.settings import ConvertSettings
from scripts.command_line import run, say


class ConvertSplats(ConvertSettings):
    """Command line of this program."""

    source: Annotated[Path, tyro.conf.Positional] = Field(description="the file that there is")
    output: Annotated[Path, tyro.conf.Positional] = Field(
        description="the file to write; one that is there is replaced"
    )


def main(settings: ConvertSplats, progress: Progress) -> None:
    """Read, write, and say what was found."""
    settings.output.absolute().parent.mkdir(parents=True, exist_ok=True)
    progress.stage(f"{settings.source.name} to {settings.output.suffix}", None)
    from gs_integration.pipelines.convert_splats import convert_splats

    splats = convert_splats(settings.source, settings.output, settings)
    say(f"{len(splats):,} splats with spherical harmonics of degree {splats.sh_degree}, {splats.axes} as read")
    say(f"wrote {settings.output} ({settings.output.stat().st_size:,} bytes)")


if __name__ == "__main__":
    run(main, ConvertSplats, description=__doc__)
