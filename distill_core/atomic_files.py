"""Text files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_text(text: str, file: Path) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Args:
        text: its content.
        file: where to; its folder is made.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # temporary files are made for their owner's eyes alone
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
