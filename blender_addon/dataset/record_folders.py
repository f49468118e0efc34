"""The records of a result, copied where the person wants them: each is there whole, or what was there before stays."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..protocol import name_problem
from ..queueing.job_requests import JobError

RECORD_FILE = "transforms.json"
"""What makes a folder a record."""


def copy_records(results: Path, target: Path, findings: Mapping[str, Any]) -> Iterator[None]:
    """Copy the records of a result into a folder, a file a step; an older record of the same name is exchanged.

    Args:
        results: folder of the result's files.
        target: of the person; is made if it is not there.
        findings: "records" names the folders of the records.

    Raises:
        JobError: the worker names what is no record of this result, other files are in the way, or the disk refuses;
            what was in the target is there still.
    """
    names = _record_names(results, findings)
    for name in names:
        _refuse_other_files(target / name)
    try:
        target.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=".onestep3d-", dir=target))
        try:
            for name in names:
                yield from _copied(results / name, workplace / "new")
                _exchange(workplace / "new", target / name, workplace / "older")
        finally:
            shutil.rmtree(workplace)
    except OSError as error:
        raise JobError(
            f"The records cannot be written to {target}: {error.strerror or error}. Choose another folder."
        ) from None


def _record_names(results: Path, findings: Mapping[str, Any]) -> list[str]:
    """The names of the records, checked: a worker may say anything, and what stands at these names is exchanged."""
    names = findings.get("records")
    if not isinstance(names, list):
        raise JobError(f"Expected a list of records, got {str(names)[:60]!r} from the worker. Update the worker.")
    for name in names:
        if name_problem(name) is not None or "/" in name:
            raise JobError(f"Expected a name of a record, got {str(name)[:60]!r} from the worker. Update the worker.")
        if not (results / name / RECORD_FILE).is_file():
            raise JobError(f"Expected the record {name} among the results, got none: run the job again.")
    if len({name.casefold() for name in names}) < len(names):
        raise JobError("Expected a name of its own for each record, got one twice from the worker. Update the worker.")
    return names


def _refuse_other_files(place: Path) -> None:
    if place.exists() and not (place / RECORD_FILE).is_file():
        raise JobError(f"Expected a new folder or an older record, got other files in {place}. Choose another.")


def _copied(record: Path, copy: Path) -> Iterator[None]:
    """Copy the files of a record, one a step."""
    for file in sorted(file for file in record.rglob("*") if file.is_file()):
        target = copy / file.relative_to(record)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        yield


def _exchange(new: Path, place: Path, aside: Path) -> None:
    """Put a whole record to its place; only then is the older one removed."""
    _refuse_other_files(place)
    if not place.exists():
        new.rename(place)
        return
    place.rename(aside)
    try:
        new.rename(place)
    except OSError:
        aside.rename(place)
        raise
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside)
