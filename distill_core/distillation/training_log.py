"""Figures of a training as JSON lines, one file through all its interruptions."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

LOG_FILE = "log.jsonl"


class TrainingLog:
    """Appends lines to `log.jsonl`; lines of steps that will be repeated are removed first.

    Args:
        folder: Of the training.
        first_step: The step at which the training goes on.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._path = folder / LOG_FILE
        self._first_step = first_step

    def __enter__(self) -> "TrainingLog":
        kept = [json.dumps(line) + "\n" for line in read_log(self._path) if line["step"] < self._first_step]
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text("".join(kept))
        os.replace(unfinished, self._path)
        self._file = self._path.open("a", buffering=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Append the figures of a step."""
        self._file.write(json.dumps({"step": step, **figures}) + "\n")


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the whole lines of a log; a last line that a killed process left unfinished is not one.

    Args:
        path: Of the file, which need not exist.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]
