"""COLMAP's sparse models, binary or text: cameras, poses and the points that it found.

Format: https://colmap.github.io/format.html. Poses are world-to-camera, quaternion w x y z and translation, OpenCV
axes; pixels count from the corner of the first one.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from distill_core.camera_conventions import pose_from_colmap
from distill_core.cameras import Camera, FloatArray
from distill_core.errors import UserError
from distill_core.records.lens_distortion import Distortion
from distill_core.records.record_files import StatedView

_MAX_FILE_BYTES = 1 << 31
_MODEL_FOLDERS = (".", "sparse/0", "sparse", "colmap/sparse/0")

# Name and number of parameters of each model, by COLMAP's number.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}


@dataclass(frozen=True)
class _Lens:
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Distortion | None

    def camera_at(self, pose: FloatArray, width: int, height: int) -> Camera:
        assert (width, height) == (self.width, self.height)
        return Camera(width, height, self.fx, self.fy, self.cx, self.cy, pose)


def find_colmap_model(folder: Path) -> Path | None:
    """The folder of the sparse model in a capture's folder (itself, sparse/0, sparse, colmap/sparse/0), if any."""
    for name in _MODEL_FOLDERS:
        if any((folder / name / f"images.{ending}").is_file() for ending in ("bin", "txt")):
            return folder / name
    return None


def images_folder(model: Path) -> Path:
    """The folder `images` beside a model or up to three folders above it.

    Raises:
        UserError: there is none.
    """
    candidates = [above / "images" for above in (model, *model.resolve().parents[:3])]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise UserError(f"{model}: expected a folder 'images' with the pictures beside the COLMAP model, got none; add it.")


def mask_of(masks: Path, picture_name: str) -> Path:
    """The mask of a picture: its name with `.png` behind it, as COLMAP names masks, or its name ending in `.png`.

    Args:
        masks: the folder.
        picture_name: relative path of the picture in the model.

    Raises:
        UserError: there is none.
    """
    whole = masks / f"{picture_name}.png"
    for candidate in (whole, (masks / picture_name).with_suffix(".png")):
        if candidate.is_file():
            return candidate
    raise UserError(f"{masks}: expected a mask {whole.name} for each picture, got none; add it or leave masks out.")


def stated_views(model: Path) -> tuple[Path, list[StatedView]]:
    """Read the views of a COLMAP model, in the order of their names.

    Args:
        model: the folder that holds cameras and images, `.bin` or `.txt`.

    Returns:
        The file of the images, for messages, and the views; picture paths are relative to the images' folder.

    Raises:
        UserError: a file that is missing or damaged, or a lens that cannot be undistorted.
    """
    binary = (model / "images.bin").is_file()
    path = model / ("images.bin" if binary else "images.txt")
    lenses = _binary_lenses(model / "cameras.bin") if binary else _text_lenses(model / "cameras.txt")
    views = []
    for name, camera_id, quaternion_wxyz, translation in _binary_images(path) if binary else _text_images(path):
        if camera_id not in lenses:
            raise UserError(f"{path}, {name}: camera {camera_id} is not in the model; export it again.")
        lens = lenses[camera_id]
        try:
            pose = pose_from_colmap(quaternion_wxyz, translation)
        except UserError as error:
            raise UserError(f"{path}, {name}: {error}") from error
        views.append(
            StatedView(
                label=name,
                picture_path=name,
                stated_size=(lens.width, lens.height),
                camera_at=partial(lens.camera_at, pose),
                distortion=lens.distortion,
            )
        )
    if not views:
        raise UserError(f"{path} has no images; expected at least one that COLMAP has placed.")
    return path, sorted(views, key=lambda view: view.picture_path)


def read_sparse_points(folder: Path) -> tuple[FloatArray, npt.NDArray[np.uint8]]:
    """Read the points that COLMAP triangulated: where splats of a capture can begin.

    Args:
        folder: the capture's or the model's folder.

    Returns:
        Positions [N, 3] in world units and colours [N, 3].

    Raises:
        UserError: no points, or a damaged file.
    """
    model = find_colmap_model(folder)
    if model is None:
        raise UserError(f"{folder}: expected a COLMAP model (images.bin or images.txt), got none; name its folder.")
    binary = (model / "points3D.bin").is_file()
    path = model / ("points3D.bin" if binary else "points3D.txt")
    points = list(_binary_points(path) if binary else _text_points(path))
    if not points:
        raise UserError(f"{path} has no points; expected a reconstruction.")
    positions = np.array([point[:3] for point in points], dtype=np.float64)
    if not np.isfinite(positions).all():
        raise UserError(f"{path}: expected finite points, got NaN or infinity; export it again.")
    return positions, np.array([point[3:] for point in points]).clip(0, 255).astype(np.uint8)


# --- lenses -------------------------------------------------------------------------------------------------


def _lens(path: Path, name: str, width: int, height: int, parameters: tuple[float, ...]) -> _Lens:
    p = parameters
    match name:
        case "SIMPLE_PINHOLE":
            focal_and_centre, distortion = (p[0], p[0], p[1], p[2]), None
        case "PINHOLE":
            focal_and_centre, distortion = p[:4], None
        case "SIMPLE_RADIAL" | "RADIAL":
            focal_and_centre = (p[0], p[0], p[1], p[2])
            k1, k2 = (*p[3:], 0.0)[:2]
            distortion = Distortion("opencv", (k1, k2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        case "OPENCV" | "FULL_OPENCV":
            focal_and_centre = p[:4]
            distortion = Distortion("opencv", (*p[4:], 0.0, 0.0, 0.0, 0.0)[:8])
        case "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE":
            focal_and_centre = (p[0], p[0], p[1], p[2])
            k1, k2 = (*p[3:], 0.0)[:2]
            distortion = Distortion("fisheye", (k1, k2, 0.0, 0.0))
        case "OPENCV_FISHEYE":
            focal_and_centre, distortion = p[:4], Distortion("fisheye", p[4:])
        case _:
            raise UserError(
                f"{path}: lenses of model {name} cannot be undistorted here; run colmap image_undistorter and give "
                "its output folder."
            )
    fx, fy, cx, cy = focal_and_centre
    try:
        Camera(width, height, fx, fy, cx, cy, np.eye(4))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return _Lens(width, height, fx, fy, cx, cy, distortion)


def _binary_lenses(path: Path) -> dict[int, _Lens]:
    cursor = _Cursor(path)
    lenses = {}
    for _ in range(cursor.count(24)):
        camera_id, model, width, height = cursor.unpack("<IiQQ")
        if model not in _MODELS:
            raise UserError(f"{path}: expected a camera model from 0 to 10, got {model}; export it again.")
        name, num_parameters = _MODELS[model]
        lenses[camera_id] = _lens(path, name, width, height, cursor.unpack(f"<{num_parameters}d"))
    return lenses


def _text_lenses(path: Path) -> dict[int, _Lens]:
    num_parameters = dict(_MODELS.values())
    lenses = {}
    for line in _lines(path):
        words = line.split()
        try:
            camera_id, name, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            parameters = tuple(float(word) for word in words[4:])
        except (ValueError, IndexError) as error:
            raise _damaged(path, line) from error
        if num_parameters.get(name) != len(parameters):
            raise _damaged(path, line)
        lenses[camera_id] = _lens(path, name, width, height, parameters)
    return lenses


# --- images and points --------------------------------------------------------------------------------------

_ImageRow = tuple[str, int, tuple[float, ...], tuple[float, ...]]  # name, camera id, quaternion w x y z, translation


def _binary_images(path: Path) -> Iterator[_ImageRow]:
    cursor = _Cursor(path)
    for _ in range(cursor.count(73)):
        _, *pose, camera_id = cursor.unpack("<I7dI")
        name = cursor.text()
        cursor.skip(cursor.count(24) * 24)
        yield name, camera_id, tuple(pose[:4]), tuple(pose[4:])


def _text_images(path: Path) -> Iterator[_ImageRow]:
    # Two lines an image; the second lists its keypoints and may be empty.
    for line in _lines(path, keep_empty=True)[::2]:
        words = line.split(maxsplit=9)
        try:
            numbers = [float(word) for word in words[1:8]]
            yield words[9], int(words[8]), tuple(numbers[:4]), tuple(numbers[4:])
        except (ValueError, IndexError) as error:
            raise _damaged(path, line) from error


def _binary_points(path: Path) -> Iterator[tuple[float, ...]]:
    cursor = _Cursor(path)
    for _ in range(cursor.count(51)):
        _, x, y, z, red, green, blue, _ = cursor.unpack("<Q3d3Bd")
        cursor.skip(cursor.count(8) * 8)
        yield x, y, z, red, green, blue


def _text_points(path: Path) -> Iterator[tuple[float, ...]]:
    for line in _lines(path):
        try:
            x, y, z, red, green, blue = (float(word) for word in line.split()[1:7])
        except ValueError as error:
            raise _damaged(path, line) from error
        yield x, y, z, red, green, blue


class _Cursor:
    """A place in a binary file that never runs over its end."""

    def __init__(self, path: Path) -> None:
        self._path, self._content, self._at = path, _content(path), 0

    def unpack(self, layout: str) -> tuple:
        end = self._at + struct.calcsize(layout)
        if end > len(self._content):
            raise UserError(f"{self._path} is cut off at byte {len(self._content):,}; copy or export it again.")
        values = struct.unpack_from(layout, self._content, self._at)
        self._at = end
        return values

    def count(self, least_bytes_each: int) -> int:
        """How many rows follow, held against the bytes that are left."""
        (count,) = self.unpack("<Q")
        if count * least_bytes_each > len(self._content) - self._at:
            raise UserError(f"{self._path} is cut off: {count:,} rows do not fit into it; copy or export it again.")
        return count

    def skip(self, num_bytes: int) -> None:
        self._at += num_bytes

    def text(self) -> str:
        end = self._content.find(b"\0", self._at)
        if end < 0:
            raise UserError(f"{self._path} is cut off in a name; copy or export it again.")
        text = self._content[self._at : end].decode(errors="replace")
        self._at = end + 1
        return text


def _lines(path: Path, *, keep_empty: bool = False) -> list[str]:
    lines = [line.strip() for line in _content(path).decode(errors="replace").splitlines()]
    lines = [line for line in lines if not line.startswith("#")]
    if not keep_empty:
        return [line for line in lines if line]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UserError(f"{path}: expected at most {_MAX_FILE_BYTES:,} bytes, got {path.stat().st_size:,}.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; the model needs it.") from error


def _damaged(path: Path, line: str) -> UserError:
    return UserError(f"{path}: a line is not as COLMAP writes it: {line[:60]!r}; export the model again.")
