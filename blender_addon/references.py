"""Things of the scene, remembered by what outlives undo and the reading of a file: session number and name."""

from dataclasses import dataclass
from typing import Any

import bpy


@dataclass(frozen=True)
class Reference:
    """A datablock that may be gone when it is wanted again.

    Args:
        kind: name of its list in bpy.data, such as "objects".
        name: it had then.
        session_uid: Blender's number of it in this session.
    """

    kind: str
    name: str
    session_uid: int

    @classmethod
    def of(cls, thing: Any) -> "Reference":
        """Return a reference to a datablock.

        Args:
            thing: an object, scene, image, collection, material, mesh, camera or node group.
        """
        return cls(_KINDS[thing.id_type], thing.name, thing.session_uid)

    def found(self) -> Any | None:
        """Return the datablock; None if it is gone.

        After a file was read again numbers are new, and the name decides.
        """
        things = getattr(bpy.data, self.kind)
        named = things.get(self.name)
        if named is not None and named.session_uid == self.session_uid:
            return named
        return next((thing for thing in things if thing.session_uid == self.session_uid), named)


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
