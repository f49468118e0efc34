"""Files written whole or not at all."""

import os
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder and rename it when complete.

    Args:
        path: where it goes; what was there is replaced.
        content: all of it.

    Raises:
        OSError: the folder is missing, not writable, or the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
