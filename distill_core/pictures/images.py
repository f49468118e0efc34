"""Pictures in memory and on disk.

In memory a picture is float32 [4, height, width]: straight RGBA, sRGB values in 0..1. Files come from strangers:
only known formats are opened, the size is checked in the header before a pixel is decoded, and whatever is wrong with
a file is one sentence for the person who gave it.
"""

import io
import logging
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from distill_core.errors import UserError

logger = logging.getLogger(__name__)

PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"})
"""Of files that are looked for in a folder; what is in a file is told by its content."""

# Opened by content, never by ending. The classes are called directly: `Image.open` would refuse a huge picture before
# its size can be named, and would hand files to every decoder that is installed (PostScript among them).
_FORMATS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
DECODING_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a damaged header
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow and its decoders raise for damaged files."""
_MAX_FILE_BYTES = 1 << 29


@dataclass(frozen=True)
class Picture:
    """A picture as it was read.

    Attributes:
        rgba: straight RGBA, sRGB values in 0..1; alpha is 1 where the file has none.
        has_alpha: whether any pixel is less than opaque.
        path: where it came from, None for a picture made in memory.
    """

    rgba: Float[np.ndarray, "4 height width"]
    has_alpha: bool
    path: Path | None = None

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.rgba.shape[2]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.rgba.shape[1]


def read_picture(
    path: str | Path, *, max_pixels: int = 64_000_000, smallest_side_px: int = 16, allow_empty: bool = False
) -> Picture:
    """Read the first frame of a picture file, upright and in sRGB.

    Args:
        path: a PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF file, told by its content.
        max_pixels: refused above this many pixels, from the header alone.
        smallest_side_px: refused if width or height is below.
        allow_empty: whether a fully transparent picture is let through.

    Returns:
        The picture; 16-bit values are scaled, palettes, CMYK and embedded colour profiles converted, EXIF turned.

    Raises:
        UserError: the file is missing, no picture, damaged, too large, too small or fully transparent.
    """
    path = Path(path)
    return decode_picture(
        _read_content(path), path, max_pixels=max_pixels, smallest_side_px=smallest_side_px, allow_empty=allow_empty
    )


def decode_picture(
    content: bytes,
    path: Path,
    *,
    max_pixels: int = 64_000_000,
    smallest_side_px: int = 16,
    allow_empty: bool = False,
) -> Picture:
    """Decode the bytes of a picture file, as `read_picture` does.

    Args:
        content: of the file.
        path: where it came from, for messages and the result.
        max_pixels: refused above this many pixels, from the header alone.
        smallest_side_px: refused if width or height is below.
        allow_empty: whether a fully transparent picture is let through.

    Raises:
        UserError: no picture, damaged, too large, too small or fully transparent.
    """
    image, format_name = _open_header(path, content, max_pixels)
    width, height = image.size
    if width * height > max_pixels:
        raise UserError(
            f"{path}: expected a picture of at most {max_pixels:,} pixels, got {width} x {height} = "
            f"{width * height:,}; make it smaller."
        )
    if min(width, height) < smallest_side_px:
        raise UserError(
            f"{path}: expected a picture of at least {smallest_side_px} x {smallest_side_px} pixels, "
            f"got {width} x {height}; give a larger one."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on sloppy but readable files, of no use to the person
            frames = getattr(image, "n_frames", 1)
            image.seek(0)
            image.load()
            rgba = _turned_upright(_decoded_rgba(image, content), _exif_orientation(image))
    except DECODING_ERRORS as error:
        raise UserError(
            f"{path}: expected a complete {format_name} picture, got one that is cut off or damaged ({error}); "
            "copy or export it again."
        ) from error
    if frames > 1:
        logger.warning("%s holds %d frames: the first one is used.", path, frames)
    if not allow_empty and not (rgba[3] > 0).any():
        raise UserError(
            f"{path}: expected a picture of an object, got one that is fully transparent; export it with its object "
            "visible."
        )
    return Picture(rgba, has_alpha=bool((rgba[3] < 1).any()), path=path)


def _read_content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f"{path}: expected a picture file, got a folder; name a picture in it.")
        num_bytes = path.stat().st_size
        if num_bytes == 0:
            raise UserError(f"{path}: expected a picture, got an empty file (0 bytes); copy or export it again.")
        if num_bytes > _MAX_FILE_BYTES:
            raise UserError(
                f"{path}: expected a picture file of at most {_MAX_FILE_BYTES:,} bytes, got {num_bytes:,}; "
                "save it smaller."
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: expected a readable picture file, got: {error.strerror}; check the path.") from error


def _open_header(path: Path, content: bytes, max_pixels: int) -> tuple[ImageFile.ImageFile, str]:
    """Open a picture without decoding it: the image and its format's name (for messages)."""
    format_name = _sniffed_format(content[:32])
    if format_name is None:
        kind = "text" if _looks_like_text(content[:512]) else "unknown"
        raise UserError(
            f"{path}: expected a picture ({', '.join(_FORMATS)}), got a file whose content is {kind}; "
            "choose a PNG, JPEG or WebP file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _FORMATS[format_name](io.BytesIO(content)), format_name
    except Image.DecompressionBombError as error:  # some decoders take memory for the whole canvas when they open it
        raise UserError(
            f"{path}: expected a picture of at most {max_pixels:,} pixels, got far more ({error}); make it smaller."
        ) from error
    except DECODING_ERRORS as error:
        raise UserError(
            f"{path}: expected a {format_name} picture, got a damaged or incomplete header ({error}); "
            "copy or export it again."
        ) from error


def _sniffed_format(prefix: bytes) -> str | None:
    if prefix.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if prefix.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if prefix[:4] == b"RIFF" and prefix[8:12] == b"WEBP":
        return "WebP"
    if prefix[4:8] == b"ftyp" and prefix[8:12] in (b"avif", b"avis"):
        return "AVIF"
    if prefix[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if prefix[:2] == b"BM":
        return "BMP"
    if prefix[:4] in (b"II*\x00", b"MM\x00*"):
        return "TIFF"
    return None


def _looks_like_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in content)


def _exif_orientation(image: ImageFile.ImageFile) -> int:
    """EXIF tag 274, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DECODING_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned_upright(rgba: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (Exif 2.32, tag 274: where row 0 and column 0 of the file are shown)."""
    if orientation in (5, 6, 7, 8):
        rgba = rgba.transpose(0, 2, 1)
    if orientation in (2, 3, 6, 7):
        rgba = rgba[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        rgba = rgba[:, ::-1, :]
    return np.ascontiguousarray(rgba)


def _decoded_rgba(image: ImageFile.ImageFile, content: bytes) -> np.ndarray:
    """Straight RGBA of a loaded image, as stored (not turned)."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return _from_sixteen_bits(np.asarray(image)[..., None], image.info.get("transparency"))
    if image.mode in ("I", "F"):
        raise ValueError("its values have 32 bits and no known range; save it with 8 or 16 bits")
    # Byte 24 of a PNG is its bit depth (PNG specification 11.2.2); of 16 bits Pillow keeps 8.
    if not profile and isinstance(image, PngImagePlugin.PngImageFile) and content[24] == 16:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if values is None or values.dtype != np.uint16:
            raise ValueError("its 16-bit data cannot be decoded")
        order = [0] if values.ndim == 2 else [2, 1, 0, 3][: values.shape[2]]
        return _from_sixteen_bits(np.atleast_3d(values)[..., order], image.info.get("transparency"))
    pixels = np.asarray(_converted_to_srgb(image, profile)).transpose(2, 0, 1)
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)


def _from_sixteen_bits(values: np.ndarray, transparent_value: int | tuple[int, ...] | None) -> np.ndarray:
    """[H, W, 1, 3 or 4] in 0..65535, perhaps with one colour that stands for transparent, to [4, H, W] in 0..1."""
    alpha = np.full(values.shape[:2], 65535, values.dtype)
    if values.shape[2] == 4:
        alpha = values[..., 3]
    elif transparent_value is not None:
        alpha[(values == np.atleast_1d(transparent_value)).all(axis=2)] = 0
    colour = np.broadcast_to(values[..., :3], (*values.shape[:2], 3))
    stored = np.concatenate([colour, alpha[..., None]], axis=2).transpose(2, 0, 1)
    return np.multiply(stored, np.float32(1 / 65535), dtype=np.float32)


def _converted_to_srgb(image: ImageFile.ImageFile, profile: bytes | None) -> Image.Image:
    """An 8-bit RGBA image in sRGB: by its embedded colour profile, else by Pillow's formulas."""
    has_alpha = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    plain = image.convert("RGBA") if has_alpha else image.convert("RGB").convert("RGBA")
    if not profile:
        return plain
    # A profile speaks of the file's own colour channels: grey and CMYK go to it as they are, palettes as RGB.
    source = image if image.mode in ("L", "CMYK", "LAB") else plain.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            source, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        logger.warning("The embedded colour profile cannot be used (%s): colours are read as sRGB.", error)
        return plain
    assert converted is not None
    converted.putalpha(plain.getchannel("A"))
    return converted


def write_png(path: str | Path, picture: Float[np.ndarray, "channels height width"]) -> None:
    """Write a picture as 8-bit PNG with straight alpha; the file appears when it is complete.

    Args:
        path: the file to make or to replace; its folder exists.
        picture: grey, RGB or straight RGBA in 0..1 (clipped).

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    image = _eight_bit_image(picture)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            image.save(stream, format="PNG", compress_level=4)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: the picture cannot be written: {error.strerror}; choose another folder.") from error
    finally:
        temporary.unlink(missing_ok=True)


def encode_webp(picture: Float[np.ndarray, "channels height width"], quality: int) -> bytes:
    """The bytes of a WebP file with straight alpha.

    Args:
        picture: RGB or straight RGBA in 0..1 (clipped).
        quality: 0 to 99 of its colours, alpha being kept exactly; 100 keeps all exactly.
    """
    stream = io.BytesIO()
    _eight_bit_image(picture).save(
        stream, format="WEBP", quality=quality, lossless=quality == 100, exact=quality == 100, alpha_quality=100
    )
    return stream.getvalue()


def encode_png(picture: Float[np.ndarray, "channels height width"]) -> bytes:
    """The bytes of an 8-bit PNG file with straight alpha, of a grey, RGB or RGBA picture in 0..1 (clipped)."""
    stream = io.BytesIO()
    _eight_bit_image(picture).save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def _eight_bit_image(picture: np.ndarray) -> Image.Image:
    eight_bit = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(eight_bit[0] if len(eight_bit) == 1 else eight_bit.transpose(1, 2, 0))


def premultiply(rgba: Float[np.ndarray, "*batch 4 height width"]) -> Float[np.ndarray, "*batch 4 height width"]:
    """Multiply the colours of straight RGBA by alpha."""
    alpha = rgba[..., 3:, :, :]
    return np.concatenate([rgba[..., :3, :, :] * alpha, alpha], axis=-3)


def unpremultiply(rgba: Float[np.ndarray, "*batch 4 height width"]) -> Float[np.ndarray, "*batch 4 height width"]:
    """Divide the colours of premultiplied RGBA by alpha; black where alpha is 0."""
    alpha = rgba[..., 3:, :, :]
    colour = np.divide(rgba[..., :3, :, :], alpha, out=np.zeros_like(rgba[..., :3, :, :]), where=alpha > 0)
    return np.concatenate([np.clip(colour, 0, 1), alpha], axis=-3)


def composite(
    rgba: Float[np.ndarray, "*batch 4 height width"], background: float | Sequence[float] = 1.0
) -> Float[np.ndarray, "*batch 3 height width"]:
    """Lay straight RGBA over one colour (a grey value or RGB in 0..1)."""
    colour = np.asarray(background, rgba.dtype).reshape(-1, 1, 1)
    alpha = rgba[..., 3:, :, :]
    return rgba[..., :3, :, :] * alpha + colour * (1 - alpha)


def resize_premultiplied(
    rgba: Float[np.ndarray, "4 height width"], width: int, height: int
) -> Float[np.ndarray, "4 new_height new_width"]:
    """Resize straight RGBA by way of premultiplied values: means over areas downwards, linear upwards.

    Args:
        rgba: straight RGBA.
        width: new width in pixels.
        height: new height in pixels.

    Returns:
        Straight RGBA; transparent pixels have lent no colour to their neighbours.
    """
    values = np.ascontiguousarray(premultiply(rgba).transpose(1, 2, 0))
    for size in ((width, values.shape[0]), (width, height)):  # one axis at a time: each has its own direction
        shrinks = size[0] < values.shape[1] or size[1] < values.shape[0]
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return unpremultiply(np.ascontiguousarray(values.transpose(2, 0, 1)))
