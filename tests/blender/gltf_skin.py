"""What glTF's own formulas make of a skinned model at a moment of an animation: numpy alone, written from the standard.

glTF 2.0, "Animations" and "Skins": keyframes interpolated linearly (rotations along the arc), a vertex moved by the
weighted sum of (joint's world matrix) (inverse bind matrix).
"""

import json
import struct
from pathlib import Path

import numpy as np

_COMPONENTS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


class SkinnedModel:
    """The only skin of a .glb whose parts are all skinned by it."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        (length,) = struct.unpack_from("<I", content, 12)
        self.tree = json.loads(content[20 : 20 + length])
        self._binary = content[20 + length + 8 :]

    def clip_seconds(self, clip: str) -> tuple[float, float]:
        """When its first and its last keyframe are."""
        times = [self._values(sampler["input"]) for sampler in self._clip(clip)["samplers"]]
        return min(float(t.min()) for t in times), max(float(t.max()) for t in times)

    def posed(self, clip: str, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Vertices [N, 3] with z up and faces [F, 3]."""
        nodes = [dict(node) for node in self.tree["nodes"]]
        animation = self._clip(clip)
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert sampler.get("interpolation", "LINEAR") == "LINEAR"
            target = channel["target"]
            nodes[target["node"]][target["path"]] = _between(
                self._values(sampler["input"]).ravel(), self._values(sampler["output"]), seconds
            )
        worlds: dict[int, np.ndarray] = {}
        for root in self.tree["scenes"][self.tree.get("scene", 0)]["nodes"]:
            _place(nodes, root, np.eye(4), worlds)
        skin = self.tree["skins"][0]
        binds = self._values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = np.stack([worlds[joint] @ bind for joint, bind in zip(skin["joints"], binds, strict=True)])
        vertices, faces, count = [], [], 0
        for part in [part for mesh in self.tree["meshes"] for part in mesh["primitives"]]:
            attributes = part["attributes"]
            positions = self._values(attributes["POSITION"]).astype(np.float64)
            weights = self._values(attributes["WEIGHTS_0"]).astype(np.float64)
            weights /= weights.sum(axis=1, keepdims=True)
            matrices = np.einsum("nk,nkij->nij", weights, joints[self._values(attributes["JOINTS_0"])])
            vertices.append(np.einsum("nij,nj->ni", matrices[:, :3, :3], positions) + matrices[:, :3, 3])
            indices = self._values(part["indices"]).ravel() if "indices" in part else np.arange(len(positions))
            faces.append(indices.reshape(-1, 3).astype(np.int64) + count)
            count += len(positions)
        return np.concatenate(vertices) @ _Z_UP.T, np.concatenate(faces)

    def _clip(self, name: str) -> dict:
        return next(animation for animation in self.tree["animations"] if animation["name"] == name)

    def _values(self, index: int) -> np.ndarray:
        accessor = self.tree["accessors"][index]
        view = self.tree["bufferViews"][accessor["bufferView"]]
        dtype, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        begin = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride", dtype.itemsize * width)
        return np.ndarray(
            (accessor["count"], width), dtype, self._binary, offset=begin, strides=(stride, dtype.itemsize)
        ).copy()


def _between(times: np.ndarray, values: np.ndarray, seconds: float) -> list[float]:
    after = int(np.clip(np.searchsorted(times, seconds), 1, max(1, len(times) - 1)))
    if len(times) == 1 or seconds <= times[0]:
        return values[0].tolist()
    share = min((seconds - times[after - 1]) / (times[after] - times[after - 1]), 1.0)
    one, other = values[after - 1].astype(np.float64), values[after].astype(np.float64)
    if len(one) == 4:
        other = other * (1 if one @ other >= 0 else -1)
        angle = np.arccos(min(one @ other, 1.0))
        if angle > 1e-6:
            return ((np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle)).tolist()
    return ((1 - share) * one + share * other).tolist()


def _place(nodes: list[dict], index: int, parent: np.ndarray, worlds: dict[int, np.ndarray]) -> None:
    node = nodes[index]
    if "matrix" in node:
        local = np.array(node["matrix"], float).reshape(4, 4).T
    else:
        x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), float)
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        local = np.eye(4)
        local[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), float)
        local[:3, 3] = node.get("translation", (0, 0, 0))
    worlds[index] = parent @ local
    for child in node.get("children", []):
        _place(nodes, child, worlds[index], worlds)
