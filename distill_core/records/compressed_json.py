"""JSON in gzip, as datasets publish their annotations (.jgz, .json.gz)."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from distill_core.errors import UserError

_MAX_BYTES = 1 << 31


def read_compressed_json(path: Path) -> Any:
    """Read a file of at most 2 GiB when unpacked.

    Raises:
        UserError: it cannot be read, unpacks to more, is cut off, or is no JSON.
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UserError(f"{path}: expected at most 2 GiB of JSON when unpacked, got more; name a smaller file.")
        return json.loads(content)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected gzip-compressed JSON, got {error}; copy it again.") from error
