"""Lens distortion of captures, taken out of their pictures when they are read.

The models are OpenCV's: `opencv` (radial k1 k2 k3, rational k4 k5 k6, tangential p1 p2) and `fisheye`
(k1 k2 k3 k4 in the angle); COLMAP, instant-ngp and nerfstudio use the same ones. OpenCV counts pixels from the
centre of the first one; the half pixel is converted here.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from distill_core.cameras import Camera, FloatArray
from distill_core.errors import UserError


@dataclass(frozen=True)
class Distortion:
    """Coefficients of one lens.

    Attributes:
        model: `opencv` or `fisheye`.
        coefficients: `opencv`: k1 k2 p1 p2 k3 k4 k5 k6; `fisheye`: k1 k2 k3 k4.
    """

    model: Literal["opencv", "fisheye"]
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficients) != (8 if self.model == "opencv" else 4):
            raise ValueError(f"{self.model} has another number of coefficients than {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all() or np.abs(self.coefficients).max() > 1e3:
            raise UserError(f"Lens distortion must be finite numbers below 1000, got {self.coefficients}.")

    @property
    def is_zero(self) -> bool:
        """Whether there is nothing to take out (a fisheye without coefficients still bends)."""
        return self.model == "opencv" and not any(self.coefficients)


def undistorted_camera(camera: Camera, distortion: Distortion) -> Camera:
    """The pinhole camera of the undistorted picture: the same size, all of it seen by the distorted one.

    The focal lengths and principal point are OpenCV's optimal new camera matrix: the largest rectangle that
    shows no pixel from outside the distorted picture. A fisheye keeps its own intrinsics, which crops it.

    Raises:
        UserError: the coefficients fold the picture over, so that no such rectangle exists.
    """
    if distortion.model == "fisheye":
        return camera
    matrix, _ = cv2.getOptimalNewCameraMatrix(
        _opencv_intrinsics(camera), np.array(distortion.coefficients), (camera.width, camera.height), 0
    )
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UserError(
            f"Lens distortion {distortion.coefficients} does not fit a picture of {camera.width} x {camera.height} "
            "pixels: it cannot be taken out. Check k1, k2, p1 and p2, or undistort the pictures yourself."
        )
    return replace(camera, fx=matrix[0, 0], fy=matrix[1, 1], cx=matrix[0, 2] + 0.5, cy=matrix[1, 2] + 0.5)


def undistort_colours(rgba: npt.NDArray[np.float32], camera: Camera, distortion: Distortion) -> npt.NDArray[np.float32]:
    """Resample a picture [4, H, W], straight RGBA, from the distorted `camera` to `undistorted_camera`.

    Bilinear, colours weighted by alpha; the outermost pixels are repeated.
    """
    map_x, map_y = _sampling_maps(_LensKey.of(camera), distortion)
    premultiplied = np.concatenate([rgba[:3] * rgba[3:], rgba[3:]]).transpose(1, 2, 0)
    sampled = cv2.remap(
        np.ascontiguousarray(premultiplied), map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).transpose(2, 0, 1)
    alpha = sampled[3:]
    colour = np.divide(sampled[:3], alpha, out=np.zeros_like(sampled[:3]), where=alpha > 0)
    return np.concatenate([colour, alpha]).clip(0, 1).astype(np.float32)


def undistort_values(
    values: npt.NDArray[np.float32], camera: Camera, distortion: Distortion
) -> npt.NDArray[np.float32]:
    """Resample depth [H, W] or normals [3, H, W] by the nearest pixel: mixing two surfaces makes a third."""
    height, width = values.shape[-2:]
    map_x, map_y = _sampling_maps(_LensKey.of(camera.resized(width, height)), distortion)
    planes = values.reshape(-1, height, width)
    sampled = [cv2.remap(plane, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) for plane in planes]
    return np.stack(sampled).reshape(values.shape).astype(np.float32)


@dataclass(frozen=True)
class _LensKey:
    """Size and intrinsics of a camera without its pose: what the sampling maps depend on."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def of(cls, camera: Camera) -> "_LensKey":
        return cls(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)


@lru_cache(maxsize=4)
def _sampling_maps(lens: _LensKey, distortion: Distortion) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where each pixel of the undistorted picture lies in the distorted one, in OpenCV's pixels."""
    camera = Camera(**lens.__dict__, camera_to_world=np.eye(4))
    old, new = _opencv_intrinsics(camera), _opencv_intrinsics(undistorted_camera(camera, distortion))
    coefficients, size = np.array(distortion.coefficients), (lens.width, lens.height)
    if distortion.model == "fisheye":
        maps = cv2.fisheye.initUndistortRectifyMap(old, coefficients, np.eye(3), new, size, cv2.CV_32FC1)
    else:
        maps = cv2.initUndistortRectifyMap(old, coefficients, np.eye(3), new, size, cv2.CV_32FC1)
    return maps[0].astype(np.float32), maps[1].astype(np.float32)


def _opencv_intrinsics(camera: Camera) -> FloatArray:
    """The camera's matrix with pixels counted from the centre of the first one, as OpenCV does."""
    intrinsics = camera.intrinsics.copy()
    intrinsics[:2, 2] -= 0.5
    return intrinsics
