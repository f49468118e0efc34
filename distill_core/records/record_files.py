"""The files behind a record: found inside its folder, measured by their headers, read one view at a time.

Readers of a format (`transforms_files`, `colmap`, `co3d`) say what a capture states, as `StatedView`s; `locate_views`
holds that against the files that are there. Paths, sizes and pictures come from strangers: no path leaves the folder,
and whatever does not fit is said once, or refused.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from jaxtyping import Float32, UInt16
from PIL import Image

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import DECODING_ERRORS, read_picture
from distill_core.records.depth_files import (
    MAX_PIXELS,
    read_depth_archive,
    read_depth_picture,
    read_numbers,
)
from distill_core.records.lens_distortion import Distortion, undistort_colours, undistort_values, undistorted_camera

logger = logging.getLogger(__name__)

_ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class StatedView:
    """One view as a capture's file states it, before its picture is looked for.

    Attributes:
        label: what a message calls it, such as "frame 1".
        picture_path: relative to the capture's folder, perhaps without ending.
        stated_size: width and height in pixels, None if the picture itself decides.
        camera_at: makes the camera of a picture of this width and height in pixels.
        distortion: of the lens, None for a pinhole.
        mask_path: grey picture that becomes alpha.
        depth_path: 16-bit grey PNG, or a `depth.npz` of all views.
        depth_index: which view of a `depth.npz`.
        normals_path: PNG of world-space normals.
        albedo_path: picture of the base colour.
        object_index_path: 16-bit grey PNG of the objects' numbers.
        time: of a scene that moves, None of one that does not.
    """

    label: str
    picture_path: str
    stated_size: tuple[int, int] | None
    camera_at: Callable[[int, int], Camera]
    distortion: Distortion | None = None
    mask_path: str | None = None
    depth_path: str | None = None
    depth_index: int | None = None
    normals_path: str | None = None
    albedo_path: str | None = None
    object_index_path: str | None = None
    time: float | None = None


@dataclass(frozen=True)
class ViewFiles:
    """One view whose files are there.

    Attributes:
        name: the picture's path as the capture states it.
        camera: of the picture as stored, before undistortion.
        picture: its file.
        exif_orientation: 1 to show the picture upright; else the EXIF orientation to turn back, for cameras that were
            computed from the pixels as stored.
        distortion: of the lens, None for a pinhole.
        mask: grey picture that becomes alpha.
        depth: 16-bit grey PNG, or a `depth.npz` of all views.
        depth_index: which view of a `depth.npz`.
        normals: PNG of world-space normals.
        albedo: picture of the base colour.
        object_indices: 16-bit grey PNG of the objects' numbers.
        time: of a scene that moves, None of one that does not.
    """

    name: str
    camera: Camera
    picture: Path
    exif_orientation: int = 1
    distortion: Distortion | None = None
    mask: Path | None = None
    depth: Path | None = None
    depth_index: int | None = None
    normals: Path | None = None
    albedo: Path | None = None
    object_indices: Path | None = None
    time: float | None = None

    def pinhole_camera(self) -> Camera:
        """The camera of the picture that `read_colours` returns."""
        return self.camera if self.distortion is None else undistorted_camera(self.camera, self.distortion)


# --- what is stated against what is there -------------------------------------------------------------------


def locate_views(source: Path, folder: Path, stated: Sequence[StatedView]) -> tuple[list[ViewFiles], list[str]]:
    """Find the files of the views and fit the cameras to the pictures.

    Args:
        source: the file that states the views, for messages.
        folder: the folder that paths are relative to and never leave.
        stated: the views, at least one.

    Returns:
        The views whose picture exists, and the paths of the pictures that are missing (said in a warning).

    Raises:
        UserError: a path that leaves the folder, no picture or less than half of them there, a damaged picture.
    """
    found, missing = [], []
    for view in stated:
        path = _existing_picture(_path_inside(source, folder, view.picture_path, view.label))
        if path is None:
            missing.append(view.picture_path)
        else:
            found.append((view, path))
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        if 2 * len(missing) > len(stated):
            raise UserError(
                f"{source}: {len(missing)} of {len(stated)} pictures are missing: {names}; copy them beside it."
            )
        logger.warning(
            "%s: %d of %d pictures are missing (%s): going on with the %d that are there.",
            source,
            len(missing),
            len(stated),
            names,
            len(found),
        )
    fitted = [_fitted_view(source, folder, view, path) for view, path in found]
    rescaled = [message for _, message in fitted if message]
    if rescaled:
        logger.warning(
            "%s: %d of %d pictures are not of the stated size (%s): the intrinsics are rescaled.",
            source,
            len(rescaled),
            len(fitted),
            rescaled[0],
        )
    distorted = [view.distortion for view, _ in fitted if view.distortion is not None]
    if distorted:
        logger.info(
            "%s: %d of %d pictures are undistorted when read (%s, k1 %.4g, k2 %.4g).",
            source,
            len(distorted),
            len(fitted),
            distorted[0].model,
            *distorted[0].coefficients[:2],
        )
    return [view for view, _ in fitted], missing


def _fitted_view(source: Path, folder: Path, view: StatedView, picture: Path) -> tuple[ViewFiles, str | None]:
    """The view with its camera at the picture's real size, and what to say if that is not the stated one."""
    stored_size, orientation = _picture_header(picture)
    shown_size = stored_size[::-1] if orientation >= 5 else stored_size
    size, message = view.stated_size or shown_size, None
    # Programs that ignore EXIF (COLMAP, most NeRF tools) computed their cameras from the pixels as stored.
    turned_back = size != shown_size and size == stored_size
    real_size = stored_size if turned_back else shown_size
    try:
        camera = view.camera_at(*size)
    except UserError as error:
        raise UserError(f"{source}, {view.label}: {error}") from error
    if size != real_size:
        message = f"{view.picture_path} is {real_size[0]} x {real_size[1]}, stated {size[0]} x {size[1]}"
        camera = camera.resized(*real_size)
    files = ViewFiles(
        name=view.picture_path,
        camera=camera,
        picture=picture,
        exif_orientation=orientation if turned_back else 1,
        distortion=None if view.distortion is None or view.distortion.is_zero else view.distortion,
        mask=_required_file(source, folder, view.mask_path, view.label),
        depth=_required_file(source, folder, view.depth_path, view.label),
        depth_index=view.depth_index,
        normals=_required_file(source, folder, view.normals_path, view.label),
        albedo=_required_file(source, folder, view.albedo_path, view.label),
        object_indices=_required_file(source, folder, view.object_index_path, view.label),
        time=view.time,
    )
    return files, message


def _path_inside(source: Path, folder: Path, relative: str, label: str) -> Path:
    """The path below the folder, refused if it is absolute or leads out of it."""
    relative = relative.replace("\\", "/")
    if PurePosixPath(relative).is_absolute() or PureWindowsPath(relative).anchor:
        raise UserError(f"{source}, {label}: expected a path inside the capture's folder, got {relative!r} (absolute).")
    try:
        inside = (folder / relative).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that no file system takes
        raise UserError(f"{source}, {label}: {relative!r} is no path: {error}.") from error
    if not inside:
        raise UserError(
            f"{source}, {label}: {relative!r} leads out of the capture's folder; put the file into the folder itself."
        )
    return folder / relative


def _existing_picture(path: Path) -> Path | None:
    """The path itself or with an ending that pictures have (NeRF-synthetic leaves it out)."""
    return next((whole for ending in _ENDINGS if _is_file(whole := path.with_name(path.name + ending))), None)


def _required_file(source: Path, folder: Path, relative: str | None, label: str) -> Path | None:
    if relative is None:
        return None
    path = _path_inside(source, folder, relative, label)
    if not _is_file(path):
        raise UserError(f"{source}, {label}: {relative} is missing; copy it beside the pictures or take out its entry.")
    return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _picture_header(path: Path) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the EXIF orientation 1 to 8, without decoding the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures: read_picture judges the size
            with Image.open(path, formats=_FORMATS) as image:
                orientation = image.getexif().get(0x0112, 1)
                return image.size, orientation if orientation in range(1, 9) else 1
    except DECODING_ERRORS:
        rgba = _read_rgba(path)  # says what is wrong with it
        return (rgba.shape[2], rgba.shape[1]), 1


# --- reading ------------------------------------------------------------------------------------------------


def read_colours(files: ViewFiles) -> Float32[np.ndarray, "4 height width"]:
    """Read the picture of a view: straight RGBA in 0..1, undistorted.

    Raises:
        UserError: a damaged picture, or one whose size changed since the record was opened.
    """
    rgba = _turned_as_stored(_read_rgba(files.picture), files.exif_orientation)
    if rgba.shape[1:] != (files.camera.height, files.camera.width):
        raise UserError(
            f"{files.picture}: expected {files.camera.width} x {files.camera.height} pixels, got "
            f"{rgba.shape[2]} x {rgba.shape[1]}; open the capture again."
        )
    if files.mask is not None:
        mask = _read_rgba(files.mask)[0]
        if mask.shape != rgba.shape[1:]:
            raise UserError(f"{files.mask}: expected a mask of its picture's size, got {mask.shape[::-1]}.")
        rgba = np.concatenate([rgba[:3], rgba[3:] * mask])
    return rgba if files.distortion is None else undistort_colours(rgba, files.camera, files.distortion)


def read_depth(files: ViewFiles) -> Float32[np.ndarray, "depth_height depth_width"]:
    """Read the z-depth of a view in world units, 0 where empty; it may be smaller than the picture.

    Raises:
        UserError: a damaged file.
    """
    if files.depth is None:
        raise ValueError(f"{files.name} has no depth")
    if files.depth_index is None:
        depth = read_depth_picture(files.depth)
    else:
        depth = read_depth_archive(files.depth)[files.depth_index]
    return depth if files.distortion is None else undistort_values(depth, files.camera, files.distortion)


def read_normals(files: ViewFiles) -> Float32[np.ndarray, "3 height width"]:
    """Read the world-space unit normals of a view, 0 where empty; eight bits a channel hold them to 0.3 degrees.

    Raises:
        UserError: a damaged file.
    """
    if files.normals is None:
        raise ValueError(f"{files.name} has no normals")
    normals = decode_normals(_read_rgba(files.normals))
    return normals if files.distortion is None else undistort_values(normals, files.camera, files.distortion)


def read_albedo(files: ViewFiles) -> Float32[np.ndarray, "4 height width"]:
    """Read the base colour of a view: straight RGBA in 0..1, undistorted.

    Raises:
        UserError: a damaged file.
    """
    if files.albedo is None:
        raise ValueError(f"{files.name} has no albedo")
    rgba = _read_rgba(files.albedo)
    return rgba if files.distortion is None else undistort_colours(rgba, files.camera, files.distortion)


def read_object_indices(files: ViewFiles) -> UInt16[np.ndarray, "height width"]:
    """Read the numbers of the objects that a view shows, 0 where empty.

    Raises:
        UserError: a damaged file, or a lens whose distortion would mix numbers.
    """
    if files.object_indices is None:
        raise ValueError(f"{files.name} has no object indices")
    if files.distortion is not None:
        raise UserError(f"{files.object_indices}: expected objects' numbers of a pinhole camera; undistort them first.")
    return read_numbers(files.object_indices)


def decode_normals(rgba: Float32[np.ndarray, "4 height width"]) -> Float32[np.ndarray, "3 height width"]:
    """Unit normals of a stored picture, 0 where empty."""
    normals = rgba[:3] * 2 - 1
    length = np.sqrt((normals**2).sum(axis=0))
    # An empty pixel is stored as grey, 127.5 rounded: 0.004 a channel.
    return np.where(length > 0.5, normals / np.maximum(length, 0.5), 0).astype(np.float32)


def _read_rgba(path: Path) -> np.ndarray:
    # A view of a record may be tiny or show nothing.
    return read_picture(path, max_pixels=MAX_PIXELS, smallest_side_px=1, allow_empty=True).rgba


def _turned_as_stored(upright: np.ndarray, exif_orientation: int) -> np.ndarray:
    """Turn an upright picture [4, H, W] back to the pixels as stored (Exif 2.32, tag 274)."""
    if exif_orientation in (3, 4, 7, 8):
        upright = upright[:, ::-1, :]
    if exif_orientation in (2, 3, 6, 7):
        upright = upright[:, :, ::-1]
    if exif_orientation in (5, 6, 7, 8):
        upright = upright.transpose(0, 2, 1)
    return np.ascontiguousarray(upright)
