"""What can be told of a model file before Blender sees it: its importers trust counts and offsets."""

from pathlib import Path

from distill_core.errors import UserError
from renderers.loading.asset_folder import AssetFolder
from renderers.loading.gltf_structure import DECODED_EXTENSIONS, GltfFile, accessor_values, read_gltf
from renderers.loading.mesh_files import check_dae, check_ply, checked_stl
from renderers.loading.mesh_parts import check_finite
from renderers.sources.local_folder import FILE_TYPES

# Materials and lights that Blender's importer knows, or leaves out without harm to the shape.
_BLENDER_EXTENSIONS = (
    *DECODED_EXTENSIONS,
    "KHR_lights_punctual",
    "KHR_materials_anisotropy",
    "KHR_materials_clearcoat",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_sheen",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_variants",
    "KHR_materials_volume",
)
_MAX_FILE_BYTES = 2_000_000_000
_BLEND_STARTS = (b"BLENDER", b"\x28\xb5\x2f\xfd", b"\x1f\x8b")  # plain, zstd, gzip


def check_model(path: Path) -> None:
    """Refuse a file that is not there, empty, too large, of another kind than its ending says, or cut off.

    Args:
        path: of a kind in `FILE_TYPES`.

    Raises:
        UserError: whatever is wrong, said in one sentence.
    """
    ending, name = path.suffix.lower()[1:], path.name
    if ending not in FILE_TYPES:
        raise UserError(f"{name}: expected a model as .{', .'.join(FILE_TYPES)}, got .{ending}; export it as .glb.")
    try:
        num_bytes = path.stat().st_size
        if num_bytes == 0:
            raise UserError(f"{name}: expected a model, got an empty file (0 bytes); copy or export it again.")
        if num_bytes > _MAX_FILE_BYTES:
            raise UserError(f"{name}: expected a model of at most {_MAX_FILE_BYTES:,} bytes, got {num_bytes:,}.")
        _check_content(path, ending, name)
    except OSError as error:
        raise UserError(f"{name}: expected a model file, got: {error.strerror}; check the path.") from error


def _check_content(path: Path, ending: str, name: str) -> None:
    match ending:
        case "glb" | "gltf":
            folder = AssetFolder(path, package_allowed=False)
            _check_positions(read_gltf(path.read_bytes(), folder, name, extensions=_BLENDER_EXTENSIONS))
        case "ply":
            check_ply(path.read_bytes(), name)
        case "stl":
            checked_stl(path.read_bytes(), name)
        case "dae":
            check_dae(path.read_bytes(), name)
        case "blend":
            with path.open("rb") as file:
                if not file.read(7).startswith(_BLEND_STARTS):
                    raise UserError(f"{name}: Not a .blend file: expected 'BLENDER' at its start; save it again.")
        case _:  # text or chunks without counts: Blender's own importers find out
            return


def _check_positions(file: GltfFile) -> None:
    """Blender would move vertices that are not finite to the origin without a word."""
    accessors = file.tree.get("accessors", [])
    primitives = [primitive for mesh in file.tree.get("meshes", []) for primitive in mesh["primitives"]]
    for index in {primitive["attributes"].get("POSITION") for primitive in primitives} - {None}:
        if "bufferView" in accessors[index]:  # else they are Draco's
            check_finite(accessor_values(file, accessors[index]), file.name)
