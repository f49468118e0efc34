"""Things of the scene, remembered by what outlives undo and the reading of a file: session number and name."""

from dataclasses import dataclass
from typing import Any

import bpy

_readings = 0
"""Of files, in this session."""


@dataclass(frozen=True)
class Reference:
    """A datablock that may be gone when it is wanted again.

    Args:
        kind: name of its list in bpy.data, such as "objects".
        name: it had then.
        session_uid: Blender's number of it in this session.
        reading: how many files had been read by then.
    """

    kind: str
    name: str
    session_uid: int
    reading: int

    @classmethod
    def of(cls, thing: Any) -> "Reference":
        """Return a reference to a datablock.

        Args:
            thing: an object, scene, image, collection, material, mesh, camera or node group.
        """
        return cls(_KINDS[thing.id_type], thing.name, thing.session_uid, _readings)

    def found(self) -> Any | None:
        """Return the datablock; None if it is gone.

        After a file was read numbers are new, and the name decides; until then another thing of the name is another.
        """
        things = getattr(bpy.data, self.kind)
        named = things.get(self.name)
        if named is not None and named.session_uid == self.session_uid:
            return named
        known = next((thing for thing in things if thing.session_uid == self.session_uid), None)
        return named if known is None and self.reading != _readings else known


def note_reading() -> None:
    """Remember that a file was read: what was referred to before has new numbers."""
    global _readings
    _readings += 1


_KINDS = {
    "OBJECT": "objects",
    "SCENE": "scenes",
    "IMAGE": "images",
    "COLLECTION": "collections",
    "MATERIAL": "materials",
    "MESH": "meshes",
    "CAMERA": "cameras",
    "NODETREE": "node_groups",
}
