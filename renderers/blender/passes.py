"""Raw passes of a worker to a record: linear premultiplied light to straight sRGB, Cycles' sky to empty depth."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt16

from distill_core.cameras import Camera
from distill_core.pictures.images import unpremultiply
from distill_core.pictures.srgb import linear_to_srgb
from renderers.blender.multilayer_exr import DamagedExr, read_channels, read_texts

_DIFFUSE_COLOUR, _OBJECT_INDEX = "DiffCol", "IndexOB"
_SKY_DEPTH = 1e9  # Cycles writes 1e10 where no surface is


def read_colours(folder: Path, view: int) -> Float32[np.ndarray, "4 height width"]:
    """Straight RGBA, sRGB values in 0..1, of one view.

    Light is divided by alpha before it is encoded; what is brighter than white is white.

    Args:
        folder: of the raw passes.
        view: its number.

    Raises:
        DamagedExr: the file is missing, cut off, or its values are not finite.
    """
    return _straight_srgb(_pass(folder / f"{view:03d}.colour.exr", "Combined", "RGBA"))


def read_albedo(folder: Path, view: int) -> Float32[np.ndarray, "4 height width"]:
    """Base colour of one view as straight RGBA, sRGB values in 0..1.

    Args:
        folder: of the raw passes.
        view: its number.

    Raises:
        DamagedExr: the file is missing, cut off, or its values are not finite.
    """
    path = folder / f"{view:03d}.albedo.exr"
    colour = _pass(path, _DIFFUSE_COLOUR, "RGB")
    return _straight_srgb(np.concatenate([colour, _pass(path, "Combined", "A")]))


def read_depth(folder: Path, view: int) -> Float32[np.ndarray, "height width"]:
    """Z-depth of one view in world units, 0 where empty.

    Args:
        folder: of the raw passes.
        view: its number.

    Raises:
        DamagedExr: the file is missing, cut off, or its values are not finite.
    """
    depth = _pass(folder / f"{view:03d}.geometry.exr", "Depth", None)[0]
    return np.where(depth > _SKY_DEPTH, np.float32(0), depth)


def read_normals(folder: Path, view: int, camera: Camera) -> Float32[np.ndarray, "3 height width"]:
    """Unit world-space normals of one view, 0 where empty.

    Args:
        folder: of the raw passes.
        view: its number.
        camera: of the view: a normal that points away from it is turned, as in `mesh_rendering`.

    Raises:
        DamagedExr: the file is missing, cut off, or its values are not finite.
    """
    normals = _pass(folder / f"{view:03d}.geometry.exr", "Normal", "XYZ")
    length = np.linalg.norm(normals, axis=0)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 1e-6)
    rows, columns = np.indices(length.shape) + 0.5
    rays = camera.unproject(np.stack([columns, rows], -1).reshape(-1, 2), np.ones(length.size)) - camera.position
    away = np.einsum("chw,hwc->hw", normals, rays.reshape(*length.shape, 3)) > 0
    return np.where(away, -normals, normals).astype(np.float32)


def read_object_indices(folder: Path, view: int) -> UInt16[np.ndarray, "height width"]:
    """The place of the object that each pixel of one view shows, counted from 1; 0 where empty.

    Args:
        folder: of the raw passes.
        view: its number.

    Raises:
        DamagedExr: the file is missing, cut off, or its values are not finite.
    """
    return np.rint(_pass(folder / f"{view:03d}.geometry.exr", _OBJECT_INDEX, None)[0]).astype(np.uint16)


def reported_seconds(folder: Path) -> float:
    """What Cycles itself says that all pictures of a folder took, to a hundredth of a second each.

    Args:
        folder: of the raw passes; EEVEE's pictures say nothing.

    Raises:
        DamagedExr: a file is cut off.
    """
    seconds = 0.0
    for path in sorted(folder.glob("*.exr")):
        for name, text in read_texts(path).items():
            if name.startswith("cycles.") and name.endswith(".total_time"):
                seconds += sum(
                    float(part) * unit for part, unit in zip(reversed(text.split(":")), (1, 60, 3600), strict=False)
                )
    return seconds


def _straight_srgb(rgba: np.ndarray) -> np.ndarray:
    """Linear premultiplied light [4, height, width] as pictures are held."""
    rgba[3] = np.clip(rgba[3], 0, 1)
    straight = unpremultiply(rgba)
    return np.concatenate([linear_to_srgb(straight[:3]), rgba[3:]]).clip(0, 1).astype(np.float32)


def _pass(path: Path, name: str, letters: str | None) -> np.ndarray:
    """A pass [channels, height, width] by its name; None takes its channels whatever they are called."""
    channels = {key: values for key, values in read_channels(path).items() if key.split(".")[-2] == name}
    by_letter = {key.rpartition(".")[2]: values for key, values in channels.items()}
    wanted = list(by_letter) if letters is None else list(letters)
    if not wanted or not set(wanted) <= set(by_letter):
        raise DamagedExr(f"{path.name}: expected the pass {name}, got {sorted(channels)}")
    values = np.stack([by_letter[letter] for letter in wanted])
    if not np.isfinite(values).all():
        raise DamagedExr(f"{path.name}: the pass {name} has values that are not finite")
    return values
