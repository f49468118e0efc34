"""Checked glTF files to mesh parts: materials, geometry, the node tree and skins in their resting pose.

trimesh reads glTF too, but keeps base colours in 8 bits, knows one set of texture coordinates, and leaves skins out;
since every number is checked here before anyway, decoding takes little more.
"""

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill_core.errors import UserError
from renderers.loading.asset_folder import AssetFolder
from renderers.loading.gltf_structure import DRACO, GltfFile, accessor_values, damaged, read_gltf, read_uri
from renderers.loading.mesh_parts import (
    MeshPart,
    check_finite,
    decoded_picture,
    holes_or_opaque,
    placed,
    with_bled_colours,
    with_opaque_alpha,
)

_LOG = logging.getLogger(__name__)
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_MAX_FACES = 20_000_000


@dataclass(frozen=True)
class _Material:
    """The base colour of a glTF material; `uv_matrix` [2, 3] acts on coordinates with v down."""

    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    picture: np.ndarray | None = None
    uv_set: int = 0
    uv_matrix: np.ndarray | None = None


@dataclass(frozen=True)
class _Primitive:
    """A part before it is placed, with the joints [N, 4k] and weights [N, 4k] of its vertices."""

    part: MeshPart
    vertex_normals: np.ndarray | None
    joints: np.ndarray | None
    weights: np.ndarray | None


def read_gltf_parts(data: bytes, folder: AssetFolder, name: str) -> list[MeshPart]:
    """The parts of a .glb or .gltf file, placed by its default scene, y up.

    Args:
        data: the file.
        folder: where buffers and pictures outside the file lie.
        name: for messages.

    Raises:
        UserError: a damaged file, or one that needs what is not supported.
    """
    file = read_gltf(data, folder, name)
    try:
        return _placed_parts(file, folder)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        # What the structure check does not visit: materials, skins, matrices of nodes.
        raise damaged(name, f"its structure does not follow glTF 2.0 ({type(error).__name__}: {error})") from error


def _placed_parts(file: GltfFile, folder: AssetFolder) -> list[MeshPart]:
    nodes = file.tree.get("nodes", [])
    worlds = _world_matrices(nodes)
    if not all(np.isfinite(world).all() for world in worlds):
        raise damaged(file.name, "the matrix of a node is not finite")
    materials: dict[int, _Material] = {}
    pictures: dict[tuple[int, str], np.ndarray | None] = {}
    meshes: dict[int, list[_Primitive]] = {}
    parts: list[MeshPart] = []
    num_faces = 0
    for index in _shown_nodes(file.tree):
        node = nodes[index]
        if "mesh" not in node:
            continue
        if node["mesh"] not in meshes:
            mesh = file.tree["meshes"][node["mesh"]]
            for material in {primitive["material"] for primitive in mesh["primitives"] if "material" in primitive}:
                if material not in materials:
                    materials[material] = _read_material(file, folder, material, pictures)
            read = (_read_primitive(file, primitive, materials) for primitive in mesh["primitives"])
            meshes[node["mesh"]] = [primitive for primitive in read if primitive is not None]
        for primitive in meshes[node["mesh"]]:
            num_faces += len(primitive.part.faces)
            if num_faces > _MAX_FACES:
                raise UserError(f"{file.name}: expected at most {_MAX_FACES:,} triangles; simplify the model.")
            matrices = worlds[index][None]
            if "skin" in node and primitive.joints is not None and primitive.weights is not None:
                matrices = _skin_matrices(file, node["skin"], index, worlds, primitive)
            parts.append(placed(primitive.part, matrices, primitive.vertex_normals))
    return parts


def _shown_nodes(tree: dict[str, Any]) -> list[int]:
    nodes = tree.get("nodes", [])
    scenes = tree.get("scenes", [])
    if scenes:
        shown = list(scenes[tree.get("scene", 0)].get("nodes", []))
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        shown = [index for index in range(len(nodes)) if index not in children]
    for index in shown:
        shown.extend(nodes[index].get("children", []))
    return list(dict.fromkeys(shown))


def _world_matrices(nodes: list[dict[str, Any]]) -> list[np.ndarray]:
    parent_of = {child: index for index, node in enumerate(nodes) for child in node.get("children", [])}
    worlds = [_local_matrix(node) for node in nodes]
    # Parents before children, so that each is multiplied once.
    order = [index for index in range(len(nodes)) if index not in parent_of]
    for index in order:
        if index in parent_of:
            worlds[index] = worlds[parent_of[index]] @ worlds[index]
        order.extend(nodes[index].get("children", []))
    return worlds


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = unit_quaternion(node.get("rotation", (0.0, 0.0, 0.0, 1.0)))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1.0, 1.0, 1.0)), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0.0, 0.0, 0.0)), np.float64).reshape(3)
    return matrix


def unit_quaternion(xyzw: Any) -> np.ndarray:
    """A quaternion x y z w scaled to length 1; without length it turns nothing."""
    quaternion = np.array(xyzw, np.float64).reshape(4)
    length = np.linalg.norm(quaternion)
    return quaternion / length if length > 0 else np.array([0.0, 0.0, 0.0, 1.0])


def _read_material(
    file: GltfFile, folder: AssetFolder, index: int, pictures: dict[tuple[int, str], np.ndarray | None]
) -> _Material:
    material = file.tree["materials"][index]
    extensions = material.get("extensions", {})
    metallic = material.get("pbrMetallicRoughness", {})
    glossy = extensions.get("KHR_materials_pbrSpecularGlossiness")
    if glossy is not None:
        factor, texture = glossy.get("diffuseFactor", (1, 1, 1, 1)), glossy.get("diffuseTexture")
    else:
        factor, texture = metallic.get("baseColorFactor", (1, 1, 1, 1)), metallic.get("baseColorTexture")
    red, green, blue, alpha = (float(value) for value in np.clip(np.array(factor, np.float64).reshape(4), 0, 1))
    colour = (red, green, blue, alpha)
    if texture is None:
        return _Material(colour)
    texture_entry = file.tree["textures"][texture["index"]]
    webp = texture_entry.get("extensions", {}).get("EXT_texture_webp", {})
    image_index = webp.get("source", texture_entry.get("source"))
    if image_index is None:
        _LOG.warning("%s: texture %s has no picture of a known kind; going on without it.", file.name, texture["index"])
        return _Material(colour)
    mode = material.get("alphaMode", "OPAQUE")
    key = (image_index, f"{mode} {material.get('alphaCutoff', 0.5)}")
    if key not in pictures:
        pictures[key] = _read_picture(file, folder, image_index, mode, float(material.get("alphaCutoff", 0.5)))
    transform = texture.get("extensions", {}).get("KHR_texture_transform", {})
    uv_set = transform.get("texCoord", texture.get("texCoord", 0))
    return _Material(colour, pictures[key], uv_set, _uv_matrix(transform) if transform else None)


def _read_picture(file: GltfFile, folder: AssetFolder, index: int, mode: str, cutoff: float) -> np.ndarray | None:
    image = file.tree["images"][index]
    described_as = f"{file.name}: image {index} ({image.get('name') or image.get('uri', 'embedded')[:60]})"
    if "bufferView" in image:
        content = file.view(image["bufferView"])
    elif image["uri"].startswith("data:"):
        content = read_uri(image["uri"], folder, file.name)
    else:
        try:
            content = folder.get(image["uri"])
        except FileNotFoundError:
            return None
    picture = decoded_picture(content, described_as)
    if picture is None:
        return None
    if mode == "MASK":
        if cutoff != 0.5 and cutoff > 0:
            # Renderers cut at one half.
            picture = picture.copy()
            picture[..., 3] = np.clip(picture[..., 3] * (0.5 / cutoff), 0, 255).astype(np.uint8)
        return with_bled_colours(picture)
    return holes_or_opaque(picture) if mode == "BLEND" else with_opaque_alpha(picture)


def _uv_matrix(transform: dict[str, Any]) -> np.ndarray:
    """KHR_texture_transform: scaled, then turned counter-clockwise as the picture shows it, then moved."""
    scale_u, scale_v = transform.get("scale", (1, 1))
    offset_u, offset_v = transform.get("offset", (0, 0))
    cosine, sine = math.cos(transform.get("rotation", 0)), math.sin(transform.get("rotation", 0))
    return np.array(
        [[cosine * scale_u, sine * scale_v, offset_u], [-sine * scale_u, cosine * scale_v, offset_v]], np.float64
    )


def _read_primitive(file: GltfFile, primitive: dict[str, Any], materials: dict[int, _Material]) -> _Primitive | None:
    mode = primitive.get("mode", _TRIANGLES)
    if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in primitive["attributes"]:
        _LOG.warning("%s: points or lines in the file are left out.", file.name)
        return None
    attributes, indices = _decoded_attributes(file, primitive)
    vertices = attributes["POSITION"].astype(np.float64)
    faces = _faces(indices if indices is not None else np.arange(len(vertices)), mode)
    if len(faces) and faces.max() >= len(vertices):
        raise damaged(file.name, f"a face uses vertex {faces.max()}, there are {len(vertices)}")
    check_finite(vertices[np.unique(faces)], file.name)
    material = materials[primitive["material"]] if "material" in primitive else _Material()
    uvs = attributes.get(f"TEXCOORD_{material.uv_set}")
    part = MeshPart(vertices, faces, colour=material.colour)
    if uvs is not None:
        uvs = uvs.astype(np.float64)
        if material.uv_matrix is not None:
            uvs = uvs @ material.uv_matrix[:, :2].T + material.uv_matrix[:, 2]
        corner_uvs = np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=-1).astype(np.float32)[faces]
        part = replace(part, picture=material.picture, corner_uvs=corner_uvs)
    elif material.picture is not None:
        _LOG.warning("%s: a part has a texture but no texture coordinates; going on without it.", file.name)
    colours = attributes.get("COLOR_0")
    if colours is not None:
        opaque = np.ones((len(colours), 1), np.float32)
        rgba = colours if colours.shape[1] == 4 else np.concatenate([colours, opaque], axis=1)
        part = replace(part, corner_colours=np.clip(rgba, 0, 1).astype(np.float32)[faces])
    joints = [attributes[key] for key in sorted(attributes) if key.startswith("JOINTS_")]
    weights = [attributes[key] for key in sorted(attributes) if key.startswith("WEIGHTS_")]
    return _Primitive(
        part,
        attributes.get("NORMAL"),
        np.concatenate(joints, axis=1).astype(np.int64) if joints else None,
        np.concatenate(weights, axis=1).astype(np.float64) if weights else None,
    )


def _decoded_attributes(file: GltfFile, primitive: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Arrays [N, width] by attribute name, whole-number colours and coordinates scaled to 0..1, and the indices."""
    accessors = file.tree["accessors"]
    compressed: dict[str, np.ndarray] = {}
    indices = None
    draco = primitive.get("extensions", {}).get(DRACO)
    if draco is not None:
        compressed, indices = _decoded_draco(file, draco)
    attributes: dict[str, np.ndarray] = {}
    for key, index in primitive["attributes"].items():
        if key in compressed:
            values = compressed[key]
        elif "bufferView" in accessors[index]:
            values = accessor_values(file, accessors[index])
        else:
            raise damaged(file.name, f"{key} has no data")
        if not key.startswith("JOINTS_") and np.issubdtype(values.dtype, np.integer):
            values = np.maximum(values / np.float64(np.iinfo(values.dtype).max), -1)
        attributes[key] = values
    if indices is None and "indices" in primitive:
        indices = accessor_values(file, accessors[primitive["indices"]]).ravel()
    return attributes, indices


def _decoded_draco(file: GltfFile, extension: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    import DracoPy

    try:
        mesh = DracoPy.decode(file.view(extension["bufferView"]))
    except Exception as error:  # the decoder raises kinds of its own
        raise damaged(file.name, f"its Draco data cannot be decoded ({error})") from error
    by_id = {attribute["unique_id"]: attribute["data"] for attribute in mesh.attributes}
    faces = getattr(mesh, "faces", None)
    if faces is None:
        raise damaged(file.name, "its Draco data is a point cloud")
    return {key: by_id[identity] for key, identity in extension["attributes"].items()}, np.asarray(faces).ravel()


def _faces(indices: np.ndarray, mode: int) -> np.ndarray:
    """Triangles [F, 3] of a list, strip or fan (glTF 2.0, section 3.7.2.1); a strip turns every second one."""
    indices = indices.astype(np.int64)
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == _FAN:
        return np.stack([indices[1:-1], indices[2:], np.broadcast_to(indices[0], len(indices) - 2)], axis=1)
    faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1)
    faces[1::2] = faces[1::2][:, [0, 2, 1]]
    return faces


def _skin_matrices(
    file: GltfFile, skin_index: int, node_index: int, worlds: list[np.ndarray], primitive: _Primitive
) -> np.ndarray:
    """The blended matrices [N, 4, 4] of skinned vertices in the pose that the nodes stand in (glTF 2.0, 3.7.3.3).

    Vertices that hang on no joint go with the node.
    """
    joints, weights = primitive.joints, primitive.weights
    assert joints is not None
    assert weights is not None
    skin = file.tree["skins"][skin_index]
    joint_matrices = np.stack([worlds[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        accessor = file.tree["accessors"][skin["inverseBindMatrices"]]
        inverse_bind = accessor_values(file, accessor).astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
        joint_matrices = joint_matrices @ inverse_bind[: len(joint_matrices)]
    if joints.max(initial=0) >= len(joint_matrices):
        raise damaged(file.name, f"vertices of skin {skin_index} hang on joints that are not there")
    total = weights.sum(axis=1, keepdims=True)
    blended = np.einsum("nk,nkij->nij", weights / np.where(total > 0, total, 1), joint_matrices[joints])
    return np.where(total[..., None] > 0, blended, worlds[node_index])
