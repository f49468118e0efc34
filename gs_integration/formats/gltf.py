"""Splats in glTF files by the extension KHR_gaussian_splatting (Khronos, 2026).

A primitive of points with rotations (x y z w), sizes (linear), opacities (0..1) and coefficients of spherical
harmonics as attributes. The world is y up by specification. Files are written as .glb; COLOR_0 shows programs that do
not know the extension a coloured point cloud.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import SplatArrays
from .errors import FormatError
from .files import write_whole
from .gltf_file import GltfFile, decode_glb, encode_glb, read_gltf_file
from .harmonics import COEFFICIENTS_BY_DEGREE, SH_BAND_0
from .screening import SplatReading, screened
from .stored_values import log_scales_of, logits_of_opacities, opacities_of_logits

EXTENSION = "KHR_gaussian_splatting"

_PREFIX = EXTENSION + ":"
_FLOAT, _POINTS = 5126, 0
_SIGNED, _UNSIGNED = (5120, 5122), (5121, 5123)
_DISPLAY = "srgb_rec709_display"
_DEEPEST_TREE = 200


def read_gltf(path: Path) -> SplatReading:
    """Read the splats of a file.

    Args:
        path: a .glb, or a .gltf with its buffers beside it.

    Returns:
        All splats of the file's scene, y up, and what was dropped.

    Raises:
        FormatError: damaged, without splats, or with splats that are stored in a way that is not read.
        OSError: the file cannot be opened.
    """
    return _reading(read_gltf_file(path))


def decode_gltf(content: bytes) -> SplatReading:
    """Read the splats of the content of a .glb; see `read_gltf`.

    Args:
        content: all of the file.

    Raises:
        FormatError: damaged, without splats, or with splats that are stored in a way that is not read.
    """
    return _reading(decode_glb(content))


def write_gltf(path: Path, splats: SplatArrays) -> None:
    """Write splats, turned to y up, as a .glb, whole or not at all.

    Args:
        path: the file; what was there is replaced.
        splats: any number, in any axes.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, encode_gltf(splats))


def encode_gltf(splats: SplatArrays) -> bytes:
    """The content of a .glb, turned to y up.

    Args:
        splats: any number, in any axes.
    """
    splats = splats.in_axes("y-up")
    quaternions = splats.quaternions_wxyz.astype(np.float64)
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    opacities = opacities_of_logits(splats.opacity_logits)
    colours = np.clip(0.5 + SH_BAND_0 * splats.harmonics[:, 0].astype(np.float64), 0, 1)
    attributes = {
        "POSITION": splats.means,
        "COLOR_0": np.concatenate([_linear(colours), opacities[:, None]], axis=1),
        _PREFIX + "ROTATION": np.roll(quaternions, -1, axis=1),
        _PREFIX + "SCALE": np.exp(splats.log_scales.astype(np.float64)),
        _PREFIX + "OPACITY": opacities,
    }
    for number in range(splats.harmonics.shape[1]):
        attributes[_PREFIX + _coefficient_name(number)] = splats.harmonics[:, number]
    blocks = [np.ascontiguousarray(values, "<f4") for values in attributes.values()]
    views, accessors, place = [], [], 0
    for number, block in enumerate(blocks):
        views.append({"buffer": 0, "byteOffset": place, "byteLength": block.nbytes, "target": 34962})
        kind = "SCALAR" if block.ndim == 1 else f"VEC{block.shape[1]}"
        accessors.append({"bufferView": number, "componentType": _FLOAT, "count": len(block), "type": kind})
        place += block.nbytes
    accessors[0] |= {"min": blocks[0].min(axis=0).tolist(), "max": blocks[0].max(axis=0).tolist()}
    primitive = {
        "mode": _POINTS,
        "attributes": {name: number for number, name in enumerate(attributes)},
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": _DISPLAY}},
    }
    document = {
        "asset": {"version": "2.0", "generator": "OneStep3D"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "splats"}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": place}],
    }
    return encode_glb(document, b"".join(block.tobytes() for block in blocks))


def _reading(file: GltfFile) -> SplatReading:
    parts = [
        _placed(_primitive_splats(file, primitive), node_to_world)
        for mesh, node_to_world in _placed_meshes(file)
        for primitive in _splat_primitives(mesh)
    ]
    if not parts:
        what = "a mesh or another scene" if file.items("meshes") else "an empty scene"
        raise FormatError(f"This glTF holds {what}, not splats: no primitive has the extension {EXTENSION}.")
    reading = screened(_joined(parts))
    if not len(reading.splats):
        raise FormatError(f"The file holds no splats that can be drawn. {' '.join(reading.notes)}")
    return reading


def _placed_meshes(file: GltfFile) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """The meshes of the scene, each with the matrix [4, 4] to the world; of all nodes if there is no scene."""
    nodes = file.items("nodes")
    children = {child for node in nodes for child in _indices(node.get("children", []), len(nodes))}
    roots = [number for number in range(len(nodes)) if number not in children]
    if file.items("scenes"):
        scene = file.item("scenes", file.document.get("scene", 0), "the file")
        roots = _indices(scene.get("nodes", []), len(nodes))
    stack = [(number, np.eye(4), 0) for number in reversed(roots)]
    visits = 0
    while stack:
        number, parent_to_world, depth = stack.pop()
        visits += 1
        # A node has one parent; a tree that visits more nodes than there are has a cycle or shares branches.
        if visits > len(nodes) or depth > _DEEPEST_TREE:
            raise FormatError("Damaged glTF: the tree of its nodes has a cycle, or is deeper than 200.")
        node = nodes[number]
        node_to_world = parent_to_world @ _node_matrix(node, number)
        if "mesh" in node:
            yield file.item("meshes", node["mesh"], f"node {number}"), node_to_world
        below = _indices(node.get("children", []), len(nodes))
        stack += [(child, node_to_world, depth + 1) for child in reversed(below)]


def _indices(found: object, count: int) -> list[int]:
    if not isinstance(found, list) or not all(type(number) is int and 0 <= number < count for number in found):
        raise FormatError(f"Damaged glTF: expected a list of nodes below {count}.")
    return found


def _node_matrix(node: Mapping[str, Any], number: int) -> np.ndarray:
    if "matrix" in node:
        return _vector(node["matrix"], 16, number).reshape(4, 4).T
    x, y, z, w = _vector(node.get("rotation", [0, 0, 0, 1]), 4, number)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if length < 1e-6:
        raise FormatError(f"Damaged glTF: the rotation of node {number} is zero.")
    x, y, z, w = (part / length for part in (x, y, z, w))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= _vector(node.get("scale", [1, 1, 1]), 3, number)
    matrix[:3, 3] = _vector(node.get("translation", [0, 0, 0]), 3, number)
    return matrix


def _vector(found: object, width: int, number: int) -> np.ndarray:
    if (
        not isinstance(found, list)
        or len(found) != width
        or not all(isinstance(part, int | float) and abs(part) < 1e30 for part in found)
    ):
        raise FormatError(f"Damaged glTF: expected {width} numbers in the transform of node {number}.")
    return np.array(found, dtype=np.float64)


def _splat_primitives(mesh: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    primitives = mesh.get("primitives")
    if not isinstance(primitives, list):
        raise FormatError("Damaged glTF: a mesh has no primitives.")
    for primitive in primitives:
        extensions = primitive.get("extensions") if isinstance(primitive, dict) else None
        if not isinstance(extensions, dict) or EXTENSION not in extensions:
            continue
        about = extensions[EXTENSION]
        if not isinstance(about, dict):
            raise FormatError(f"Damaged glTF: {EXTENSION} is no object.")
        inner = about.get("extensions")
        compressed = [name for name in inner if "compression" in name] if isinstance(inner, dict) else []
        if compressed:
            raise FormatError(f"The splats are compressed ({compressed[0]}), which is not read: export plain splats.")
        if primitive.get("mode", 4) != _POINTS:
            raise FormatError(f"Damaged glTF: splats are points (mode 0), got mode {primitive.get('mode', 4)}.")
        if about.get("kernel", "ellipse") != "ellipse":
            raise FormatError(f"Expected splats with the kernel ellipse, got {about.get('kernel')}.")
        if about.get("colorSpace", _DISPLAY) != _DISPLAY:
            raise FormatError(f"Expected colours in {_DISPLAY}, got {about.get('colorSpace')}: export them as sRGB.")
        yield primitive


def _primitive_splats(file: GltfFile, primitive: Mapping[str, Any]) -> SplatArrays:
    attributes = primitive.get("attributes")
    if not isinstance(attributes, dict):
        raise FormatError("Damaged glTF: a primitive has no attributes.")
    degree = _sh_degree(attributes)

    def numbers(name: str, kind: str, components: tuple[int, ...] = ()) -> np.ndarray:
        if name not in attributes:
            raise FormatError(f"Damaged glTF: the splats have no attribute {name}.")
        return file.numbers(attributes[name], {kind: (_FLOAT, *components)}, name)

    means = numbers("POSITION", "VEC3").astype(np.float32)
    xyzw = numbers(_PREFIX + "ROTATION", "VEC4", _SIGNED)
    scales = numbers(_PREFIX + "SCALE", "VEC3", _UNSIGNED)
    opacities = numbers(_PREFIX + "OPACITY", "SCALAR", _UNSIGNED)
    coefficients = [
        numbers(_PREFIX + _coefficient_name(number), "VEC3") for number in range(COEFFICIENTS_BY_DEGREE[degree])
    ]
    if {len(values) for values in (xyzw, scales, opacities, *coefficients)} != {len(means)}:
        raise FormatError("Damaged glTF: the attributes of the splats have different lengths.")
    if not len(means):
        raise FormatError("The file holds no splats.")
    return SplatArrays(
        means=means,
        quaternions_wxyz=np.roll(xyzw, 1, axis=1).astype(np.float32),
        log_scales=log_scales_of(scales),
        opacity_logits=logits_of_opacities(opacities),
        harmonics=np.stack(coefficients, axis=1).astype(np.float32),
        axes="y-up",
    )


def _sh_degree(attributes: Mapping[str, Any]) -> int:
    """The degree whose bands are there, whole."""
    found = {name.removeprefix(_PREFIX) for name in attributes if re.search(r":SH_DEGREE_\d+_COEF_\d+$", name)}
    for degree, coefficients in enumerate(COEFFICIENTS_BY_DEGREE):
        if found == {_coefficient_name(number) for number in range(coefficients)}:
            return degree
    raise FormatError(
        f"The splats have {len(found)} coefficients of spherical harmonics, which fit no degree (expected all of the "
        "bands 0 to at most 3)."
    )


def _coefficient_name(number: int) -> str:
    band = math.isqrt(number)
    return f"SH_DEGREE_{band}_COEF_{number - band * band}"


def _placed(splats: SplatArrays, node_to_world: np.ndarray) -> SplatArrays:
    if np.array_equal(node_to_world, np.eye(4)):
        return splats
    try:
        return splats.transformed(node_to_world)
    except ValueError as error:
        raise FormatError(f"Cannot place the splats of a node: {error}.") from None


def _joined(parts: list[SplatArrays]) -> SplatArrays:
    coefficients = max(part.harmonics.shape[1] for part in parts)
    padded = [np.pad(part.harmonics, ((0, 0), (0, coefficients - part.harmonics.shape[1]), (0, 0))) for part in parts]
    return SplatArrays(
        means=np.concatenate([part.means for part in parts]),
        quaternions_wxyz=np.concatenate([part.quaternions_wxyz for part in parts]),
        log_scales=np.concatenate([part.log_scales for part in parts]),
        opacity_logits=np.concatenate([part.opacity_logits for part in parts]),
        harmonics=np.concatenate(padded),
        axes="y-up",
    )


def _linear(display: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values (IEC 61966-2-1)."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
