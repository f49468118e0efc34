"""Files of splats in any format, as arrays: complaints name the file, and what was dropped is said. No torch here."""

import logging
from pathlib import Path

from distill_core.errors import UserError
from gs_integration.formats.arrays import Axes, SplatArrays
from gs_integration.formats.by_ending import FORMATS, Writing, ending_of, read_splat_file, write_splat_file
from gs_integration.formats.errors import FormatError

_LOG = logging.getLogger(__name__)


def read_splat_arrays(path: Path, *, axes_if_unsaid: Axes | None = None) -> SplatArrays:
    """Read a file of splats in its own axes; what had to be dropped is logged as a warning.

    Args:
        path: a .ply, .spz, .splat, .glb or .gltf file.
        axes_if_unsaid: where up is, unless the file says so; None takes what is usual for the format.

    Raises:
        UserError: the file is missing, of another kind, damaged, or without splats.
    """
    try:
        reading = read_splat_file(path, axes_if_unsaid=axes_if_unsaid)
    except FormatError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"Cannot read the splats {path}: {error.strerror or error}.") from None
    _warn(path, reading.notes)
    return reading.splats


def write_splat_arrays(path: Path, splats: SplatArrays, writing: Writing | None = None) -> None:
    """Write splats in the format of the file's ending, whole or not at all; what it cannot hold is logged as a warning.

    Args:
        path: a .ply, .spz, .splat or .glb file; what was there is replaced.
        splats: in any axes.
        writing: what a person may choose.

    Raises:
        UserError: an unknown ending, values that the format cannot hold, or the file cannot be written.
    """
    try:
        _warn(path, write_splat_file(path, splats, writing))
    except FormatError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"Cannot write the splats {path}: {error.strerror or error}.") from None


def check_splat_name(path: Path) -> None:
    """Find out, before any work is done, whether splats can be written under a name.

    Args:
        path: the file.

    Raises:
        UserError: its ending is none that is written.
    """
    try:
        ending_of(path, FORMATS)
    except FormatError as error:
        raise UserError(f"{path}: {error}") from None


def _warn(path: Path, notes: tuple[str, ...]) -> None:
    if notes:
        _LOG.warning("%s: %s", path, " ".join(notes))
