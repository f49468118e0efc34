"""Mesh parts of .obj, .ply, .stl and .dae files, read by trimesh."""

import io
import logging
from typing import Any, cast

import numpy as np

from distill_core.errors import UserError
from renderers.loading.asset_folder import AssetFolder
from renderers.loading.mesh_files import no_faces
from renderers.loading.mesh_parts import (
    MeshPart,
    bare_colour,
    check_finite,
    decoded_picture,
    holes_or_opaque,
    linear_from_srgb,
    opened_picture,
    placed,
)

_LOG = logging.getLogger(__name__)
_MAX_FACES = 20_000_000


def read_scene_parts(data: bytes, file_type: str, folder: AssetFolder, name: str) -> list[MeshPart]:
    """The parts of a checked file, placed by its scene, in the axes of the file.

    Args:
        data: the file.
        file_type: "obj", "ply", "stl" or "dae".
        folder: where materials and pictures lie.
        name: for messages.

    Raises:
        UserError: a file that cannot be read, or a picture outside the folder.
    """
    import trimesh

    files = _FilesForTrimesh(folder)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=file_type, resolver=cast(Any, files), process=False, allow_remote=False
        )
    except Exception as error:  # what loaders raise on a damaged file is no finite list
        raise UserError(
            f"{name}: the .{file_type} cannot be read ({type(error).__name__}: {error}); export it again."
        ) from error
    if files.refused:
        raise files.refused[0]
    parts = []
    pictures: dict[int, np.ndarray | None] = {}
    for node in scene.graph.nodes_geometry:
        matrix, geometry_name = scene.graph[node]
        geometry = scene.geometry[geometry_name]
        if not isinstance(geometry, trimesh.Trimesh):
            _LOG.warning("%s: points or lines in the file are left out.", name)
            continue
        if len(geometry.faces):
            parts.append(_part(geometry, np.asarray(matrix, np.float64), pictures, name))
    if not parts:
        raise no_faces(name)
    if sum(len(part.faces) for part in parts) > _MAX_FACES:
        raise UserError(f"{name}: expected at most {_MAX_FACES:,} triangles; simplify the model.")
    return parts


class _FilesForTrimesh:
    """The resolver that trimesh asks for materials and pictures; it goes on in silence where they are no good."""

    def __init__(self, folder: AssetFolder) -> None:
        self.file_name = folder.file_name
        self.refused: list[UserError] = []
        self._folder = folder

    def get(self, reference: str) -> bytes:
        try:
            content = self._folder.get(reference)
            if not reference.lower().endswith(".mtl"):
                opened_picture(content, f"{self.file_name}: {reference}")
            return content
        except UserError as error:
            self.refused.append(error)
            raise
        except FileNotFoundError:
            raise
        except OSError as error:
            _LOG.warning("%s: %s is no picture that can be read; going on without it.", self.file_name, reference)
            raise FileNotFoundError(reference) from error

    def __getitem__(self, reference: str) -> bytes:
        return self.get(reference)


def _part(geometry: Any, matrix: np.ndarray, pictures: dict[int, np.ndarray | None], name: str) -> MeshPart:
    faces = np.asarray(geometry.faces, np.int64)
    vertices = np.asarray(geometry.vertices, np.float64)
    if faces.max() >= len(vertices) or faces.min() < 0:
        face = int(np.flatnonzero((faces >= len(vertices)).any(axis=1) | (faces < 0).any(axis=1))[0])
        raise UserError(
            f"{name}: Damaged mesh: face {face} uses vertex {faces[face].max()}, there are {len(vertices)}; "
            "export it again."
        )
    check_finite(vertices[np.unique(faces)], name)
    colour, picture = _base_colour(geometry.visual, pictures, name)
    uvs = getattr(geometry.visual, "uv", None)
    has_uvs = uvs is not None and len(uvs) == len(vertices)
    colours = _corner_colours(geometry.visual, faces)
    if picture is not None and not has_uvs:
        _LOG.warning("%s: a part has a texture but no texture coordinates; going on without it.", name)
        picture, colour = None, None
    if colour is None:
        colour = bare_colour() if colours is None else (1.0, 1.0, 1.0, 1.0)
    part = MeshPart(
        vertices=vertices,
        faces=faces,
        corner_uvs=np.asarray(uvs, np.float32)[faces] if has_uvs else None,
        picture=picture,
        colour=colour,
        corner_colours=colours,
    )
    # Asked of the cache, since the property would compute normals that the file did not store.
    stored = geometry.vertex_normals if "vertex_normals" in geometry._cache.cache else None
    return placed(part, matrix[None], stored)


def _base_colour(
    visual: Any, pictures: dict[int, np.ndarray | None], name: str
) -> tuple[tuple[float, float, float, float] | None, np.ndarray | None]:
    """The linear colour of a material (None where it names none) and its picture.

    A picture stands alone: exporters write a grey `Kd` beside it that no viewer multiplies.
    """
    material = getattr(visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    # A picture from a file knows its format; trimesh makes one up for coordinates without a material.
    if image is not None and image.format is not None:
        if id(image) not in pictures:
            decoded = decoded_picture(image, name)
            pictures[id(image)] = None if decoded is None else holes_or_opaque(decoded)
        if pictures[id(image)] is not None:
            return (1.0, 1.0, 1.0, 1.0), pictures[id(image)]
    factor = getattr(material, "baseColorFactor", None)
    if factor is None and "kd" in getattr(material, "kwargs", {}):
        factor = getattr(material, "diffuse", None)
    if factor is None:
        return None, None
    red, green, blue = (float(value) for value in linear_from_srgb(np.asarray(factor)[:3] / 255))
    return (red, green, blue, 1.0), None


def _corner_colours(visual: Any, faces: np.ndarray) -> np.ndarray | None:
    """Linear colours [F, 3, 4] that the file gives to vertices or faces, or None."""
    kind = getattr(visual, "kind", None)
    if kind == "vertex":
        srgb = np.asarray(visual.vertex_colors)[faces] / 255
    elif kind == "face":
        srgb = np.repeat(np.asarray(visual.face_colors)[:, None] / 255, 3, axis=1)
    else:
        return None
    return np.concatenate([linear_from_srgb(srgb[..., :3]), srgb[..., 3:].astype(np.float32)], axis=-1)
