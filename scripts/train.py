"""Train the view generator: first `solid`, then `denoising`, then `consistency`, with the same --output-dir.

--data is a folder of packed models, of records or of shards. The same command goes on with a training that was stopped.
At the end of the second and third stage a checkpoint, model.safetensors, lies in the stage's folder.
"""

from typing import Annotated

import tyro

from distill_core.progress import Progress
from gs_integration.pipelines.training_settings import ConsistencyJob, DenoisingJob, SolidJob
from scripts.command_line import run, say

Job = (
    Annotated[SolidJob, tyro.conf.subcommand("solid")]
    | Annotated[DenoisingJob, tyro.conf.subcommand("denoising")]
    | Annotated[ConsistencyJob, tyro.conf.subcommand("consistency")]
)


def main(job: SolidJob | DenoisingJob | ConsistencyJob, progress: Progress) -> None:
    """Train and say where the result is."""
    from gs_integration.pipelines.train_generator import train_generator

    say(f"wrote {train_generator(job, progress)}")


if __name__ == "__main__":
    run(main, Job, description=__doc__)
