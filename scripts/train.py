"""Train the view generator: first `solid`, then `denoising`, then `consistency`, with the same --output-dir.

After them `correspondence`, if wanted: attention between pixels of different views that show the same point, trained on
a checkpoint whose own weights stay.

--data is a folder of packed models, of records or of shards. The same command goes on with a training that was stopped.
At the end of all but the first a checkpoint, model.safetensors, lies in the stage's folder.
"""

from typing import Annotated

import tyro

from distill_core.progress import Progress
from gs_integration.pipelines.training_settings import ConsistencyJob, CorrespondenceJob, DenoisingJob, SolidJob
from scripts.command_line import run, say

Job = (
    Annotated[SolidJob, tyro.conf.subcommand("solid")]
    | Annotated[DenoisingJob, tyro.conf.subcommand("denoising")]
    | Annotated[ConsistencyJob, tyro.conf.subcommand("consistency")]
    | Annotated[CorrespondenceJob, tyro.conf.subcommand("correspondence")]
)


def main(job: SolidJob | DenoisingJob | ConsistencyJob | CorrespondenceJob, progress: Progress) -> None:
    """Train and say where the result is."""
    from gs_integration.pipelines.train_generator import train_generator

    say(f"wrote {train_generator(job, progress)}")


if __name__ == "__main__":
    run(main, Job, description=__doc__)
