"""Parts of a model before they are joined: one material each, colours as they are rendered."""

import io
import logging
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from distill_core.errors import UserError

_LOG = logging.getLogger(__name__)
_MAX_PICTURE_PIXELS = 64_000_000

BARE_SURFACE_SRGB = 0.7
"""Grey of surfaces for which the file names no colour at all; white would vanish on white paper."""


@dataclass(frozen=True)
class MeshPart:
    """Triangles of one material, in the coordinates of the file.

    Attributes:
        vertices: [N, 3] float64.
        faces: [F, 3] int64.
        corner_uvs: [F, 3, 2] float32, v up, or None.
        picture: uint8 [height, width, 4] sRGB RGBA; None = white.
        colour: [4] linear RGBA factor of the material.
        corner_colours: [F, 3, 4] float32 linear RGBA factors, or None.
        corner_normals: [F, 3, 3] float32 unit normals, or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    corner_uvs: np.ndarray | None = None
    picture: np.ndarray | None = None
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    corner_colours: np.ndarray | None = None
    corner_normals: np.ndarray | None = None


def linear_from_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1 (IEC 61966-2-1), float32."""
    values = np.asarray(values, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def bare_colour() -> tuple[float, float, float, float]:
    """The linear colour of a surface without any."""
    grey = float(linear_from_srgb(np.array(BARE_SURFACE_SRGB)))
    return (grey, grey, grey, 1.0)


def opened_picture(content: bytes, described_as: str) -> Image.Image:
    """A picture file with its header read and its pixels not yet.

    Raises:
        UserError: more than 64 million pixels.
        OSError: no picture.
    """
    try:
        image = Image.open(io.BytesIO(content))
        num_pixels = image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"{described_as}: expected a texture of at most {_MAX_PICTURE_PIXELS:,} pixels, got more ({error}); "
            "make it smaller."
        ) from error
    if num_pixels > _MAX_PICTURE_PIXELS:
        raise UserError(
            f"{described_as}: expected a texture of at most {_MAX_PICTURE_PIXELS:,} pixels, got {image.width} x "
            f"{image.height}; make it smaller."
        )
    return image


def decoded_picture(picture: bytes | Image.Image, described_as: str) -> np.ndarray | None:
    """A texture as uint8 [height, width, 4] sRGB RGBA; alpha 255 where it has none.

    EXIF orientation is ignored, as renderers do with textures: coordinates refer to the stored rows.

    Args:
        picture: the bytes of a picture file, or an image that Pillow opened.
        described_as: the model and the picture, for messages.

    Returns:
        None, after a warning, if the picture cannot be decoded.

    Raises:
        UserError: more than 64 million pixels.
    """
    try:
        image = opened_picture(picture, described_as) if isinstance(picture, bytes) else picture
        if image.mode.startswith("I") or image.mode == "F":
            values = np.asarray(image, np.float64)
            scale = 65535 if image.mode.startswith("I") else 1.0
            grey = np.clip(values / scale * 255 + 0.5, 0, 255).astype(np.uint8)
            return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
        return np.array(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        _LOG.warning("%s: the texture could not be read (%s); going on without it.", described_as, error)
        return None


def holes_or_opaque(picture: np.ndarray) -> np.ndarray:
    """The picture with its alpha where that cuts shapes out, opaque where it only makes a surface glassy.

    A surface counts as cut out when parts of it are opaque (128 of 255 or more): leaves on a transparent ground. Glass
    is half transparent throughout and is drawn opaque.
    """
    if picture[..., 3].max() >= 128:
        return with_bled_colours(picture)
    return with_opaque_alpha(picture)


def with_bled_colours(picture: np.ndarray) -> np.ndarray:
    """The picture [height, width, 4] with the colour of the nearest texel that shows in those that are cut away.

    What editors leave in invisible texels, often black or white, would otherwise be filtered into the rims of holes.
    """
    hidden = picture[..., 3] < 128
    if not hidden.any() or hidden.all():
        return picture
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.asarray(distance_transform_edt(hidden, return_distances=False, return_indices=True))
    picture = picture.copy()
    picture[..., :3] = picture[rows, columns, :3]
    return picture


def with_opaque_alpha(picture: np.ndarray) -> np.ndarray:
    """The picture [height, width, 4] with alpha 255."""
    if picture[..., 3].min() == 255:
        return picture
    picture = picture.copy()
    picture[..., 3] = 255
    return picture


def placed(part: MeshPart, matrices: np.ndarray, vertex_normals: np.ndarray | None) -> MeshPart:
    """The part moved; mirrors turn the winding.

    Args:
        part: without `corner_normals`.
        matrices: [1, 4, 4] for the whole part or [N, 4, 4] for each vertex, affine.
        vertex_normals: [N, 3] as stored, or None.
    """
    linear, offset = matrices[:, :3, :3], matrices[:, :3, 3]
    signs = np.linalg.slogdet(linear)[0]
    corners = slice(None, None, -1) if signs.sum() < 0 else slice(None)
    faces = np.ascontiguousarray(part.faces[:, corners])
    normals = None
    if vertex_normals is not None:
        # The cofactor matrix is the inverse transposed times the determinant: it exists for flattened parts too.
        unit = linear / np.maximum(np.abs(linear).max(axis=(1, 2), keepdims=True), 1e-300)
        cofactors = np.stack([np.cross(unit[:, :, i - 2], unit[:, :, i - 1]) for i in range(3)], axis=-1)
        cofactors *= np.where(signs < 0, -1.0, 1.0)[:, None, None]
        normals = unit_or_zero(_each(cofactors, np.asarray(vertex_normals, np.float64)))[faces]
    return replace(
        part,
        vertices=_each(linear, part.vertices) + offset,
        faces=faces,
        corner_uvs=None if part.corner_uvs is None else np.ascontiguousarray(part.corner_uvs[:, corners]),
        corner_colours=None if part.corner_colours is None else np.ascontiguousarray(part.corner_colours[:, corners]),
        corner_normals=normals,
    )


def _each(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Matrices [1 or N, 3, 3] times vectors [N, 3]."""
    if len(matrices) == 1:
        return vectors @ matrices[0].T
    return np.einsum("nij,nj->ni", matrices, vectors)


def check_finite(vertices: np.ndarray, name: str) -> None:
    """See that the vertices [N, 3] that faces use are finite.

    Raises:
        UserError: some are not.
    """
    broken = int((~np.isfinite(vertices).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{name}: the mesh has {broken} vertices that are not finite (NaN or infinity); export it again."
        )


def unit_or_zero(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] scaled to length 1; those of length 0 or not finite become zero."""
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    usable = (length > 0) & np.isfinite(length)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=usable).astype(np.float32)
