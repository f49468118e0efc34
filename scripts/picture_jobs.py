"""One job a picture: for a single picture, or for every picture of a folder, going on after those that fail."""

import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill_core.errors import UserError
from distill_core.pictures.images import PICTURE_ENDINGS, Picture, read_picture
from distill_core.progress import Progress
from gs_integration.output_folder import check_outside, check_replaceable
from gs_integration.pipelines.report import RunRecord, file_sha256, recorded_run, versions, write_json
from gs_integration.pipelines.settings import GeneratorSettings
from scripts.command_line import USER_ERROR_STATUS, say
from scripts.output_checks import output_error

if TYPE_CHECKING:
    from distill_core.models.view_generator import ViewGenerator

logger = logging.getLogger(__name__)

BATCH_REPORT = "report.json"


@dataclass(frozen=True)
class PictureJob:
    """What one job works on.

    Attributes:
        picture: as it was read.
        output_dir: where its results go.
        generator: the loaded checkpoint.
        run: the record of this job.
    """

    picture: Picture
    output_dir: Path
    generator: "ViewGenerator"
    run: RunRecord


class PictureJobs:
    """Runs jobs with one generator, which is loaded when the first picture has been read.

    Args:
        settings: which generator, and where it runs.
        replaceable: names of the files that a result consists of.
        make: does the work of one job and saves it; returns a sentence for the person.
        progress: told of all jobs.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        replaceable: frozenset[str],
        make: Callable[[PictureJob], str],
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._replaceable = replaceable
        self._make = make
        self._progress = progress
        self._generator: ViewGenerator | None = None
        self._checkpoint: dict[str, str] | None = None

    def run_one(self, file: Path, output_dir: Path) -> str:
        """Do the job of one picture.

        Args:
            file: the picture.
            output_dir: where its results go.

        Raises:
            UserError: the picture, the checkpoint or the folder cannot be used.
        """
        check_replaceable(output_dir, self._replaceable)
        check_outside(file, output_dir)
        with recorded_run(self._progress, command=shlex.join(["python", *sys.argv])) as run:
            picture = read_picture(file)
            generator = self._loaded_generator(run)
            return self._make(PictureJob(picture, output_dir, generator, run))

    def check_batch(self, output_dir: Path) -> None:
        """Find out whether results of many pictures, a folder each, may be written to a folder.

        Raises:
            UserError: it holds the result of one picture.
        """
        parts = {name.split("/")[0] for name in self._replaceable} - {BATCH_REPORT}
        single = sorted(name for name in parts if (output_dir / name).exists())
        if single:
            raise UserError(
                f"Expected a new folder, or one with earlier results of many pictures, got {output_dir} with the "
                f"{single[0]!r} of one picture; choose another --output-dir."
            )

    def _loaded_generator(self, run: RunRecord) -> "ViewGenerator":
        if self._generator is None:
            # Torch takes seconds to import: a picture that cannot be used is refused before.
            from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
            from gs_integration.pipelines.devices import torch_device

            run.progress.stage("checkpoint", None)
            file = find_checkpoint(self._settings.checkpoint)
            self._generator = load_generator(file, torch_device(self._settings.device))
            self._checkpoint = {"name": self._settings.checkpoint, "sha256": file_sha256(file)}
        run.checkpoint = self._checkpoint
        return self._generator


def run_on_path(jobs: PictureJobs, path: Path, output_dir: Path) -> int:
    """Run the job of a picture, or of every picture in a folder.

    Args:
        jobs: what to do with each.
        path: a picture, or a folder.
        output_dir: of the results; those of a folder's pictures get folders of their own in it.

    Returns:
        The exit status: 0, or not when pictures were left out.

    Raises:
        UserError: nothing is there, or the only picture cannot be used.
    """
    if path.is_dir():
        return _run_on_folder(jobs, path, output_dir)
    if not path.exists():
        raise UserError(f"Expected a picture or a folder of pictures, but {path} does not exist; check the path.")
    say(f"{jobs.run_one(path, output_dir)}\nwrote {output_dir}")
    return 0


def _run_on_folder(jobs: PictureJobs, folder: Path, output_dir: Path) -> int:
    files = pictures_in(folder)
    jobs.check_batch(output_dir)
    for inner in sorted(entry.name for entry in folder.iterdir() if entry.is_dir()):
        logger.warning("Pictures in the folder %s inside %s are passed over.", inner, folder)
    done: list[str] = []
    left_out: dict[str, str] = {}
    status = 0
    _write_batch_report(output_dir, done, left_out, [file.name for file in files])
    for place, (file, name) in enumerate(zip(files, result_names(files), strict=True), start=1):
        logger.info("%d of %d: %s", place, len(files), file.name)
        try:
            say(f"{file.name}: {jobs.run_one(file, output_dir / name)}")
            done.append(file.name)
        except (UserError, OSError) as error:
            mendable = error if isinstance(error, UserError) else output_error(error)
            if mendable is None:
                raise
            left_out[file.name] = str(mendable)
            logger.warning("%s is left out: %s", file.name, mendable)
            status = max(status, USER_ERROR_STATUS)
        _write_batch_report(output_dir, done, left_out, [file.name for file in files[place:]])
    say(f"{len(done)} of {len(files)} pictures done; wrote {output_dir}")
    for name, reason in left_out.items():
        say(f"left out {name}: {reason}")
    return status


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder by the ending of their names, sorted; other files are none of its business.

    Raises:
        UserError: there is none.
    """
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURE_ENDINGS and file.is_file())
    if not found:
        raise UserError(
            f"Expected pictures ({', '.join(sorted(PICTURE_ENDINGS))}) in {folder}, found none; name another."
        )
    return found


def result_names(files: list[Path]) -> list[str]:
    """Name the folder of each picture's results: its name without the ending, unless two would share it."""
    names = [file.stem for file in files]
    while True:
        taken = Counter([BATCH_REPORT.casefold(), *(name.casefold() for name in names)])
        clear = [file.name if taken[name.casefold()] > 1 else name for file, name in zip(files, names, strict=True)]
        if clear == names:
            return names
        names = clear


def _write_batch_report(output_dir: Path, done: list[str], left_out: dict[str, str], not_finished: list[str]) -> None:
    """Say what became of the pictures; a stopped job leaves the rest in it."""
    output_dir.mkdir(parents=True, exist_ok=True)
    report = {
        "command": shlex.join(["python", *sys.argv]),
        "done": done,
        "left_out": left_out,
        "not_finished": not_finished,
        "versions": versions(),
    }
    write_json(output_dir / BATCH_REPORT, report)
