"""Cameras as other programs write them, to and from the project's `Camera`; numpy and the standard library alone.

    OpenGL, Blender, nerfstudio, NeRF   camera axes x right, y up, z backward
    PyTorch3D, CO3D                     x left, y up, z forward; row vectors; intrinsics in one of two NDC
    COLMAP                              OpenCV axes; world-to-camera as quaternion w x y z and translation

Intrinsics of all of them are converted to pixels with the centre of the first pixel at (0.5, 0.5), which is
COLMAP's and nerfstudio's convention too; OpenCV and Open3D's legacy viewer count from that centre.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from distill_core.cameras import Camera, FloatArray, check_rigid
from distill_core.errors import UserError

_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_PYTORCH3D_TO_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])

# glTF and most game engines have y up: their front (+z) becomes our front (-y).
Y_UP_TO_Z_UP: FloatArray = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
Y_UP_TO_Z_UP.setflags(write=False)


# --- axes ---------------------------------------------------------------------------------------------------


def pose_from_opengl(camera_to_world: npt.ArrayLike) -> FloatArray:
    """A checked pose [4, 4] in OpenCV axes from one [4, 4] or [3, 4] in OpenGL axes (Blender, nerfstudio, NeRF).

    Raises:
        UserError: the matrix is no rotation and translation.
    """
    return check_rigid(check_rigid(camera_to_world) @ _OPENGL_TO_OPENCV)


def pose_to_opengl(camera_to_world: npt.ArrayLike) -> FloatArray:
    """The pose [4, 4] in OpenGL axes of one in OpenCV axes: a half turn about x, its own inverse."""
    return np.asarray(camera_to_world, dtype=np.float64) @ _OPENGL_TO_OPENCV


# --- quaternions and COLMAP ---------------------------------------------------------------------------------


def rotation_from_quaternion(quaternion_wxyz: npt.ArrayLike) -> FloatArray:
    """The rotation [3, 3] of a quaternion w x y z of any length but zero.

    Raises:
        UserError: a quaternion that is zero or not finite.
    """
    quaternion = np.asarray(quaternion_wxyz, dtype=np.float64)
    if quaternion.shape != (4,) or not np.isfinite(quaternion).all() or not quaternion.any():
        raise UserError(f"Expected a quaternion of four finite numbers, not all zero, got {quaternion.tolist()}.")
    quaternion = quaternion / np.abs(quaternion).max()  # else the squares of a tiny one vanish
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: npt.ArrayLike) -> FloatArray:
    """The unit quaternion w x y z, w >= 0, of a rotation [3, 3]."""
    r = np.asarray(rotation, dtype=np.float64)
    # Each row is 4 q_i times the quaternion; the longest one loses no digits (Bar-Itzhack's observation).
    rows = np.array(
        [
            [1 + r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], 1 + r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], 1 - r[0, 0] + r[1, 1] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], 1 - r[0, 0] - r[1, 1] + r[2, 2]],
        ]
    )
    row = rows[int(np.argmax(np.diag(rows)))]
    quaternion = row / np.linalg.norm(row)
    return -quaternion if quaternion[0] < 0 else quaternion


def pose_from_colmap(quaternion_wxyz: npt.ArrayLike, translation: npt.ArrayLike) -> FloatArray:
    """camera_to_world [4, 4] from COLMAP's world-to-camera quaternion w x y z and translation [3].

    Raises:
        UserError: a value that is not finite, or a quaternion of length 0.
    """
    world_to_camera_rotation = rotation_from_quaternion(quaternion_wxyz)
    pose = np.eye(4)
    pose[:3, :3] = world_to_camera_rotation.T
    pose[:3, 3] = -world_to_camera_rotation.T @ np.asarray(translation, dtype=np.float64)
    return check_rigid(pose)


def pose_to_colmap(camera_to_world: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """COLMAP's world-to-camera quaternion w x y z (w >= 0) and translation [3] of a pose [4, 4]."""
    world_to_camera = np.asarray(np.linalg.inv(np.asarray(camera_to_world)), dtype=np.float64)
    return quaternion_from_rotation(world_to_camera[:3, :3]), world_to_camera[:3, 3]


# --- PyTorch3D and CO3D -------------------------------------------------------------------------------------

NdcFormat = Literal["ndc_isotropic", "ndc_norm_image_bounds"]


@dataclass(frozen=True, eq=False)
class PyTorch3DCamera:
    """What PyTorch3D's PerspectiveCameras and CO3D's frame annotations hold.

    Attributes:
        rotation: R [3, 3] for row vectors: X_camera = X_world R + T; camera axes x left, y up, z forward.
        translation: T [3] in world units.
        focal_length: along x and y, in NDC.
        principal_point: x and y from the middle of the picture, in NDC (x left, y up).
        ndc_format: `ndc_isotropic` scales both axes by half the shorter side of the picture (PyTorch3D, CO3D v2);
            `ndc_norm_image_bounds` scales each by half its own side (CO3D v1).
    """

    rotation: FloatArray
    translation: FloatArray
    focal_length: tuple[float, float]
    principal_point: tuple[float, float]
    ndc_format: NdcFormat = "ndc_isotropic"


def camera_from_pytorch3d(foreign: PyTorch3DCamera, width: int, height: int) -> Camera:
    """The camera of a PyTorch3D camera and the picture's size in pixels.

    Raises:
        UserError: the values make no camera.
    """
    unit_x_px, unit_y_px = _ndc_units_px(foreign.ndc_format, width, height)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.asarray(foreign.rotation, dtype=np.float64).T
    world_to_camera[:3, 3] = foreign.translation
    world_to_camera = check_rigid(world_to_camera)
    return Camera(
        width=width,
        height=height,
        fx=foreign.focal_length[0] * unit_x_px,
        fy=foreign.focal_length[1] * unit_y_px,
        cx=width / 2 - foreign.principal_point[0] * unit_x_px,
        cy=height / 2 - foreign.principal_point[1] * unit_y_px,
        camera_to_world=np.asarray(np.linalg.inv(_PYTORCH3D_TO_OPENCV @ world_to_camera), dtype=np.float64),
    )


def camera_to_pytorch3d(camera: Camera, ndc_format: NdcFormat = "ndc_isotropic") -> PyTorch3DCamera:
    """The PyTorch3D camera that puts every point where `camera` puts it."""
    unit_x_px, unit_y_px = _ndc_units_px(ndc_format, camera.width, camera.height)
    world_to_camera = _PYTORCH3D_TO_OPENCV @ camera.world_to_camera
    return PyTorch3DCamera(
        rotation=world_to_camera[:3, :3].T,
        translation=world_to_camera[:3, 3],
        focal_length=(camera.fx / unit_x_px, camera.fy / unit_y_px),
        principal_point=(
            (camera.width / 2 - camera.cx) / unit_x_px,
            (camera.height / 2 - camera.cy) / unit_y_px,
        ),
        ndc_format=ndc_format,
    )


def _ndc_units_px(ndc_format: str, width: int, height: int) -> tuple[float, float]:
    """How many pixels one unit of NDC is along x and y."""
    match ndc_format:
        case "ndc_isotropic":
            return min(width, height) / 2, min(width, height) / 2
        case "ndc_norm_image_bounds":
            return width / 2, height / 2
    raise UserError(f"Expected intrinsics in ndc_isotropic or ndc_norm_image_bounds, got {ndc_format!r}.")


# --- Blender ------------------------------------------------------------------------------------------------

SensorFit = Literal["AUTO", "HORIZONTAL", "VERTICAL"]


@dataclass(frozen=True)
class BlenderLens:
    """A perspective camera's lens with Blender's own property names (bpy.types.Camera, RenderSettings).

    The equations are those of Blender's manual and source (camera parameters to view plane): the sensor spans the
    side that `sensor_fit` names, AUTO the longer one, and AUTO uses the sensor's *width* for either. Shifts are in
    parts of that side; the view moves by them, so the principal point moves the other way.

    Attributes:
        lens: focal length in millimetres.
        sensor_fit: the side of the picture that the sensor spans.
        sensor_width: in millimetres, for HORIZONTAL and AUTO.
        sensor_height: in millimetres, for VERTICAL.
        shift_x: of the view to the right.
        shift_y: of the view upwards.
        pixel_aspect_x: width of a pixel, at least 1 in Blender.
        pixel_aspect_y: height of a pixel, at least 1 in Blender.
    """

    lens: float = 50.0
    sensor_fit: SensorFit = "AUTO"
    sensor_width: float = 36.0
    sensor_height: float = 24.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    pixel_aspect_x: float = 1.0
    pixel_aspect_y: float = 1.0


def camera_from_blender(lens: BlenderLens, matrix_world: npt.ArrayLike, width: int, height: int) -> Camera:
    """The camera of a Blender camera without scale.

    Args:
        lens: the lens and pixel aspect.
        matrix_world: the camera object's `matrix_world` [4, 4].
        width: rendered width in pixels (resolution_x times resolution_percentage).
        height: rendered height in pixels.

    Raises:
        UserError: the values make no camera.
    """
    if not all(value > 0 for value in (lens.lens, lens.pixel_aspect_x, lens.pixel_aspect_y)):
        raise UserError(f"Expected a positive focal length and pixel aspect, got {lens}.")
    sensor_mm, sensor_px, pixel_height = _blender_sensor(lens, width, height)
    if not sensor_mm > 0:
        raise UserError(f"Expected a positive sensor size, got {lens}.")
    focal_px = lens.lens / sensor_mm * sensor_px
    return Camera(
        width=width,
        height=height,
        fx=focal_px,
        fy=focal_px / pixel_height,
        cx=width / 2 - lens.shift_x * sensor_px,
        cy=height / 2 + lens.shift_y * sensor_px / pixel_height,
        camera_to_world=pose_from_opengl(matrix_world),
    )


def camera_to_blender(
    camera: Camera,
    *,
    sensor_fit: SensorFit = "AUTO",
    sensor_width: float = 36.0,
    sensor_height: float = 24.0,
) -> tuple[BlenderLens, FloatArray]:
    """The Blender lens and `matrix_world` [4, 4] that render what `camera` sees.

    Args:
        camera: fx and fy may differ: the pixels then are not square.
        sensor_fit: the side of the picture that the sensor spans.
        sensor_width: in millimetres.
        sensor_height: in millimetres.
    """
    # A pixel's height in widths is fx / fy; Blender wants the smaller of both numbers to be 1.
    unfocused = BlenderLens(
        sensor_fit=sensor_fit,
        sensor_width=sensor_width,
        sensor_height=sensor_height,
        pixel_aspect_x=max(1.0, camera.fy / camera.fx),
        pixel_aspect_y=max(1.0, camera.fx / camera.fy),
    )
    sensor_mm, sensor_px, pixel_height = _blender_sensor(unfocused, camera.width, camera.height)
    lens = BlenderLens(
        lens=camera.fx * sensor_mm / sensor_px,
        sensor_fit=sensor_fit,
        sensor_width=sensor_width,
        sensor_height=sensor_height,
        shift_x=(camera.width / 2 - camera.cx) / sensor_px,
        shift_y=(camera.cy - camera.height / 2) * pixel_height / sensor_px,
        pixel_aspect_x=unfocused.pixel_aspect_x,
        pixel_aspect_y=unfocused.pixel_aspect_y,
    )
    return lens, pose_to_opengl(camera.camera_to_world)


def _blender_sensor(lens: BlenderLens, width: int, height: int) -> tuple[float, float, float]:
    """The sensor in millimetres, the side it spans in pixel widths, and a pixel's height in widths."""
    pixel_height = lens.pixel_aspect_y / lens.pixel_aspect_x
    match lens.sensor_fit:
        case "AUTO":
            # On a tie Blender takes the horizontal.
            horizontal, sensor_mm = width >= height * pixel_height, lens.sensor_width
        case "HORIZONTAL":
            horizontal, sensor_mm = True, lens.sensor_width
        case "VERTICAL":
            horizontal, sensor_mm = False, lens.sensor_height
        case _:
            raise UserError(f"Expected sensor fit AUTO, HORIZONTAL or VERTICAL, got {lens.sensor_fit!r}.")
    return sensor_mm, (width if horizontal else height * pixel_height), pixel_height
