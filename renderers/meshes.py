"""One textured mesh: what every model file becomes before it is rendered, lit or textured."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from distill_core.errors import UserError
from renderers.blender.up_axis import UpAxis, upward_axis
from renderers.loading.asset_folder import AssetFolder
from renderers.loading.gltf_parts import read_gltf_parts
from renderers.loading.mesh_files import check_dae, check_ply, checked_obj, checked_stl, no_faces
from renderers.loading.mesh_parts import MeshPart, check_finite, unit_or_zero
from renderers.loading.scene_parts import read_scene_parts

_LOG = logging.getLogger(__name__)

MODEL_FILE_TYPES = ("glb", "gltf", "obj", "ply", "stl", "dae")

# (x, y, z) with y up becomes (x, -z, y) with z up: what looked along +z then looks along -y, at the rigs' first camera.
_TO_Z_UP = {
    "x": np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    "y": np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    "z": np.eye(4),
}
_MAX_FILE_BYTES = 2_000_000_000
_WHITE = np.full((1, 1, 4), 255, np.uint8)
_SMALLEST_AREA = 1e-14  # of a box with edges of 2; rounding of doubles gives less
_LARGEST_SINGLE = 1e15  # squares of coordinates beyond overflow single precision soon after
_FARTHEST_EXTENTS = 1e4  # as far away, single precision keeps a thousandth of the size


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles with base colour, in a world with z up.

    Colour at a surface point = texel of the face's picture (sRGB decoded to linear) times the interpolated
    corner colour (linear). Pictures repeat outside 0..1.

    Attributes:
        vertices: [N, 3] float64, world units.
        faces: [F, 3] int64 vertex indices, counter-clockwise seen from outside (mostly: open parts exist).
        corner_uvs: [F, 3, 2] float32, v up (OpenGL's convention).
        base_colours: pictures, each uint8 [height, width, 4] straight sRGB RGBA; alpha cuts holes.
        face_picture: [F] int64, which of `base_colours` a face wears.
        corner_colours: [F, 3, 4] float32 linear RGBA factors 0..1, or None where all are one.
        corner_normals: [F, 3, 3] float32 unit normals stored in the file (zero where a part stored none), or None.
        source_to_object: [4, 4] float64, from the coordinates in the file to these.
        name: the model's name.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]
    corner_uvs: Float32[np.ndarray, "faces 3 2"]
    base_colours: tuple[UInt8[np.ndarray, "_ _ 4"], ...]
    face_picture: Int64[np.ndarray, " faces"]
    corner_colours: Float32[np.ndarray, "faces 3 4"] | None
    corner_normals: Float32[np.ndarray, "faces 3 3"] | None
    source_to_object: Float64[np.ndarray, "4 4"]
    name: str


def transformed(mesh: TexturedMesh, matrix: Float[np.ndarray, "4 4"]) -> TexturedMesh:
    """The mesh after its world was moved by an invertible affine matrix [4, 4]; mirrors turn the winding."""
    matrix = np.asarray(matrix, np.float64)
    linear = matrix[:3, :3]
    faces, corners = mesh.faces, slice(None)
    if np.linalg.slogdet(linear)[0] < 0:
        corners = slice(None, None, -1)
        faces = np.ascontiguousarray(faces[:, ::-1])
    normals = mesh.corner_normals
    if normals is not None:
        normals = unit_or_zero(normals @ np.linalg.inv(linear))
    return replace(
        mesh,
        vertices=mesh.vertices @ linear.T + matrix[:3, 3],
        faces=faces,
        corner_uvs=np.ascontiguousarray(mesh.corner_uvs[:, corners]),
        corner_colours=None if mesh.corner_colours is None else np.ascontiguousarray(mesh.corner_colours[:, corners]),
        corner_normals=None if normals is None else np.ascontiguousarray(normals[:, corners]),
        source_to_object=matrix @ mesh.source_to_object,
    )


def normalised(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh in the unit ball: centre of its bounding box at the origin, farthest vertex at distance 1.

    Raises:
        UserError: the mesh has no extent.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    lowest, highest = used.min(axis=0), used.max(axis=0)
    centre = lowest / 2 + highest / 2
    # Scaled by the largest coordinate first: squares of 1e200 would overflow.
    largest = np.abs(used - centre).max()
    if not largest > 0:
        raise UserError(f"{mesh.name}: expected a mesh with an extent, got one whose vertices are all one point.")
    radius = largest * np.linalg.norm((used - centre) / largest, axis=1).max()
    matrix = np.eye(4)
    matrix[:3, :3] /= radius
    matrix[:3, 3] = -centre / radius
    return transformed(mesh, matrix)


def load_mesh(
    source: Path | str | bytes,
    *,
    file_type: str | None = None,
    name: str | None = None,
    up_axis: UpAxis | None = None,
) -> TexturedMesh:
    """Load a model and join its parts, in a world with z up, at the size and place that it has in the file.

    Args:
        source: a path (.glb, .gltf, .obj, .ply, .stl or .dae), or the bytes of a file.
        file_type: the ending without the dot; needed for bytes.
        name: the model's name; a path's stem if not given.
        up_axis: which axis of the file points up; None takes what the file says: y for glTF, the header's for .dae.
            .obj, .ply and .stl do not say it: the only axis along which the model stands on zero, else y for .obj and
            z for the others (`blender.up_axis`, the rule of every renderer).

    Raises:
        UserError: a file that is missing, damaged, of another kind, or shows nothing.
    """
    if isinstance(source, bytes):
        if file_type is None:
            raise ValueError("bytes need a file_type")
        path, data, name = None, source, name or f"model.{file_type}"
    else:
        path = Path(source)
        data, name, file_type = _file_bytes(path), name or path.stem, file_type or path.suffix[1:]
    described_as = path.name if path is not None else name
    parts, stated_up = _read_parts(data, file_type.lower(), path, described_as)
    as_in_file = _joined(parts, name)
    _check(as_in_file, described_as)
    up_axis = up_axis or stated_up or _found_up(as_in_file, file_type.lower(), described_as)
    return transformed(as_in_file, _TO_Z_UP[up_axis])


def _found_up(mesh: TexturedMesh, file_type: str, described_as: str) -> UpAxis:
    """The axis that points up, by the rule for formats that do not say it, and a word about it."""
    vertices = mesh.vertices[np.unique(mesh.faces)]
    axis = upward_axis(file_type, vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist())
    _LOG.info("%s: .%s does not say which axis points up: %s is taken.", described_as, file_type, axis)
    return axis


def _file_bytes(path: Path) -> bytes:
    try:
        num_bytes = path.stat().st_size
        if num_bytes > _MAX_FILE_BYTES:
            raise UserError(f"{path}: expected a model of at most {_MAX_FILE_BYTES:,} bytes, got {num_bytes:,}.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected a model file, got: {error.strerror}; check the path.") from error


def _read_parts(
    data: bytes, file_type: str, path: Path | None, described_as: str
) -> tuple[list[MeshPart], UpAxis | None]:
    """The parts of a file and the axis that points up in it; None where the format does not say it."""
    if file_type not in MODEL_FILE_TYPES:
        raise UserError(
            f"{described_as}: expected a model as .{', .'.join(MODEL_FILE_TYPES)}, got .{file_type}; export it as .glb."
        )
    if len(data) == 0:
        raise UserError(f"{described_as}: expected a model, got an empty file (0 bytes); copy or export it again.")
    folder = AssetFolder(path, package_allowed=file_type not in ("glb", "gltf"))
    up: UpAxis | None = None
    match file_type:
        case "glb" | "gltf":
            parts, up = read_gltf_parts(data, folder, described_as), "y"
        case "obj":
            parts = read_scene_parts(checked_obj(data, described_as), "obj", folder, described_as)
        case "ply":
            announced = check_ply(data, described_as)
            parts = read_scene_parts(data, "ply", folder, described_as)
            if (found := sum(len(part.faces) for part in parts)) < announced:
                raise UserError(
                    f"{described_as}: The .ply is incomplete: {announced:,} faces announced, {found:,} there; "
                    "copy or export it again."
                )
        case "stl":
            parts = read_scene_parts(checked_stl(data, described_as), "stl", folder, described_as)
        case _:
            up = check_dae(data, described_as)
            parts = read_scene_parts(data, "dae", folder, described_as)
    folder.report()
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise no_faces(described_as)
    return parts, up


def _joined(parts: list[MeshPart], name: str) -> TexturedMesh:
    """One mesh of all parts, in the coordinates of the file; parts of one picture share it."""
    pictures: list[np.ndarray] = []
    face_picture = []
    for part in parts:
        picture = _WHITE if part.picture is None else part.picture
        number = next((index for index, known in enumerate(pictures) if known is picture), len(pictures))
        if number == len(pictures):
            pictures.append(picture)
        face_picture.append(np.full(len(part.faces), number, np.int64))
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    coloured = any(part.corner_colours is not None or part.colour != (1.0, 1.0, 1.0, 1.0) for part in parts)
    has_normals = any(part.corner_normals is not None for part in parts)
    return TexturedMesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        faces=np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
        corner_uvs=np.concatenate([_or_zeros(part.corner_uvs, part, 2) for part in parts]),
        base_colours=tuple(pictures),
        face_picture=np.concatenate(face_picture),
        corner_colours=np.concatenate([_part_colours(part) for part in parts]) if coloured else None,
        corner_normals=np.concatenate([_or_zeros(part.corner_normals, part, 3) for part in parts])
        if has_normals
        else None,
        source_to_object=np.eye(4),
        name=name,
    )


def _or_zeros(values: np.ndarray | None, part: MeshPart, width: int) -> np.ndarray:
    return np.zeros((len(part.faces), 3, width), np.float32) if values is None else values


def _part_colours(part: MeshPart) -> np.ndarray:
    colours = np.broadcast_to(np.array(part.colour, np.float32), (len(part.faces), 3, 4))
    return colours if part.corner_colours is None else colours * part.corner_colours


def _check(mesh: TexturedMesh, described_as: str) -> None:
    """See that the mesh can be normalised and rendered; warn of coordinates that single precision cannot hold."""
    used = np.unique(mesh.faces)
    vertices = mesh.vertices[used]
    check_finite(vertices, described_as)
    lowest, highest = vertices.min(axis=0), vertices.max(axis=0)
    extent = float((highest / 2 - lowest / 2).max()) * 2
    corners = (mesh.vertices[mesh.faces] / 2 - lowest / 2) / max(extent / 2, 1e-300)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if extent == 0 or areas.max() < _SMALLEST_AREA:
        raise UserError(
            f"{described_as}: the mesh has no area: expected triangles, got points or lines; export it again."
        )
    far = max(float(np.abs(lowest).max()), float(np.abs(highest).max()))
    if far > _LARGEST_SINGLE or far > _FARTHEST_EXTENTS * extent:
        _LOG.warning(
            "%s: its coordinates reach %.3g at a size of %.3g; it is normalised in double precision.",
            described_as,
            far,
            extent,
        )
