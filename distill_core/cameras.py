"""Cameras, poses and rigs, in the project's one convention; numpy and the standard library alone.

World: right-handed, z up. Camera: OpenCV axes (x right, y down, z forward), `camera_to_world` 4x4
float64, intrinsics in pixels with the centre of the first pixel at (0.5, 0.5). An object fills the
unit ball around the origin and its front looks along -y. Every other convention is converted by
`camera_conventions`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill_core.errors import UserError

FloatArray = npt.NDArray[np.float64]

# Poses that others wrote carry six or seven digits; a matrix rounded to four decimals still passes,
# a scale of one part in a thousand does not.
_RIGID_TOLERANCE = 5e-4
_LARGEST_SIDE_PX = 1_000_000


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera: picture size, intrinsics in pixels, and pose.

    Attributes:
        width: picture width in pixels, positive.
        height: picture height in pixels, positive.
        fx: focal length along x in pixels, positive.
        fy: focal length along y in pixels, positive.
        cx: principal point from the left edge of the picture in pixels; may lie outside.
        cy: principal point from the top edge in pixels.
        camera_to_world: 4x4 float64, OpenCV axes (x right, y down, z forward), rotation and
            translation only; kept as a read-only copy.

    Raises:
        UserError: a size or focal length that is not positive, a value that is not finite, or a
            matrix that is no rotation and translation.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: FloatArray

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            size = getattr(self, name)
            if not math.isfinite(size) or size != int(size) or not 1 <= size <= _LARGEST_SIDE_PX:
                raise UserError(
                    f"Camera {name} must be a whole number of pixels from 1 to {_LARGEST_SIDE_PX}, got {size}."
                )
            object.__setattr__(self, name, int(size))
        for name in ("fx", "fy", "cx", "cy"):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise UserError(f"Camera {name} must be a finite number of pixels, got {value}.")
            if name in ("fx", "fy") and value <= 0:
                raise UserError(f"Focal length must be positive, got {value:g} pixels ({name}).")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "camera_to_world", check_rigid(self.camera_to_world))

    @cached_property
    def world_to_camera(self) -> FloatArray:
        """The inverse of `camera_to_world`, [4, 4]."""
        inverse = np.asarray(np.linalg.inv(self.camera_to_world), dtype=np.float64)
        inverse.setflags(write=False)
        return inverse

    @property
    def position(self) -> FloatArray:
        """The centre of projection in the world, [3]."""
        return self.camera_to_world[:3, 3]

    @property
    def forward(self) -> FloatArray:
        """The unit viewing direction in the world, [3]."""
        return self.camera_to_world[:3, 2]

    @property
    def intrinsics(self) -> FloatArray:
        """The matrix that takes camera coordinates to homogeneous pixels, [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def field_of_view_degrees(self) -> tuple[float, float]:
        """The horizontal and vertical field of view, of the whole picture, in degrees."""
        horizontal = math.atan(self.cx / self.fx) + math.atan((self.width - self.cx) / self.fx)
        vertical = math.atan(self.cy / self.fy) + math.atan((self.height - self.cy) / self.fy)
        return math.degrees(horizontal), math.degrees(vertical)

    def project(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Take points of the world to the picture.

        Args:
            points: [N, 3] in world units.

        Returns:
            Pixels [N, 2] (x from the left edge, y from the top edge; NaN for points that are not in
            front of the camera) and z-depth [N] in world units.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        in_camera = points @ self.world_to_camera[:3, :3].T + self.world_to_camera[:3, 3]
        depth = in_camera[:, 2]
        safe_depth = np.where(depth > 0, depth, np.nan)
        pixels = in_camera[:, :2] / safe_depth[:, None] * (self.fx, self.fy) + (self.cx, self.cy)
        return pixels, depth

    def unproject(self, pixels: npt.ArrayLike, depth: npt.ArrayLike) -> FloatArray:
        """Take pixels [N, 2] at z-depth [N] (world units) to points [N, 3] of the world."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        depth = np.asarray(depth, dtype=np.float64).reshape(-1, 1)
        in_plane = (pixels - (self.cx, self.cy)) / (self.fx, self.fy) * depth
        in_camera = np.concatenate([in_plane, depth], axis=1)
        return in_camera @ self.camera_to_world[:3, :3].T + self.camera_to_world[:3, 3]

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera for a picture scaled to another size (in pixels)."""
        along_x, along_y = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * along_x,
            fy=self.fy * along_y,
            cx=self.cx * along_x,
            cy=self.cy * along_y,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> "Camera":
        """The same camera for a window of the picture (in pixels; may reach outside)."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def moved(self, camera_to_world: npt.ArrayLike) -> "Camera":
        """The same lens and picture size at another pose [4, 4]."""
        return replace(self, camera_to_world=np.asarray(camera_to_world, dtype=np.float64))


def check_rigid(matrix: npt.ArrayLike) -> FloatArray:
    """Return a read-only float64 copy of a 4x4 pose after checking it.

    Args:
        matrix: a 4x4 (or 3x4) rotation and translation.

    Raises:
        UserError: another shape, a value that is not finite, a mirror, scale or shear.
    """
    pose = np.array(matrix, dtype=np.float64)
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    if pose.shape != (4, 4):
        shape = " x ".join(str(length) for length in pose.shape) or "one number"
        raise UserError(f"Camera pose: expected a 4 x 4 (or 3 x 4) matrix, got {shape}.")
    if not np.isfinite(pose).all():
        raise UserError("Camera pose: the matrix is not finite (NaN or infinity in it).")
    if np.abs(pose[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-9:
        raise UserError(f"Camera pose: the last row must be 0 0 0 1, got {pose[3].tolist()}.")
    rotation = pose[:3, :3]
    # Columns far from unit length would overflow the products below.
    if np.abs(rotation).max() > 2 or np.abs(rotation.T @ rotation - np.eye(3)).max() > _RIGID_TOLERANCE:
        raise UserError(
            "Camera pose: the matrix is no rotation and translation (it scales or shears); "
            "remove the scale from the pose."
        )
    if np.linalg.det(rotation) < 0:
        raise UserError("Camera pose: the matrix mirrors (determinant -1), expected a rotation.")
    pose.setflags(write=False)
    return pose


def focal_length_px(field_of_view_degrees: float, size_px: float) -> float:
    """The focal length in pixels at which `size_px` pixels span the field of view.

    Raises:
        UserError: a field of view that is not between 0 and 180 degrees.
    """
    if not 0 < field_of_view_degrees < 180:
        raise UserError(f"Field of view must be between 0 and 180 degrees, got {field_of_view_degrees}.")
    return 0.5 * size_px / math.tan(math.radians(field_of_view_degrees) / 2)


def look_at(
    position: npt.ArrayLike,
    target: npt.ArrayLike = (0.0, 0.0, 0.0),
    up: npt.ArrayLike = (0.0, 0.0, 1.0),
) -> FloatArray:
    """The pose of a camera at `position` that looks at `target` with `up` upwards in the picture.

    A camera that looks along `up` itself has the world's +y (or +x, if that is `up`) upwards.

    Args:
        position: [3] in world units.
        target: [3] in world units, another point than `position`.
        up: [3], any length but zero.

    Returns:
        camera_to_world [4, 4], OpenCV axes.

    Raises:
        UserError: target and position are the same point, or a value is not finite.
    """
    position, target, up = (np.asarray(v, dtype=np.float64) for v in (position, target, up))
    if not all(np.isfinite(v).all() and v.shape == (3,) for v in (position, target, up)):
        raise UserError("Camera position, target and up must be three finite numbers each.")
    distance, up_length = np.linalg.norm(target - position), np.linalg.norm(up)
    if distance == 0 or up_length == 0:
        raise UserError("A camera cannot look at its own position, nor have an up of length 0.")
    forward, up = (target - position) / distance, up / up_length
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        right = np.cross(forward, (0.0, 1.0, 0.0) if abs(up[1]) < 0.9 else (1.0, 0.0, 0.0))
    return _pose(position, right / np.linalg.norm(right), forward)


def orbit_camera(
    azimuth_degrees: float,
    elevation_degrees: float,
    *,
    field_of_view_degrees: float = 40.0,
    width: int = 128,
    height: int = 128,
    distance: float | None = None,
) -> Camera:
    """A camera on a sphere around the origin that looks at it; its picture is upright at the poles too.

    Args:
        azimuth_degrees: 0 is in front of the object, at (0, -d, 0); 90 is at (d, 0, 0).
        elevation_degrees: angle above the horizontal plane, -90 to 90.
        field_of_view_degrees: field of view along the smaller side of the picture.
        width: picture width in pixels.
        height: picture height in pixels.
        distance: from the origin in world units; None lets the unit ball touch the edges of the
            smaller side, 1 / sin(field of view / 2).

    Raises:
        UserError: a value that is out of range or not finite.
    """
    if not (math.isfinite(azimuth_degrees) and -90 <= elevation_degrees <= 90):
        raise UserError(
            "Azimuth must be finite and elevation between -90 and 90 degrees, "
            f"got {azimuth_degrees} and {elevation_degrees}."
        )
    focal = focal_length_px(field_of_view_degrees, min(width, height))
    if distance is None:
        distance = 1 / math.sin(math.radians(field_of_view_degrees) / 2)
    if not (math.isfinite(distance) and distance > 0):
        raise UserError(f"Camera distance must be positive, got {distance}.")
    azimuth, elevation = math.radians(azimuth_degrees), math.radians(elevation_degrees)
    outward = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            -math.cos(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    return Camera(
        width=width,
        height=height,
        fx=focal,
        fy=focal,
        cx=width / 2,
        cy=height / 2,
        camera_to_world=_pose(distance * outward, right, -outward),
    )


def orbit_rig(
    num_views: int,
    *,
    elevations_degrees: Sequence[float] = (15.0,),
    start_azimuth_degrees: float = 0.0,
    field_of_view_degrees: float = 40.0,
    width: int = 128,
    height: int = 128,
    distance: float | None = None,
) -> list[Camera]:
    """Rings of cameras around the origin, one ring an elevation.

    The views are shared out evenly (earlier rings get the odd ones), evenly spaced within a ring;
    ring k of K begins k / K of its step later, so that rings do not look from the same azimuths.

    Args:
        num_views: number of all cameras, at least one a ring.
        elevations_degrees: one elevation a ring.
        start_azimuth_degrees: azimuth of the first camera.
        field_of_view_degrees: as in `orbit_camera`.
        width: picture width in pixels.
        height: picture height in pixels.
        distance: as in `orbit_camera`.

    Raises:
        UserError: fewer views than rings, or no ring.
    """
    num_rings = len(elevations_degrees)
    if num_rings == 0 or num_views < num_rings:
        raise UserError(
            f"A rig needs at least one view for each elevation, got {num_views} views and {num_rings} elevations."
        )
    cameras = []
    for ring, elevation_degrees in enumerate(elevations_degrees):
        ring_views = num_views // num_rings + (ring < num_views % num_rings)
        for view in range(ring_views):
            azimuth_degrees = start_azimuth_degrees + 360 * (view + ring / num_rings) / ring_views
            cameras.append(
                orbit_camera(
                    azimuth_degrees,
                    elevation_degrees,
                    field_of_view_degrees=field_of_view_degrees,
                    width=width,
                    height=height,
                    distance=distance,
                )
            )
    return cameras


def orbit_angles(position: npt.ArrayLike) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees, and the distance, of a position [3] seen from the origin.

    Azimuth is in [-180, 180]; the inverse of `orbit_camera`.
    """
    x, y, z = np.asarray(position, dtype=np.float64)
    azimuth_degrees = math.degrees(math.atan2(x, -y))
    return azimuth_degrees, math.degrees(math.atan2(z, math.hypot(x, y))), math.hypot(x, y, z)


def relative_pose(source: Camera, target: Camera) -> FloatArray:
    """The matrix [4, 4] that takes source camera coordinates to target camera coordinates."""
    return target.world_to_camera @ source.camera_to_world


def transform_cameras(cameras: Iterable[Camera], old_to_new: npt.ArrayLike) -> list[Camera]:
    """The cameras after the world was moved by a similarity [4, 4]: rotation, scale, translation.

    Raises:
        UserError: the matrix is no similarity.
    """
    old_to_new = np.asarray(old_to_new, dtype=np.float64)
    scale = float(np.cbrt(np.linalg.det(old_to_new[:3, :3])))
    if not (math.isfinite(scale) and scale > 0):
        raise UserError("Cameras can be moved by rotation, scale and translation without mirror only.")
    moved = []
    for camera in cameras:
        camera_to_world = old_to_new @ camera.camera_to_world
        camera_to_world[:3, :3] /= scale
        moved.append(camera.moved(camera_to_world))
    return moved


def _pose(position: FloatArray, right: FloatArray, forward: FloatArray) -> FloatArray:
    """camera_to_world from a position and two unit axes at right angles."""
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(forward, right), forward
    pose[:3, 3] = position
    return pose
