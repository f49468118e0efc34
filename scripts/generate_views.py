"""Generate other views of the object in a picture, at chosen angles around the picture's own camera.

Writes views/, input.png, transforms.json, preview.png and report.json.
"""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.settings import AngleSettings
from scripts.command_line import run


class GenerateViews(AngleSettings):
    """Command line of this program."""

    image: Annotated[Path, tyro.conf.Positional] = Field(description="a picture, or a folder of pictures")
    output_dir: Path = Field(description="folder of the results; for a folder of pictures, one folder a picture in it")


def main(settings: GenerateViews, progress: Progress) -> int:
    """Generate the views of one picture or of many."""
    from gs_integration.pipelines.result_names import VIEW_RESULTS
    from scripts.picture_jobs import PictureJob, PictureJobs, run_on_path

    def make(job: PictureJob) -> str:
        from gs_integration.pipelines.image_to_views import image_to_angles

        views = image_to_angles(job.picture, settings, job.generator, job.run.progress)
        views.save(job.output_dir, job.run)
        return views.source.elevation_sentence()

    return run_on_path(
        PictureJobs(settings.generator, VIEW_RESULTS, make, progress), settings.image, settings.output_dir
    )


if __name__ == "__main__":
    run(main, GenerateViews, description=__doc__)
