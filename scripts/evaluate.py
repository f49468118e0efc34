"""Measure a checkpoint on validation objects: view 0 goes in, views 2 to 15 are compared with the true ones.

Writes metrics.json and grid.png; the same command goes on where a stopped one was.
"""

from pathlib import Path

from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.settings import EvaluationSettings
from scripts.command_line import run, say


class Evaluate(EvaluationSettings):
    """Command line of this program."""

    output_dir: Path = Field(description="folder of metrics.json, grid.png and scores.jsonl")


def main(settings: Evaluate, progress: Progress) -> None:
    """Measure and show the table."""
    from gs_integration.evaluation import table
    from gs_integration.pipelines.evaluate_generator import evaluate_generator

    say(table(evaluate_generator(settings, settings.output_dir, progress)))


if __name__ == "__main__":
    run(main, Evaluate, description=__doc__)
