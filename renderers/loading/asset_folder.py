"""The files that a model refers to, read from its own folder and from nowhere else."""

import logging
import re
from pathlib import Path
from urllib.parse import unquote

from distill_core.errors import UserError

_LOG = logging.getLogger(__name__)
_MAX_FILE_BYTES = 2_000_000_000
_PACKAGE_MESH_FOLDERS = ("mesh", "meshes")


class AssetFolder:
    """Textures, buffers and material files beside a model.

    A reference may not leave the folder of the model, except in robot packages: where the model lies in a folder
    named `meshes` (or `mesh`), the package around it counts, since its pictures lie in `materials/textures`.

    Files that are missing are kept for `report`, since loaders go on without a word.

    Args:
        model_path: where the model lies; None for a model given as bytes, which has no files beside it.
        package_allowed: False keeps to the model's own folder in every case (glTF asks for that).
    """

    def __init__(self, model_path: Path | None, *, package_allowed: bool = True) -> None:
        self.file_name = model_path.name if model_path is not None else "the model"
        self._folder = None if model_path is None else model_path.resolve().parent
        self._root = self._folder
        if self._folder is not None and package_allowed and self._folder.name.lower() in _PACKAGE_MESH_FOLDERS:
            self._root = self._folder.parent
        self._missing: list[str] = []

    def get(self, reference: str) -> bytes:
        """The bytes of a file referred to.

        Args:
            reference: a path relative to the model's folder as models write it: with backslashes, percent-encoded,
                with options before it (`-s 1 1 1 wood.png` in .mtl files), or absolute on another machine, of which
                the last part is looked for beside the model.

        Raises:
            UserError: the file lies outside the folder.
            FileNotFoundError: there is none; `report` will warn of it.
        """
        for candidate in _readings(reference):
            path = self._inside(candidate, reference)
            if path is not None and path.is_file():
                if path.stat().st_size > _MAX_FILE_BYTES:
                    raise UserError(f"{path}: expected at most {_MAX_FILE_BYTES:,} bytes, got {path.stat().st_size:,}.")
                return path.read_bytes()
        if reference not in self._missing:
            self._missing.append(reference)
        raise FileNotFoundError(reference)

    def check(self, reference: str) -> None:
        """See that a reference stays inside the folder, whether or not the file is there.

        Raises:
            UserError: it leads out.
        """
        for candidate in _readings(reference):
            self._inside(candidate, reference)

    def report(self) -> None:
        """Warn once of the files that were missing."""
        for reference in self._missing:
            _LOG.warning("%s: %s was not found; going on without it.", self.file_name, reference)

    def _inside(self, candidate: str, reference: str) -> Path | None:
        if self._folder is None or self._root is None or "\0" in candidate:
            return None
        path = (self._folder / candidate).resolve()
        if path.is_relative_to(self._root):
            return path
        raise UserError(
            f"{self.file_name}: expected textures inside the folder of the file, got the path {reference!r}, which "
            "leads out of it; copy the picture beside the model."
        )


def _readings(reference: str) -> list[str]:
    """What a reference can mean, in the order to be tried."""
    text = reference.strip().strip('"').replace("\\", "/")
    text = text.removeprefix("file://")
    absolute = text.startswith("/") or re.match(r"^[A-Za-z]:/", text) is not None
    if absolute:
        # The writer's own disk: its folders mean nothing here.
        text = text.rsplit("/", 1)[-1]
    readings = [text, unquote(text)]
    if text.startswith("-"):
        readings.append(text.split()[-1])
    return [reading for reading in dict.fromkeys(readings) if reading not in ("", ".", "..")]
