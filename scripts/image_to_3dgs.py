"""Make 3D Gaussian splats of the object in a picture, or in every picture of a folder.

Writes splats.ply, turntable.mp4, preview.png, input.png, views/, transforms.json and report.json.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from distill_core.errors import UserError
from distill_core.progress import Progress
from gs_integration.pipelines.settings import ImageToSplatsSettings
from scripts.command_line import run

if TYPE_CHECKING:
    from gs_integration.pipelines.results import SplatsFromPicture


class ImageToSplats(ImageToSplatsSettings):
    """Command line of this program."""

    image: Annotated[Path, tyro.conf.Positional] = Field(description="a picture, or a folder of pictures")
    output_dir: Path = Field(description="folder of the results; for a folder of pictures, one folder a picture in it")
    viewer: bool = Field(default=False, description="open the splats in the browser when they are done")


def main(settings: ImageToSplats, progress: Progress) -> int:
    """Make splats of one picture or of many."""
    from gs_integration.pipelines.result_names import SPLAT_RESULTS
    from scripts.picture_jobs import PictureJob, PictureJobs, run_on_path

    if settings.viewer and settings.image.is_dir():
        raise UserError("Expected one picture with --viewer, got a folder; leave --viewer out.")
    finished: list[SplatsFromPicture] = []

    def make(job: PictureJob) -> str:
        from gs_integration.pipelines.image_to_splats import image_to_splats

        result = image_to_splats(job.picture, settings, job.generator, job.run.progress)
        result.save(job.output_dir, job.run)
        finished[:] = [result]
        return (
            f"{result.views.source.elevation_sentence()} The splats match the picture to {result.source_psnr:.1f} dB."
        )

    jobs = PictureJobs(settings.views.generator, SPLAT_RESULTS, make, progress)
    status = run_on_path(jobs, settings.image, settings.output_dir)
    if settings.viewer:
        from gs_integration.viewer import show_in_browser

        views = finished[0].views
        show_in_browser(finished[0].splats, [views.source.camera, *views.cameras], [views.source.rgba, *views.pictures])
    return status


if __name__ == "__main__":
    run(main, ImageToSplats, description=__doc__)
