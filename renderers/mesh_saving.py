"""A textured mesh as a .glb file."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from renderers.meshes import TexturedMesh
from renderers.normals import shading_normals

_Z_UP_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def wearing(mesh: TexturedMesh, texture: Float[np.ndarray, "3 height width"]) -> TexturedMesh:
    """The mesh with one opaque picture as its base colour, and no colours besides.

    Args:
        mesh: with texture coordinates.
        texture: sRGB values, clipped to 0..1; row 0 is the top (v = 1).
    """
    opaque = np.concatenate([texture, np.ones((1, *texture.shape[1:]), texture.dtype)])
    return replace(
        mesh, base_colours=(_eight_bits(opaque),), face_picture=np.zeros_like(mesh.face_picture), corner_colours=None
    )


def _eight_bits(picture: Float[np.ndarray, "4 height width"]) -> UInt8[np.ndarray, "height width 4"]:
    return np.ascontiguousarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def glb_bytes(mesh: TexturedMesh) -> bytes:
    """The content of a .glb: one part a picture, base colour textures, normals, y up as glTF wants it.

    Args:
        mesh: without colours at corners.

    Raises:
        ValueError: it has colours at corners, which would be lost.
    """
    if mesh.corner_colours is not None:
        raise ValueError("expected a mesh without colours at corners, which a base colour texture does not hold")
    import trimesh  # takes seconds to import
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    normals = shading_normals(mesh)
    scene = trimesh.Scene()
    for number in np.unique(mesh.face_picture):
        chosen = mesh.face_picture == number
        corners = np.concatenate([mesh.vertices[mesh.faces[chosen]], mesh.corner_uvs[chosen], normals[chosen]], axis=-1)
        # glTF stores one normal and one coordinate a vertex: corners that agree in all become one.
        unique, inverse = np.unique(corners.reshape(-1, 8), axis=0, return_inverse=True)
        material = PBRMaterial(
            name=f"picture {number}",
            baseColorTexture=Image.fromarray(mesh.base_colours[number]),
            metallicFactor=0.0,
            roughnessFactor=1.0,
            doubleSided=True,
            alphaMode="MASK" if (mesh.base_colours[number][..., 3] < 128).any() else "OPAQUE",
        )
        part = trimesh.Trimesh(
            vertices=unique[:, :3] @ _Z_UP_TO_Y_UP.T,
            faces=inverse.reshape(-1, 3),
            vertex_normals=unique[:, 5:] @ _Z_UP_TO_Y_UP.T,
            visual=TextureVisuals(uv=unique[:, 3:5], material=material),
            process=False,
        )
        scene.add_geometry(part, node_name=f"{mesh.name} {number}", geom_name=f"{mesh.name} {number}")
    data = scene.export(file_type="glb", include_normals=True)
    assert isinstance(data, bytes)
    return data


def save_glb(mesh: TexturedMesh, path: Path) -> None:
    """Write a .glb, complete or not at all.

    Args:
        mesh: without colours at corners.
        path: where; an existing file is replaced.

    Raises:
        OSError: it cannot be written.
    """
    data = glb_bytes(mesh)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
