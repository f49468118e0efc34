"""The folder of a job: what it was given, what came of it. Read and written in threads of their own."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..protocol import Attachment, write_files


@dataclass(frozen=True)
class SlowFile:
    """A file that takes long to make.

    Args:
        make: makes its content; what it is given raises once the job was cancelled, and has to be called several
            times a second.
    """

    make: Callable[[Callable[[], None]], bytes]


InputFile = Path | bytes | Callable[[], bytes] | SlowFile

_LONGEST_SLUG = 40


class OutputFolderError(OSError):
    """The folder that jobs are kept in cannot be made."""


class Folders:
    """Hands out folders that nobody else has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def make(self, root: Path, label: str) -> Path:
        """Make a new folder whose name says when and what.

        Args:
            root: is made if it is not there.
            label: of the job.

        Raises:
            OutputFolderError: it cannot be made.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:_LONGEST_SLUG].strip("-") or "job"
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}"
        with self._lock:
            try:
                root.mkdir(parents=True, exist_ok=True)
                for attempt in range(1, 10_000):
                    folder = root / (name if attempt == 1 else f"{name}-{attempt}")
                    with suppress(FileExistsError):
                        folder.mkdir()
                        return folder
            except OSError as error:
                raise OutputFolderError(error.errno, error.strerror, str(root)) from error
        raise OutputFolderError(17, "is full of folders of this second", str(root))


def read_inputs(
    folders: Folders, root: Path, label: str, files: Mapping[str, InputFile], check: Callable[[], None]
) -> tuple[Path, dict[str, Attachment]]:
    """Make the folder of a job and keep its files there.

    Args:
        folders: makes the folder.
        root: where.
        label: of the job.
        files: by name; content, where it stands, or what makes it and is called here.
        check: raises once the job was cancelled.

    Returns:
        The folder, whose `inputs` holds the files, and their content.

    Raises:
        OSError: a file cannot be read, or the folder not be written.
        ProtocolError: a name leads out of the folder.
    """
    contents: dict[str, Attachment] = {name: _content(file, check) for name, file in files.items()}
    check()
    folder = folders.make(root, label)
    (folder / "inputs").mkdir()
    write_files(contents, folder / "inputs")
    return folder, contents


def store_results(folder: Path, attachments: Mapping[str, Attachment]) -> None:
    """Keep the files of a result in the job's folder, all or none of them.

    Args:
        folder: of the job; its `results` is not there yet.
        attachments: as the worker sent them.

    Raises:
        OSError: the disk is full or not writable.
        ProtocolError: a name leads out of the folder.
    """
    unfinished = folder / "results.unfinished"
    unfinished.mkdir()
    try:
        write_files(attachments, unfinished)
        unfinished.rename(folder / "results")
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _content(file: InputFile, check: Callable[[], None]) -> bytes:
    if isinstance(file, bytes):
        return file
    if isinstance(file, Path):
        return file.read_bytes()
    return file.make(check) if isinstance(file, SlowFile) else file()
