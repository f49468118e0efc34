"""A folder of results that is there whole or not at all.

Results are written into a temporary folder beside the one that was asked for, which is renamed into place when it is
complete. An earlier result in that place is replaced; anything else in it is left alone and refused.
"""

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill_core.errors import UserError


def check_replaceable(folder: Path, replaceable: Collection[str]) -> None:
    """Find out, before any work is done, whether results may take the place of what is in `folder`.

    Args:
        folder: where the results shall be; need not exist.
        replaceable: names of the files and folders that an earlier result consists of.

    Raises:
        UserError: it is a file, or holds something that is not an earlier result.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"Expected a folder for the results, got the file {folder}; choose another --output-dir.")
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in replaceable)
    if foreign:
        raise UserError(
            f"Expected a new or empty folder, or one with an earlier result, got {folder} with {foreign[0]!r}"
            f"{f' and {len(foreign) - 1} more' if len(foreign) > 1 else ''} in it; choose another --output-dir."
        )


@contextmanager
def complete_folder(folder: Path, replaceable: Collection[str]) -> Iterator[Path]:
    """Yield an empty temporary folder; rename it to `folder` when the block ends well, else remove it.

    Args:
        folder: where the results shall be; its parents are made.
        replaceable: names of the files and folders that an earlier result consists of.

    Raises:
        UserError: as in `check_replaceable`.
        OSError: the results cannot be written (no space left, no permission).
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(folder)
    try:
        yield temporary
        check_replaceable(folder, replaceable)
        _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_sibling(folder: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.absolute().parent))
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
