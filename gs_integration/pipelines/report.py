"""What a job leaves on paper: settings, seed, versions, seconds a stage, warnings, the command that repeats it."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from distill_core.atomic_files import write_text
from distill_core.progress import Progress

_OWN_PACKAGES = ("distill_core", "renderers", "gs_integration")
_REPORTED_PACKAGES = ("torch", "numpy", "numba", "scipy", "pillow", "opencv-python-headless", "gsplat", "diffusers")


class StageClock:
    """Passes progress on and keeps how long each stage took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage: str | None = None
        self._began = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage; the one before it ends here."""
        self.finish()
        self._stage, self._began = name, time.perf_counter()
        self._progress.stage(name, total)

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        """Pass finished steps on."""
        self._progress.advance(n, preview)

    def finish(self) -> None:
        """End the stage that runs."""
        if self._stage is not None:
            elapsed = time.perf_counter() - self._began
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + elapsed
            self._stage = None


@dataclass
class RunRecord:
    """What is known of a job that runs or has run.

    Attributes:
        command: the command line that repeats the job; None when it was not started by one.
        checkpoint: name and SHA-256 of the generator's weights, if any.
        progress: give this to the pipeline; it keeps the seconds of each stage.
        warnings: what the packages warned about, in order, each once.
    """

    command: str | None
    checkpoint: dict[str, str] | None
    progress: StageClock
    warnings: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def report(self, settings: BaseModel, **findings: object) -> dict[str, object]:
        """Return the report of the job as it stands.

        Args:
            settings: everything the person chose.
            findings: what the job found out, in the order in which it shall be read.
        """
        self.progress.finish()
        return {
            "program": {"name": "onestep3d", "version": _version("onestep3d")},
            "command": self.command,
            "checkpoint": self.checkpoint,
            **findings,
            "warnings": self.warnings,
            "settings": settings.model_dump(mode="json"),
            "seconds": {
                **{name: round(seconds, 3) for name, seconds in self.progress.seconds.items()},
                "total": round(time.perf_counter() - self.began, 3),
            },
            "versions": versions(),
        }


@contextmanager
def recorded_run(
    progress: Progress, *, command: str | None = None, checkpoint: dict[str, str] | None = None
) -> Iterator[RunRecord]:
    """Record a job while the block runs: its stages and the warnings of the project's packages.

    Args:
        progress: told of everything that is recorded.
        command: the command line that repeats the job.
        checkpoint: name and SHA-256 of the generator's weights.
    """
    record = RunRecord(command, checkpoint, StageClock(progress))
    handler = _WarningCollector(record.warnings)
    loggers = [logging.getLogger(package) for package in _OWN_PACKAGES]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield record
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _WarningCollector(logging.Handler):
    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._warnings:
            self._warnings.append(text)


def versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {package: _version(package) for package in _REPORTED_PACKAGES}
    return {"python": platform.python_version(), "system": platform.platform()} | {
        package: version for package, version in found.items() if version
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: object) -> None:
    """Write JSON that people read too, whole or not at all; numbers that are not finite become null."""
    write_text(json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content
