"""3D Gaussian splats as Blender objects: a mesh of loose vertices that carry every value of the file as attributes.

No Blender up to 5.2 has a type of its own for splats. The vertices are the centres; the attributes below hold the rest
as files hold it, so that nothing is lost between import and export, and vertices that are deleted in Edit Mode are gone
from the export too. `splat_nodes` draws them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..formats.arrays import SplatArrays
from ..formats.by_ending import read_splat_file
from ..formats.errors import FormatError
from ..formats.harmonics import COEFFICIENTS_BY_DEGREE, SH_BAND_0
from ..formats.screening import SplatReading, screened
from ..queueing.background import Background, waited_for
from ..queueing.job_requests import JobError, StepEnd, Steps
from ..references import Reference
from .splat_nodes import add_display, prepare_display

QUATERNION, LOG_SCALE, OPACITY_LOGIT, HARMONICS = "quaternion", "log_scale", "opacity_logit", "sh_{}"
COLOUR = "splat_colour"
"""What the viewport shows, RGB and opacity: made of the others, and not exported. Eight bits each, for each step of
undo holds a copy."""

_ANTIALIASED = "onestep3d_antialiased"
_LARGEST_LOGIT = 80.0
_UNDONE = "The splats were undone before they were complete: import them from the output folder."


@dataclass(frozen=True)
class _Attribute:
    """One attribute of a mesh: its name, Blender's type, the property that holds its values, and how many they are."""

    name: str
    kind: str
    values: str
    width: int


def _attributes(num_coefficients: int) -> list[_Attribute]:
    harmonics = [_Attribute(HARMONICS.format(k), "FLOAT_VECTOR", "vector", 3) for k in range(num_coefficients)]
    return [
        _Attribute(QUATERNION, "QUATERNION", "value", 4),
        _Attribute(LOG_SCALE, "FLOAT_VECTOR", "vector", 3),
        _Attribute(OPACITY_LOGIT, "FLOAT", "value", 1),
        *harmonics,
    ]


def is_splats(thing: Any) -> bool:
    """Whether an object holds splats.

    Args:
        thing: any object, or None.
    """
    if thing is None or thing.type != "MESH":
        return False
    return all(name in thing.data.attributes for name in (QUATERNION, LOG_SCALE, OPACITY_LOGIT, HARMONICS.format(0)))


def add_splats(file: Path, name: str, scene: Reference, matrix: Matrix | None = None) -> Steps:
    """Read a file and add its splats as an object at the world's origin, z up, selected and active.

    The file is read in a thread; each step on the main thread takes milliseconds. What Blender itself does then,
    evaluating, drawing and outlining them, takes long where no graphics card draws, and is had one after another.

    Args:
        file: of splats, in any format that `formats` reads.
        name: of the object.
        scene: to which it is added.
        matrix: turns, scales evenly and moves the splats before.

    Raises:
        JobError: the file cannot be read, or the scene is gone.
    """
    reading = Background(lambda: _read_file(file, None if matrix is None else np.array(matrix, np.float64)))
    yield from waited_for(reading)
    splats = _checked(reading, file)
    yield
    made: list[Reference] = []
    yield from make_splat_object(splats, name, made)
    found, thing = scene.found(), made[0].found()
    if thing is None:
        raise JobError(_UNDONE)
    if found is None:
        bpy.data.meshes.remove(thing.data)
        raise JobError("The scene that the splats were made for is gone: import them from the output folder.")
    thing.display_type = "BOUNDS"
    link_into(found, thing)
    try:
        yield StepEnd.LET_BLENDER_DRAW
    finally:  # also where the add-on is disabled meanwhile
        if (thing := made[0].found()) is not None:
            thing.display_type = "TEXTURED"
    yield StepEnd.LET_BLENDER_DRAW
    thing = _unfinished(made[0])
    if (found := scene.found()) is not None:
        select_alone(found, thing)


def make_splat_object(splats: SplatArrays, name: str, made: list[Reference]) -> Iterator[None]:
    """Make an object of splats, in no scene yet, in steps of milliseconds.

    Args:
        splats: in any axes; the object's are Blender's, z up.
        name: of the object and its mesh.
        made: gets the object, which is whole after the last step.

    Raises:
        JobError: the person undid what was not finished.
    """
    preparing = Background(lambda: _stored_values(splats.in_axes("z-up")))
    yield from waited_for(preparing)
    if preparing.error is not None:
        raise preparing.error
    centres, values = preparing.result
    mesh = bpy.data.meshes.new(name)
    thing = bpy.data.objects.new(name, mesh)
    mesh.vertices.add(len(splats))
    mesh.vertices.foreach_set("co", centres)
    mesh[_ANTIALIASED] = splats.antialiased
    made.append(Reference.of(thing))
    yield
    for attribute, flat in values:
        mesh = _unfinished(made[0]).data
        stored = mesh.attributes.new(attribute.name, attribute.kind, "POINT")
        stored.data.foreach_set(attribute.values, flat)
        yield
    thing = _unfinished(made[0])
    thing.data.attributes.active_color_name = COLOUR
    thing.data.update()
    yield
    for _ in prepare_display():
        yield
    thing = _unfinished(made[0])
    add_display(thing)
    thing.visible_shadow = False  # they bring the light of their own picture with them
    yield


def _unfinished(made: Reference) -> Any:
    """The object between two steps: an undo in between takes it away."""
    thing = made.found()
    if thing is None:
        raise JobError(_UNDONE)
    return thing


def link_into(scene: Any, thing: Any) -> None:
    """Link a new object into a scene.

    Args:
        scene: its active collection is taken where it is the one that the window shows; where that one is of another
            file, or overrides one, the scene's own is taken.
        thing: in no scene yet.
    """
    layer = _shown_layer(scene)
    collection = layer.active_layer_collection.collection if layer.active_layer_collection else scene.collection
    if collection.library is not None or collection.override_library is not None:
        collection = scene.collection
    collection.objects.link(thing)


def select_alone(scene: Any, thing: Any) -> None:
    """Select an object and nothing else, and make it active.

    Args:
        scene: that holds the object.
        thing: may be in a collection that the window does not show, and stays as it is then.
    """
    layer = _shown_layer(scene)
    for other in layer.objects.selected:
        other.select_set(False, view_layer=layer)
    try:
        thing.select_set(True, view_layer=layer)
        layer.objects.active = thing
    except RuntimeError:
        pass  # the collection is excluded from what the window shows


def _shown_layer(scene: Any) -> Any:
    return bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]


def splats_of(thing: Any) -> SplatReading:
    """The splats of an object where it stands: moved, turned and scaled with it, spherical harmonics included.

    Args:
        thing: of splats.

    Returns:
        Splats with z up, and sentences about what was left out.

    Raises:
        JobError: no splats, attributes that were changed by hand, or a transform that files cannot hold.
    """
    if not is_splats(thing):
        raise JobError("Expected an object of splats, got another one; select one that was made or imported here.")
    if thing.mode == "EDIT":
        raise JobError(f"{thing.name} is being edited, and its values are not at hand: leave Edit Mode first.")
    mesh = thing.data
    count = len(mesh.vertices)
    if not count:
        raise JobError(f"{thing.name}: expected splats, got none; undo until they are back.")
    stored = max(
        (number for number in COEFFICIENTS_BY_DEGREE if HARMONICS.format(number - 1) in mesh.attributes), default=1
    )
    found = {attribute.name: _read(mesh, attribute, count) for attribute in _attributes(stored)}
    means = np.zeros(3 * count, np.float32)
    mesh.vertices.foreach_get("co", means)
    splats = SplatArrays(
        means=means.reshape(-1, 3),
        quaternions_wxyz=found[QUATERNION],
        log_scales=found[LOG_SCALE],
        opacity_logits=found[OPACITY_LOGIT][:, 0],
        harmonics=np.stack([found[HARMONICS.format(k)] for k in range(stored)], axis=1),
        axes="z-up",
        antialiased=bool(mesh.get(_ANTIALIASED, False)),
    )
    reading = screened(splats)
    if not len(reading.splats):
        raise JobError(f"{thing.name}: expected splats that can be drawn, got none; import the file again.")
    try:
        moved = reading.splats.transformed(np.array(thing.matrix_world, np.float64))
    except ValueError:
        raise JobError(
            f"{thing.name}: expected one scale for x, y and z, got {tuple(round(s, 3) for s in thing.scale)}, mirrored "
            "or sheared; a file of splats cannot hold that: make the scale even."
        ) from None
    return SplatReading(moved, reading.notes)


def _read(mesh: Any, attribute: _Attribute, count: int) -> np.ndarray:
    made = mesh.attributes.get(attribute.name)
    if made is None or made.domain != "POINT" or made.data_type != attribute.kind or len(made.data) != count:
        raise JobError(
            f"{mesh.name}: expected the attribute {attribute.name} of type {attribute.kind} on vertices, got another "
            "one; import the file again."
        )
    values = np.zeros(count * attribute.width, np.float32)
    made.data.foreach_get(attribute.values, values)
    return values.reshape(count, attribute.width)


def _stored_values(splats: SplatArrays) -> tuple[np.ndarray, list[tuple[_Attribute, np.ndarray]]]:
    """The centres and each attribute's values, flat, as Blender takes them; touches nothing of Blender's."""
    lengths = np.linalg.norm(splats.quaternions_wxyz.astype(np.float64), axis=1, keepdims=True)
    num_coefficients = splats.harmonics.shape[1]
    values = {
        QUATERNION: splats.quaternions_wxyz / lengths,  # Blender's own rotations are of length 1
        LOG_SCALE: splats.log_scales,
        OPACITY_LOGIT: splats.opacity_logits,
        **{HARMONICS.format(k): splats.harmonics[:, k] for k in range(num_coefficients)},
        COLOUR: _shown_colours(splats),
    }
    colour = _Attribute(COLOUR, "BYTE_COLOR", "color_srgb", 4)
    attributes = (*_attributes(num_coefficients), colour)
    return _flat(splats.means), [(attribute, _flat(values[attribute.name])) for attribute in attributes]


def _flat(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32).ravel()


def _shown_colours(splats: SplatArrays) -> np.ndarray:
    """Colour in sRGB, and opacity [N, 4], 0..1: the colour from all sides, without what depends on the direction."""
    srgb = np.clip(0.5 + SH_BAND_0 * splats.harmonics[:, 0].astype(np.float64), 0, 1)
    logits = np.clip(splats.opacity_logits.astype(np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.concatenate([srgb, 1 / (1 + np.exp(-logits))[:, None]], axis=1)


def _read_file(file: Path, matrix: np.ndarray | None) -> SplatArrays:
    splats = read_splat_file(file).splats.in_axes("z-up")
    return splats if matrix is None else splats.transformed(matrix)


def _checked(reading: Background, file: Path) -> SplatArrays:
    """What was read."""
    if isinstance(reading.error, FormatError | OSError | MemoryError):
        raise JobError(f"{file.name}: {reading_sentence(reading.error)}")
    if reading.error is not None:
        raise reading.error
    return reading.result


def reading_sentence(error: Exception) -> str:
    """Why a file cannot be read, for the person.

    Args:
        error: what reading raised.
    """
    if isinstance(error, MemoryError):
        return "The memory is too small for it: close other programs, or make it smaller."
    if isinstance(error, OSError):
        return f"Cannot open the file: {error.strerror or error}; check its path."
    return str(error)
