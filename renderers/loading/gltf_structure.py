"""glTF 2.0 files, binary and JSON: the container, and checks of every number that decoding trusts.

Common loaders read beyond buffers, follow circles of nodes and accept indices of vertices that are not there, so all
of this is checked before any of them sees the file. Specification: Khronos glTF 2.0.
"""

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill_core.errors import UserError
from renderers.loading.asset_folder import AssetFolder

COMPONENT_DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
TYPE_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
DRACO = "KHR_draco_mesh_compression"
DECODED_EXTENSIONS = (DRACO, "KHR_texture_transform", "EXT_texture_webp")
_MAX_ELEMENTS = 100_000_000
_JSON_CHUNK, _BINARY_CHUNK = b"JSON", b"BIN\0"


@dataclass(frozen=True)
class GltfFile:
    """A checked glTF file.

    Attributes:
        name: for messages.
        tree: the JSON part.
        buffers: one a buffer of `tree`.
    """

    name: str
    tree: dict[str, Any]
    buffers: list[bytes]

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.tree["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self.buffers[view["buffer"]][start : start + view["byteLength"]]


def read_gltf(
    data: bytes, folder: AssetFolder, name: str, *, extensions: tuple[str, ...] = DECODED_EXTENSIONS
) -> GltfFile:
    """Read and check a .glb or .gltf file.

    Args:
        data: the file.
        folder: where buffers outside the file lie.
        name: for messages.
        extensions: those that a file may require.

    Raises:
        UserError: whatever is wrong, said in one sentence.
    """
    if data[:16].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        json_bytes, binary = data, None
    else:
        json_bytes, binary = _chunks(data, name)
    tree = _parse_json(json_bytes, name)
    try:
        _check_version(tree, name, extensions)
        buffers = _read_buffers(tree, binary, folder, name)
        file = GltfFile(name, tree, buffers)
        _check_views(file)
        _check_accessors(file)
        _check_meshes(file)
        _check_nodes(file)
        for image in tree.get("images", []):
            if not image.get("uri", "data:").startswith("data:"):
                folder.check(image["uri"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        # A key that is missing or of another type than the specification says.
        raise damaged(name, f"its structure does not follow glTF 2.0 ({type(error).__name__}: {error})") from error
    return file


def damaged(name: str, what: str) -> UserError:
    """The error for a file that contradicts itself."""
    return UserError(f"{name}: Damaged glTF file: {what}; export or download it again.")


def _chunks(data: bytes, name: str) -> tuple[bytes, bytes | None]:
    if len(data) < 12 or data[:4] != b"glTF":
        raise UserError(f"{name}: Not a .glb file: expected the magic number 'glTF', got {data[:4]!r}.")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise UserError(f"{name}: glTF {version}.0 is not supported, expected 2.0; export as glTF 2.0.")
    if length > len(data):
        raise _incomplete(name, length, len(data))
    json_bytes, binary, offset = None, None, 12
    while offset + 8 <= length:
        chunk_length, chunk_type = struct.unpack_from("<I4s", data, offset)
        offset += 8
        if offset + chunk_length > len(data):
            raise _incomplete(name, offset + chunk_length, len(data))
        if chunk_type == _JSON_CHUNK and json_bytes is None:
            json_bytes = data[offset : offset + chunk_length]
        elif chunk_type == _BINARY_CHUNK and binary is None:
            binary = data[offset : offset + chunk_length]
        offset += chunk_length
    if json_bytes is None:
        raise damaged(name, "expected a JSON chunk, got none")
    return json_bytes, binary


def _incomplete(name: str, expected_bytes: int, got_bytes: int) -> UserError:
    return UserError(
        f"{name}: The .glb is incomplete: expected {expected_bytes:,} bytes, got {got_bytes:,}; "
        "copy or export it again."
    )


def _parse_json(json_bytes: bytes, name: str) -> dict[str, Any]:
    try:
        tree = json.loads(json_bytes.decode("utf-8-sig"))
    except RecursionError:
        raise damaged(name, "its JSON is nested too deep") from None
    except ValueError as error:
        raise damaged(name, f"expected JSON, got text that is none ({error})") from error
    if not isinstance(tree, dict):
        raise damaged(name, f"expected a JSON object, got {type(tree).__name__}")
    return tree


def _check_version(tree: dict[str, Any], name: str, extensions: tuple[str, ...]) -> None:
    version = str(tree["asset"]["version"])
    if version.split(".")[0] != "2":
        raise UserError(f"{name}: glTF {version} is not supported, expected 2.0; export as glTF 2.0.")
    unknown = sorted(set(tree.get("extensionsRequired", [])) - set(extensions))
    if unknown:
        raise UserError(
            f"{name}: the file requires {', '.join(unknown)}, expected at most "
            f"{', '.join(extensions)}; export it without that compression."
        )


def _whole(value: Any, lowest: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ValueError(f"{what} is {value!r}")
    return value


def _read_buffers(tree: dict[str, Any], binary: bytes | None, folder: AssetFolder, name: str) -> list[bytes]:
    buffers: list[bytes] = []
    for index, buffer in enumerate(tree.get("buffers", [])):
        length = _whole(buffer["byteLength"], 0, f"the length of buffer {index}")
        uri = buffer.get("uri")
        if uri is None:
            if index > 0 or binary is None:
                raise damaged(name, f"buffer {index} has no data")
            content = binary
        else:
            content = read_uri(uri, folder, name)
        if len(content) < length:
            raise UserError(
                f"{name}: The file is incomplete: expected {length:,} bytes in buffer {index}, got {len(content):,}; "
                "copy or export it again."
            )
        buffers.append(content)
    return buffers


def read_uri(uri: str, folder: AssetFolder, name: str) -> bytes:
    """The bytes behind a data URI or a path.

    Args:
        uri: as the file writes it.
        folder: where paths lead.
        name: for messages.

    Raises:
        UserError: no such file, a path out of the folder, or data that is not base64.
    """
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition("base64,")[2], validate=True)
        except binascii.Error as error:
            raise damaged(name, f"a data URI is not base64 ({error})") from error
    try:
        return folder.get(uri)
    except FileNotFoundError:
        raise UserError(f"{name}: expected {uri} beside it, got no such file; copy it there.") from None


def _check_views(file: GltfFile) -> None:
    for index, view in enumerate(file.tree.get("bufferViews", [])):
        start = _whole(view.get("byteOffset", 0), 0, f"the offset of buffer view {index}")
        length = _whole(view["byteLength"], 0, f"the length of buffer view {index}")
        _whole(view.get("byteStride", 1), 1, f"the stride of buffer view {index}")
        buffer = file.buffers[_whole(view["buffer"], 0, f"the buffer of buffer view {index}")]
        if start + length > len(buffer):
            raise damaged(
                file.name, f"buffer view {index} reaches to byte {start + length:,} of a buffer of {len(buffer):,}"
            )


def _check_accessors(file: GltfFile) -> None:
    for index, accessor in enumerate(file.tree.get("accessors", [])):
        count = _whole(accessor["count"], 0, f"the count of accessor {index}")
        item = np.dtype(COMPONENT_DTYPES[accessor["componentType"]]).itemsize * TYPE_WIDTHS[accessor["type"]]
        if count > _MAX_ELEMENTS:
            raise damaged(file.name, f"accessor {index} has {count:,} elements, at most {_MAX_ELEMENTS:,} are read")
        if "bufferView" not in accessor:
            continue
        view = file.tree["bufferViews"][_whole(accessor["bufferView"], 0, f"the view of accessor {index}")]
        start = _whole(accessor.get("byteOffset", 0), 0, f"the offset of accessor {index}")
        end = start + (count - 1) * view.get("byteStride", item) + item if count else start
        if end > view["byteLength"]:
            raise damaged(
                file.name,
                f"accessor {index} reaches beyond its buffer (its {count:,} elements end at byte {end:,} of "
                f"{view['byteLength']:,})",
            )


def _check_meshes(file: GltfFile) -> None:
    accessors = file.tree.get("accessors", [])
    for mesh_index, mesh in enumerate(file.tree.get("meshes", [])):
        for primitive in mesh["primitives"]:
            where = f"mesh {mesh_index}"
            used = {key: accessors[_whole(value, 0, where)] for key, value in primitive["attributes"].items()}
            if "POSITION" not in used:
                continue
            draco = DRACO in primitive.get("extensions", {})
            if draco:
                view = primitive["extensions"][DRACO]["bufferView"]
                file.tree["bufferViews"][_whole(view, 0, where)]
            if (used["POSITION"]["type"], used["POSITION"]["componentType"]) != ("VEC3", 5126):
                raise damaged(file.name, f"the positions of {where} are not three floats each")
            num_vertices = used["POSITION"]["count"]
            for key, accessor in used.items():
                if accessor["count"] != num_vertices:
                    raise damaged(file.name, f"{where} has {num_vertices} positions but {accessor['count']} of {key}")
                _check_decodable(file, accessor, f"{key} of {where}", draco=draco)
            if "indices" in primitive:
                indices = accessors[_whole(primitive["indices"], 0, where)]
                if indices["type"] != "SCALAR" or indices["componentType"] not in (5121, 5123, 5125):
                    raise damaged(file.name, f"the indices of {where} are not unsigned whole numbers")
                _check_decodable(file, indices, f"the indices of {where}", draco=draco)
                if not draco and "bufferView" in indices:
                    _check_indices(file, indices, num_vertices)


def _check_decodable(file: GltfFile, accessor: dict[str, Any], what: str, *, draco: bool) -> None:
    if "sparse" in accessor:
        raise UserError(f"{file.name}: {what} is a sparse accessor, which is not supported; export it without them.")
    if "bufferView" not in accessor and not draco:
        raise damaged(file.name, f"{what} has no data")


def _check_indices(file: GltfFile, accessor: dict[str, Any], num_vertices: int) -> None:
    indices = accessor_values(file, accessor).ravel()
    beyond = np.flatnonzero(indices >= num_vertices)
    if len(beyond):
        raise damaged(file.name, f"face {beyond[0] // 3} uses vertex {indices[beyond[0]]}, there are {num_vertices}")


def accessor_values(file: GltfFile, accessor: dict[str, Any]) -> np.ndarray:
    """The raw numbers [count, width] of a checked accessor with data."""
    dtype = np.dtype(COMPONENT_DTYPES[accessor["componentType"]])
    width = TYPE_WIDTHS[accessor["type"]]
    view = file.tree["bufferViews"][accessor["bufferView"]]
    stride = view.get("byteStride", dtype.itemsize * width)
    return np.ndarray(
        (accessor["count"], width),
        dtype,
        file.view(accessor["bufferView"]),
        accessor.get("byteOffset", 0),
        (stride, dtype.itemsize),
    )


def _check_nodes(file: GltfFile) -> None:
    nodes = file.tree.get("nodes", [])
    num_meshes = len(file.tree.get("meshes", []))
    parents: dict[int, int] = {}
    for index, node in enumerate(nodes):
        if "mesh" in node and _whole(node["mesh"], 0, f"the mesh of node {index}") >= num_meshes:
            raise damaged(file.name, f"node {index} shows mesh {node['mesh']}, there are {num_meshes}")
        for child in node.get("children", []):
            if _whole(child, 0, f"a child of node {index}") >= len(nodes):
                raise damaged(file.name, f"node {index} has the child {child}, there are {len(nodes)} nodes")
            if child in parents:
                raise damaged(file.name, f"node {child} has two parents, so that the node tree has a cycle or is none")
            parents[child] = index
    # Every node has at most one parent, so the nodes that cannot be reached from those without are in circles.
    reached = [index for index in range(len(nodes)) if index not in parents]
    for index in reached:
        reached.extend(nodes[index].get("children", []))
    if len(reached) < len(nodes):
        raise damaged(file.name, "the node tree has a cycle")
    for scene in file.tree.get("scenes", []):
        for root in scene.get("nodes", []):
            if _whole(root, 0, "a node of a scene") >= len(nodes):
                raise damaged(file.name, f"a scene shows node {root}, there are {len(nodes)}")
