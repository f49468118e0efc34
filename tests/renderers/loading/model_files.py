"""Small model files made by hand for tests."""

import io
import json
import struct
from typing import Any

import numpy as np
import trimesh
from PIL import Image

CUBE_VERTICES = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
CUBE_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5]),  # x = -0.5, 0.5
        *([0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]),  # y
        *([0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),  # z
    ]
)


def png_bytes(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


class GltfBuilder:
    """Collects arrays into one binary chunk and writes a .glb file."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "bufferViews": [],
            "accessors": [],
            "meshes": [],
            "nodes": [],
            "scenes": [{"nodes": []}],
            "scene": 0,
        }
        self.binary = b""

    def view(self, content: bytes, **extra: Any) -> int:
        self.tree["bufferViews"].append(
            {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(content), **extra}
        )
        self.binary += content + b"\0" * (-len(content) % 4)
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values: np.ndarray, **extra: Any) -> int:
        codes = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
        width = values.shape[1] if values.ndim == 2 else 1
        self.tree["accessors"].append(
            {
                "bufferView": self.view(values.tobytes()),
                "componentType": codes[values.dtype.name],
                "count": len(values),
                "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width],
                **extra,
            }
        )
        return len(self.tree["accessors"]) - 1

    def mesh(self, attributes: dict[str, np.ndarray], indices: np.ndarray | None = None, **primitive: Any) -> int:
        entry: dict[str, Any] = {
            "attributes": {
                name: self.accessor(values, normalized=values.dtype.kind != "f") for name, values in attributes.items()
            },
            **primitive,
        }
        if indices is not None:
            entry["indices"] = self.accessor(indices)
        self.tree["meshes"].append({"primitives": [entry]})
        return len(self.tree["meshes"]) - 1

    def node(self, *, root: bool = True, **node: Any) -> int:
        self.tree["nodes"].append(node)
        if root:
            self.tree["scenes"][0]["nodes"].append(len(self.tree["nodes"]) - 1)
        return len(self.tree["nodes"]) - 1

    def material(self, picture: np.ndarray | None = None, texture: dict[str, Any] | None = None, **extra: Any) -> int:
        metallic: dict[str, Any] = dict(extra.pop("pbr", {}))
        if picture is not None:
            self.tree.setdefault("images", []).append(
                {"bufferView": self.view(png_bytes(picture)), "mimeType": "image/png"}
            )
            self.tree.setdefault("textures", []).append({"source": len(self.tree["images"]) - 1})
            metallic["baseColorTexture"] = {"index": len(self.tree["textures"]) - 1, **(texture or {})}
        self.tree.setdefault("materials", []).append({"pbrMetallicRoughness": metallic, **extra})
        return len(self.tree["materials"]) - 1

    def glb(self) -> bytes:
        self.tree["buffers"] = [{"byteLength": len(self.binary)}]
        return glb_bytes(self.tree, self.binary)


def glb_bytes(tree: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def cube_builder() -> GltfBuilder:
    builder = GltfBuilder()
    builder.mesh({"POSITION": CUBE_VERTICES.astype(np.float32)}, CUBE_FACES.astype(np.uint16).ravel())
    builder.node(mesh=0)
    return builder


def cube_obj(**replaced: str) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in CUBE_VERTICES]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in CUBE_FACES]
    return "\n".join(lines) + "\n" + "".join(replaced.values())


def exported(mesh: trimesh.Trimesh, file_type: str) -> bytes:
    """A mesh as a file of a binary format, in memory."""
    data = mesh.export(file_type=file_type)
    assert isinstance(data, bytes)
    return data
