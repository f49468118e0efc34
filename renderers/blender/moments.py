"""Runs inside Blender: which clip of an imported model moves it, and the model at moments of that clip.

Importers leave clips in two ways: glTF's as muted tracks of the non-linear editor, each named as the file names the
animation, with the first one active; FBX's as loose actions called OBJECT|CLIP, with the first one active. A .blend is
taken as it stands.
"""

# pyright: reportMissingImports=false

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bpy

from renderers.blender.model_import import Refused, rest_bones


@dataclass(frozen=True)
class Clip:
    """What moves the model.

    Attributes:
        name: as the file has it; None where it has no name of its own.
        first_frame: where it begins, in Blender's frames.
        last_frame: where it ends.
        frames_per_second: of these frames.
    """

    name: str | None
    first_frame: float
    last_frame: float
    frames_per_second: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.last_frame - self.first_frame) / self.frames_per_second

    def go_to(self, scene: Any, time: float) -> None:
        """Put a scene to a moment.

        Args:
            scene: whatever moves in it moves there.
            time: 0 is the clip's beginning, 1 its end.
        """
        frame = self.first_frame + time * (self.last_frame - self.first_frame)
        scene.frame_set(math.floor(frame), subframe=frame - math.floor(frame))


def choose_clip(scene: Any, wanted: str | None, *, scene_states_range: bool, name: str) -> Clip:
    """Let one clip move the model, from its first frame to its last.

    Args:
        scene: that the model was imported into.
        wanted: the clip's name; None takes the one that the importer left active, which is the file's first.
        scene_states_range: whether the file's scene says where its animation begins and ends (.blend, USD), or else
            its actions do.
        name: the model's, for messages.

    Raises:
        Refused: no clip of that name.
    """
    if wanted is not None:
        _activate(wanted, name)
    active = [data.animation_data.action for data in _animated() if data.animation_data.action is not None]
    if active and (wanted is not None or not scene_states_range):
        ranges = [tuple(action.frame_range) for action in active]
        first, last = min(first for first, _ in ranges), max(last for _, last in ranges)
    else:
        first, last = float(scene.frame_start), float(scene.frame_end)
    return Clip(wanted or _active_name(), first, last, scene.render.fps / scene.render.fps_base)


def _animated() -> Iterator[Any]:
    """What can have a clip of its own: objects (armatures hold their bones' movements) and sets of shape keys."""
    return (data for data in [*bpy.data.objects, *bpy.data.shape_keys] if data.animation_data is not None)


def _clips(data: Any) -> dict[str, tuple[Any, Any]]:
    """Action and slot of each clip of a datablock, by the clip's name."""
    tracks = [track for track in data.animation_data.nla_tracks if track.strips]
    if tracks:
        return {track.name: (track.strips[0].action, getattr(track.strips[0], "action_slot", None)) for track in tracks}
    prefix = f"{data.name}|"
    own = [action for action in bpy.data.actions if action.name.startswith(prefix)]
    return {action.name.removeprefix(prefix): (action, _first_slot(action)) for action in own}


def _first_slot(action: Any) -> Any:
    slots = getattr(action, "slots", None)  # Blender 4.4 and later
    return slots[0] if slots else None


def _activate(wanted: str, name: str) -> None:
    clips = {data: _clips(data) for data in _animated()}
    known = sorted({clip for of_data in clips.values() for clip in of_data})
    if wanted not in known:
        raise Refused(f"{name}: expected a clip named {wanted!r}, got {_listed(known)}; name one of these with --clip.")
    for data, of_data in clips.items():
        action, slot = of_data.get(wanted, (None, None))
        data.animation_data.action = action
        if slot is not None:
            data.animation_data.action_slot = slot
    rest_bones()  # what another clip had posed and this one leaves alone


def _active_name() -> str | None:
    """The clip that the importer left active; None if it stands under no clip's name."""
    for data in _animated():
        for clip, (action, _) in _clips(data).items():
            if action is not None and action == data.animation_data.action:
                return clip
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "none with a name"
