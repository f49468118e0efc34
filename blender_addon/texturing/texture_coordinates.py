"""Texture coordinates that the worker made, brought back to the corners of the mesh that was sent.

The worker leaves faces without an area and repeated ones out, turns some over, and keeps the order of the others.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..formats.errors import FormatError
from ..formats.gltf_file import read_gltf_file
from ..queueing.job_requests import JobError
from .mesh_export import CapturedMesh

_CHUNK = 4096
# Positions went through single precision twice, in a ball of radius 1.
_SAME_PLACE = 2e-5
_SAME_UV = 1e-6
_FLOATS = (5126,)
_WHOLE_NUMBERS = (5121, 5123, 5125)


@dataclass(frozen=True, eq=False)
class NewCoordinates:
    """Coordinates for the L corners of a mesh.

    Attributes:
        by_loop: [L, 2], v up.
        by_triangle: [T, 3, 2] of the captured triangles.
        split: numbers of the faces whose triangles lie in different places of the texture, so that no corner could
            serve all of them: they have to be cut into their triangles.
    """

    by_loop: np.ndarray
    by_triangle: np.ndarray
    split: np.ndarray


def new_coordinates(file: Path, captured: CapturedMesh) -> NewCoordinates:
    """Read the coordinates of a textured mesh.

    Args:
        file: the textured.glb that the worker made of the captured mesh.
        captured: what was sent.

    Raises:
        JobError: the file cannot be read, or holds another mesh.
    """
    places, uvs = _triangles(file)
    matched, turned = _matched(captured.corners, places, captured.name)
    by_triangle = np.zeros((len(captured.corners), 3, 2), np.float32)
    by_triangle[matched] = np.where(turned[:, None, None], uvs[:, ::-1], uvs)
    left_out = np.ones(len(by_triangle), bool)
    left_out[matched] = False
    if left_out.any():
        _fill_repeated(captured.corners, by_triangle, left_out)
    by_loop = np.zeros((captured.num_loops, 2), np.float32)
    by_loop[captured.loops.ravel()] = by_triangle.reshape(-1, 2)
    apart = np.abs(by_loop[captured.loops] - by_triangle).max(axis=(1, 2)) > _SAME_UV
    return NewCoordinates(by_loop, by_triangle, np.unique(captured.polygons[apart]))


def _triangles(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions [F, 3, 3], z up, and coordinates [F, 3, 2], v up, of the one mesh in a .glb."""
    try:
        glb = read_gltf_file(file)
        meshes = glb.items("meshes")
        primitives = meshes[0].get("primitives") if len(meshes) == 1 else None
        if not isinstance(primitives, list) or len(primitives) != 1 or not isinstance(primitives[0], dict):
            raise FormatError("expected one mesh with one part.")
        attributes = primitives[0].get("attributes")
        if not isinstance(attributes, dict):
            raise FormatError("expected a mesh with attributes.")
        positions = glb.numbers(attributes.get("POSITION"), {"VEC3": _FLOATS}, "the positions")
        uvs = glb.numbers(attributes.get("TEXCOORD_0"), {"VEC2": _FLOATS}, "the texture coordinates")
        indices = glb.numbers(primitives[0].get("indices"), {"SCALAR": _WHOLE_NUMBERS}, "the faces").astype(np.int64)
    except (FormatError, OSError) as error:
        raise JobError(f"Cannot read the textured mesh {file}: {error} Run the job again.") from None
    if len(indices) % 3 or len(uvs) != len(positions) or (len(indices) and indices.max() >= len(positions)):
        raise JobError(f"The textured mesh {file} is damaged: run the job again.")
    faces = indices.reshape(-1, 3)
    x, y, z = positions.T
    in_z_up, v_up = np.stack([x, -z, y], axis=1), np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1)
    return in_z_up[faces], v_up[faces]


def _matched(sent: np.ndarray, got: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Which sent triangle each of the F triangles that came back is [F], and whether it was turned over [F]."""
    place, matched, turned = 0, np.zeros(len(got), np.int64), np.zeros(len(got), bool)
    done = 0
    while done < len(got):
        count = min(_CHUNK, len(got) - done, len(sent) - place)
        if count <= 0:
            raise JobError(f"The worker textured another mesh than {name}. Update the worker, and run the job again.")
        given, found = sent[place : place + count], got[done : done + count]
        straight = np.abs(given - found).max(axis=(1, 2)) < _SAME_PLACE
        reversed_ = np.abs(given[:, ::-1] - found).max(axis=(1, 2)) < _SAME_PLACE
        same = straight | reversed_
        run = count if same.all() else int(same.argmin())
        matched[done : done + run] = np.arange(place, place + run)
        turned[done : done + run] = ~straight[:run]
        done += run
        place += run + (run < count)  # a triangle that the worker left out is passed over
    return matched, turned


def _fill_repeated(sent: np.ndarray, by_triangle: np.ndarray, left_out: np.ndarray) -> None:
    """Give triangles that stand where another one does the coordinates of that one."""
    _, corners = np.unique(sent.reshape(-1, 3), axis=0, return_inverse=True)
    corners = corners.reshape(-1, 3)
    known = {tuple(sorted(corners[number])): number for number in np.flatnonzero(~left_out)}
    for number in np.flatnonzero(left_out):
        twin = known.get(tuple(sorted(corners[number])))
        if twin is not None:
            where = {corner: uv for corner, uv in zip(corners[twin], by_triangle[twin], strict=True)}
            by_triangle[number] = [where[corner] for corner in corners[number]]
