"""A folder of results that is there whole or not at all.

Results are written into a temporary folder beside the one that was asked for, which is renamed into place when it is
complete. An earlier result in that place is replaced; anything else in it is left alone and refused. What a killed
program left of its temporary folder is removed by the next one that writes to the same place.
"""

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from distill_core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks; there leftovers stay until somebody removes them
    fcntl = None

_SUFFIX = ".partial"
_YOUNGEST_LEFTOVER_SECONDS = 5.0
"""A folder that another program has just made may not be locked yet."""


def check_replaceable(folder: Path, replaceable: Collection[str]) -> None:
    """Find out, before any work is done, whether results may take the place of what is in `folder`.

    Args:
        folder: where the results shall be; need not exist.
        replaceable: the files that an earlier result consists of, such as "report.json" or "views/[0-9]*.png".

    Raises:
        UserError: it is a file, or holds something that is not an earlier result.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"Expected a folder for the results, got the file {folder}; choose another --output-dir.")
    foreign = sorted(_foreign(folder, [PurePosixPath(pattern).parts for pattern in replaceable]))
    if foreign:
        raise UserError(
            f"Expected a new or empty folder, or one with an earlier result, got {folder} with {foreign[0]!r}"
            f"{f' and {len(foreign) - 1} more' if len(foreign) > 1 else ''} in it; choose another --output-dir."
        )


def check_outside(file: Path, folder: Path) -> None:
    """Find out, before any work is done, whether what a result is made from would be replaced by it.

    Args:
        file: that the result is made from.
        folder: where the result shall be.

    Raises:
        UserError: the file lies in the folder.
    """
    if file.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"Expected an --output-dir without {file.name} in it, which would be replaced, got {folder}; "
            "choose another --output-dir."
        )


def _foreign(folder: Path, patterns: Sequence[tuple[str, ...]], depth: int = 0) -> Iterator[str]:
    """Names in a folder that none of the patterns, part by part, admits; inside folders only where one goes deeper."""
    for entry in folder.iterdir():
        fitting = [pattern for pattern in patterns if len(pattern) > depth and fnmatchcase(entry.name, pattern[depth])]
        if entry.is_dir() and any(len(pattern) > depth + 1 for pattern in fitting):
            yield from (f"{entry.name}/{inner}" for inner in _foreign(entry, fitting, depth + 1))
        elif not any(len(pattern) == depth + 1 for pattern in fitting):
            yield entry.name


@contextmanager
def complete_folder(folder: Path, replaceable: Collection[str]) -> Iterator[Path]:
    """Yield an empty temporary folder; rename it to `folder` when the block ends well, else remove it.

    Args:
        folder: where the results shall be; its parents are made.
        replaceable: the files that an earlier result consists of, as in `check_replaceable`.

    Raises:
        UserError: as in `check_replaceable`.
        OSError: the results cannot be written (no space left, no permission).
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    temporary = _temporary_sibling(folder)
    try:
        with _locked(temporary):
            yield temporary
            check_replaceable(folder, replaceable)
            _swap(temporary, folder)
    except UserError as error:  # of a file in the temporary folder, which the person never named
        raise UserError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary folders of programs that were killed: those that no living program holds a lock on.

    A program that was killed in the middle of a swap has left the earlier result in one, which goes back first.
    """
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*{_SUFFIX}"):
        with suppress(OSError), _locked(leftover) as is_ours:
            if is_ours and time.time() - leftover.stat().st_mtime > _YOUNGEST_LEFTOVER_SECONDS:
                if (leftover / folder.name).is_dir() and not folder.exists():
                    (leftover / folder.name).rename(folder)
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with the process at the latest; yields whether it was free."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held by another program, or a file system without locks
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _temporary_sibling(folder: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_SUFFIX, dir=folder.absolute().parent))
    # mkdtemp closes the folder to everybody else; results are as open as the user's other files.
    mask = os.umask(0)
    os.umask(mask)
    made.chmod(0o777 & ~mask)
    return made


def _swap(temporary: Path, folder: Path) -> None:
    """Put the finished folder into its place; an earlier result is only removed once the new one stands."""
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = _temporary_sibling(folder)
    folder.rename(earlier / folder.name)
    try:
        temporary.rename(folder)
    except OSError:
        (earlier / folder.name).rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(earlier, ignore_errors=True)
