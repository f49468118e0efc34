"""What a node of a cluster does: one object at a time with a Blender of its own, and the record sent where it belongs.

Nothing here knows of Ray: the functions run in whatever process they are called in. A node has the project, the models
and the folder in which the job was started at the same paths as the machine that gives out the work. Raw passes stay on
the node, in a scratch folder that its next process clears if this one is killed.
"""

import fcntl
import getpass
import os
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from renderers.blender.job_folder import Entry, opened_job
from renderers.blender.settings import DatasetSettings
from renderers.blender.supervisor import Supervisor
from renderers.record_store import RecordStore
from renderers.sources.objects import SourceObject

_YOUNGEST_LEFTOVER_SECONDS = 60.0


@dataclass(frozen=True)
class NodeWork:
    """What all objects of a job have in common.

    Attributes:
        settings: `DatasetSettings` as JSON.
        records: address of the records.
        working_folder: in which the job was started, and to which paths in the settings are relative.
        proof: a file that a node sees if it sees the output folder; None where records go elsewhere.
        cores: of the node, for one object.
    """

    settings: str
    records: str
    working_folder: Path
    proof: Path | None
    cores: int


def render_on_node(work: NodeWork, thing: SourceObject) -> Entry:
    """Render an object, unless its record is there already, and send the record where it belongs.

    Args:
        work: what all objects of the job have in common.
        thing: the object.

    Returns:
        What became of it.

    Raises:
        UserError: what is wrong with this node, or with the job, for every object.
    """
    _check_sight(work.working_folder, "the folder in which the job was started")
    os.chdir(work.working_folder)
    _check_sight(thing.path, "the models")
    if work.proof is not None:
        _check_sight(work.proof, "the output folder (or to be told --records-address)")
    store = RecordStore(work.records)
    if store.has(thing.name):
        return Entry("done", None, {})
    return _renderer(work).render(thing, store)


def _check_sight(path: Path, what: str) -> None:
    """Whoever gave out the work saw the path: a node that does not is no judge of the objects."""
    if not path.exists():
        raise UserError(
            f"Expected every node of the cluster to see {what}, but {socket.gethostname()} has no {path}; mount it "
            "there at the same path."
        )


class _NodeRenderer:
    """Blender and its scratch folder, for the life of this process, since starting it takes seconds."""

    def __init__(self, work: NodeWork) -> None:
        settings = DatasetSettings.model_validate_json(work.settings)
        alone = settings.processes.model_copy(update={"workers": 1})
        settings = settings.model_copy(update={"processes": alone})
        home = Path(tempfile.gettempdir()) / f"onestep3d-nodes-{getpass.getuser()}"
        home.mkdir(mode=0o700, exist_ok=True)
        _remove_leftovers(home)
        self._for_life = ExitStack()
        self._scratch = self._for_life.enter_context(opened_job(Path(tempfile.mkdtemp(dir=home)), {}))
        self._supervisor = self._for_life.enter_context(
            Supervisor(settings, self._scratch, SilentProgress(), cores=work.cores)
        )

    def render(self, thing: SourceObject, store: RecordStore) -> Entry:
        self._scratch.entries.pop(thing.uid, None)  # of a try in this process whose answer was lost
        self._supervisor.run([thing])
        entry = self._scratch.entries[thing.uid]
        if entry.state == "done":
            store.put(self._scratch.folder / thing.name, thing.name)
            shutil.rmtree(self._scratch.folder / thing.name)
        return entry


_renderer = lru_cache(maxsize=1)(_NodeRenderer)


def _remove_leftovers(home: Path) -> None:
    """Remove the folders of processes that were killed: nobody holds their locks."""
    for folder in home.iterdir():
        # A process that has just made its folder may not have locked it yet.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < _YOUNGEST_LEFTOVER_SECONDS:
                continue
            with (folder / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
