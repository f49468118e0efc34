"""Can the output be written? Asked before the work, and answered in a sentence when it fails after all."""

import errno
import os
import tempfile
from pathlib import Path

from distill_core.errors import UserError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another output folder",
    errno.EDQUOT: "your quota on this disk is used up; free some space or choose another output folder",
    errno.EFBIG: "the file would be larger than the system allows; choose another output folder",
    errno.EROFS: "the disk is read-only; choose another output folder",
    errno.EACCES: "permission is denied; change the permissions or choose another path",
    errno.EPERM: "permission is denied; change the permissions or choose another path",
    errno.ENOTDIR: "part of the path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "the name is longer than the system allows; choose a shorter one",
}


def check_output_folder(folder: Path) -> None:
    """Make sure that `folder` can be made and written to, without leaving anything behind.

    Args:
        folder: where results are going to be written; need not exist.

    Raises:
        UserError: it is a file, or it cannot be written to.
    """
    _check_writable(folder, option="--output-dir")


def check_output_file(file: Path) -> None:
    """Make sure that `file` can be written, without leaving anything behind.

    Args:
        file: the file to be written; need not exist, nor its folder.

    Raises:
        UserError: it is a folder, or its folder cannot be written to.
    """
    if file.is_dir():
        raise UserError(f"Expected a file to write for --output, but {file} is a folder; add a file name to it.")
    _check_writable(file.absolute().parent, option="--output")


def output_error(error: BaseException) -> UserError | None:
    """Turn the failure of a file system into a sentence; None for any other error.

    Args:
        error: what was raised; libraries in other languages name the disk only in their message.
    """
    if isinstance(error, OSError) and error.errno in _REASONS:
        path = f" {error.filename}" if error.filename else ""
        return UserError(f"Could not read or write{path}: {_REASONS[error.errno]}.")
    if os.strerror(errno.ENOSPC) in str(error):
        return UserError(f"Could not write the output: {_REASONS[errno.ENOSPC]}.")
    return None


def _check_writable(folder: Path, option: str) -> None:
    try:
        existing = folder.absolute()
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise UserError(
                f"Expected a folder for {option}, but {existing} is a file; choose another path or move the file away."
            )
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{error.strerror}; choose another path")
        raise UserError(f"Expected a place for {option} that can be written to, got {folder}: {reason}.") from None
