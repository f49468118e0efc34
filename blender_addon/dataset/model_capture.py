"""Objects of the scene as models for the worker: captured at once into a .blend file, exported by a Blender of its own.

The export with materials takes seconds; in a process of its own it holds nobody up.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy

from ..processes.logged_process import ProgramFailed, run_logged
from ..queueing.job_folders import SlowFile
from ..queueing.job_requests import JobError
from .model_names import model_names

_EXPORT_SECONDS = 600.0
_SCRIPT = Path(__file__).with_name("model_export.py")


def captured_models(things: Sequence[bpy.types.Object]) -> dict[str, SlowFile]:
    """Capture objects as they are now.

    Args:
        things: objects of type MESH of this file, not linked from another one; at least one.

    Returns:
        By the names that the worker wants, `models/NAME.glb`, what gives the file's content in a thread; a cancel ends
        the export.
    """
    folder = tempfile.TemporaryDirectory(prefix="onestep3d-models-")
    library = Path(folder.name) / "objects.blend"
    ordered = sorted(things, key=lambda thing: thing.name)
    bpy.data.libraries.write(str(library), set(ordered), path_remap="ABSOLUTE")
    library.with_name("names.json").write_text(json.dumps([thing.name for thing in ordered]), encoding="utf-8")
    export = _Export(folder, library, _blender())
    names = model_names([thing.name for thing in ordered])
    return {f"models/{name}.glb": export.file(number) for number, name in enumerate(names)}


class _Export:
    """The export, which happens when the first file is asked for."""

    def __init__(self, folder: "tempfile.TemporaryDirectory[str]", library: Path, blender: list[str]) -> None:
        self._folder, self._library, self._blender = folder, library, blender
        self._lock = threading.Lock()
        self._exported = False

    def file(self, number: int) -> SlowFile:
        """What gives the content of one of the files."""
        return SlowFile(lambda check: self._content(number, check))

    def _content(self, number: int, check: Callable[[], None]) -> bytes:
        target = Path(self._folder.name)
        with self._lock:
            if not self._exported:
                self._run(target, check)
                self._exported = True
        try:
            return (target / f"{number}.glb").read_bytes()
        except OSError:
            raise JobError("Blender's glTF exporter left out one of the objects; see that each has faces.") from None

    def _run(self, target: Path, check: Callable[[], None]) -> None:
        command = [*self._blender, str(_SCRIPT), "--", *map(str, (self._library, target / "names.json", target))]
        until = time.monotonic() + _EXPORT_SECONDS

        def check_time() -> None:
            check()
            if time.monotonic() > until:
                raise JobError(f"The objects were not exported within {_EXPORT_SECONDS:g} s. Try fewer at a time.")

        try:
            run_logged(command, heard=lambda _: None, check=check_time)
        except OSError as error:
            raise JobError(f"The objects cannot be exported: {error}. Try fewer at a time.") from None
        except ProgramFailed as failure:
            said = failure.lines or [f"status {failure.status}"]
            raise JobError(f"The objects cannot be exported: {said[-1][:200]}. Try them one by one.") from None


def _blender() -> list[str]:
    """The command that runs a script in a Blender like this one; its Python alone where Blender is a module."""
    if not bpy.app.binary_path:
        return [sys.executable]
    options = ["--background", "--factory-startup", "--disable-autoexec", "--python-exit-code", "1", "--python"]
    return [bpy.app.binary_path, *options]
