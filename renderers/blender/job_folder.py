"""What a rendering job keeps on disk: records, a journal, and the settings that it was begun with.

    NAME/                 a record, there when it is complete
    journal.jsonl         a line for each object that was rendered or left out
    job.json              the settings that every record of the folder was made with
    .work/                raw passes and logs, gone when the job ends
    .lock                 held while a job runs

After a kill at any moment the same job goes on: what has a record is done, what the journal left out stays out.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_core.errors import UserError

_LEAST_ROOM_BYTES = 64 << 20


@dataclass(frozen=True)
class Entry:
    """What became of an object.

    Attributes:
        state: "done" or "left out".
        reason: why it was left out.
        seconds: by stage, as the worker and the supervisor measured them; "cycles" is what Cycles itself reports.
    """

    state: str
    reason: str | None
    seconds: dict[str, float]


class JobFolder:
    """An output folder that this process alone writes to; made by `opened_job`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / ".work"
        self._journal = folder / "journal.jsonl"
        self.entries = read_journal(self._journal)

    def is_done(self, name: str) -> bool:
        """Whether there is a record of this name."""
        return (self.folder / name / "transforms.json").is_file()

    def expect_room(self) -> None:
        """See that an object did not fail for want of room: a full disk would cost one object after another.

        Raises:
            UserError: hardly any is left.
        """
        free = shutil.disk_usage(self.work).free
        if free < _LEAST_ROOM_BYTES:
            raise UserError(
                f"{self.folder}: expected room for pictures, got {free / (1 << 20):.0f} MiB left on its disk; make "
                "room and give the same command again."
            )

    def note(self, uid: str, entry: Entry) -> None:
        """Add a line to the journal; it is on disk when this returns."""
        self.entries[uid] = entry
        line = {"uid": uid, "state": entry.state, "reason": entry.reason, "seconds": entry.seconds}
        with self._journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


@contextmanager
def opened_job(folder: Path, settings: dict[str, Any]) -> Iterator[JobFolder]:
    """Take a folder for a job, clear what a killed one left half done, and give it back at the end.

    Args:
        folder: is made; an older job in it must have had the same settings.
        settings: all that the records depend on, as plain JSON.

    Raises:
        UserError: another process works in it, it belongs to another job, or it holds other things.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another job is working in this folder; wait for it or name another.") from None
        _check_settings(folder, settings)
        clear_hidden(folder)
        (folder / ".work").mkdir()
        _mend_journal(folder / "journal.jsonl")
        try:
            yield JobFolder(folder)
        finally:
            shutil.rmtree(folder / ".work", ignore_errors=True)


def clear_hidden(folder: Path) -> None:
    """Remove what was being written by processes that are no more: it bears a hidden name, and nothing else here does.

    Args:
        folder: of a job, whose lock this process holds.
    """
    for entry in folder.iterdir():
        if entry.name.startswith(".") and entry.name != ".lock":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "job.json"
    if not file.is_file():
        others = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
        if others:
            raise UserError(f"{folder}: expected a new folder or an older job, got other files ({others[0]}).")
        temporary = folder / ".job.json"
        temporary.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(file)
        return
    try:
        begun_with = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: expected the settings of a job, got {error}; name another folder.") from error
    differing = _differences(begun_with, json.loads(json.dumps(settings)))
    if differing:
        raise UserError(
            f"{folder}: expected a job with the settings that it was begun with, got {', '.join(differing)}; give the "
            "same options or another folder."
        )


def _differences(begun_with: Any, settings: Any, name: str = "") -> list[str]:
    """Each setting that is another now, by its own name."""
    if isinstance(begun_with, dict) and isinstance(settings, dict):
        keys = sorted({*begun_with, *settings})
        return [words for key in keys for words in _differences(begun_with.get(key), settings.get(key), key)]
    return [] if begun_with == settings else [f"{name} {json.dumps(settings)} instead of {json.dumps(begun_with)}"]


def _mend_journal(journal: Path) -> None:
    """Cut off a last line that a kill left unfinished."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def read_journal(journal: Path) -> dict[str, Entry]:
    """What became of each object so far, by its uid.

    Args:
        journal: the file, which need not exist.

    Raises:
        UserError: a line is no entry.
    """
    if not journal.is_file():
        return {}
    entries = {}
    with journal.open(encoding="utf-8") as lines:  # str.splitlines would end lines within names, at U+0085 or U+2028
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                entries[row["uid"]] = Entry(row["state"], row["reason"], row["seconds"])
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{journal}, line {number}: expected an entry of this job, got {line.rstrip()[:60]!r}."
                ) from error
    return entries
