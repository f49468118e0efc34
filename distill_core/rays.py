"""Cameras as tensors, and the rays through their pixels (torch)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera


@dataclass(frozen=True)
class CameraTensors:
    """A batch of cameras of one picture size.

    Args:
        intrinsics: [B, 4] fx fy cx cy in pixels, the centre of the first pixel at (0.5, 0.5).
        camera_to_world: [B, 4, 4] OpenCV axes (x right, y down, z forward).
        width: Picture width in pixels.
        height: Picture height in pixels.
    """

    intrinsics: Float[Tensor, "batch 4"]
    camera_to_world: Float[Tensor, "batch 4 4"]
    width: int
    height: int

    def __len__(self) -> int:
        """Return the number of cameras."""
        return self.intrinsics.shape[0]

    def to(self, device: torch.device | str) -> "CameraTensors":
        """Return the same cameras on another device."""
        return CameraTensors(self.intrinsics.to(device), self.camera_to_world.to(device), self.width, self.height)

    def select(self, index: Tensor) -> "CameraTensors":
        """Return the cameras at `index` [N] (integers, repeats allowed)."""
        return CameraTensors(self.intrinsics[index], self.camera_to_world[index], self.width, self.height)

    def resized(self, width: int, height: int) -> "CameraTensors":
        """Return the same cameras with another picture size; intrinsics scale along."""
        scale = self.intrinsics.new_tensor(
            [width / self.width, height / self.height, width / self.width, height / self.height]
        )
        return CameraTensors(self.intrinsics * scale, self.camera_to_world, width, height)

    def as_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Intrinsics [B, 4], camera-to-world [B, 3, 4] and world-to-camera [B, 3, 4], float64, for kernels."""
        to_world = self.camera_to_world.double().numpy()
        return self.intrinsics.double().numpy(), to_world[:, :3], np.linalg.inv(to_world)[:, :3]

    @property
    def positions(self) -> Float[Tensor, "batch 3"]:
        """Camera centres in the world."""
        return self.camera_to_world[:, :3, 3]


def stack_cameras(cameras: Sequence[Camera]) -> CameraTensors:
    """Stack cameras of one picture size.

    Args:
        cameras: At least one camera.

    Returns:
        The batch, float32, on the CPU.

    Raises:
        ValueError: the cameras differ in picture size.
    """
    sizes = {(camera.width, camera.height) for camera in cameras}
    if len(sizes) != 1:
        raise ValueError(f"expected cameras of one picture size, got {sorted(sizes)}")
    width, height = sizes.pop()
    return CameraTensors(
        torch.tensor([[c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float32),
        torch.stack([torch.as_tensor(c.camera_to_world.copy(), dtype=torch.float32) for c in cameras]),
        width,
        height,
    )


def pixel_rays(
    cameras: CameraTensors,
) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 3 height width"]]:
    """Rays through the pixel centres.

    Args:
        cameras: B cameras.

    Returns:
        Origins and unit directions in the world, each [B, 3, H, W].
    """
    device, dtype = cameras.intrinsics.device, cameras.intrinsics.dtype
    x = torch.arange(cameras.width, device=device, dtype=dtype) + 0.5
    y = torch.arange(cameras.height, device=device, dtype=dtype) + 0.5
    fx, fy, cx, cy = cameras.intrinsics[:, :, None, None].unbind(1)
    direction_x = ((x[None, None, :] - cx) / fx).expand(-1, cameras.height, -1)
    direction_y = ((y[None, :, None] - cy) / fy).expand(-1, -1, cameras.width)
    in_camera = torch.stack([direction_x, direction_y, torch.ones_like(direction_x)], 1)
    directions = torch.einsum("bij,bjhw->bihw", cameras.camera_to_world[:, :3, :3], in_camera)
    directions = torch.nn.functional.normalize(directions, dim=1)
    origins = cameras.positions[:, :, None, None].expand_as(directions)
    return origins, directions


def pluecker_rays(cameras: CameraTensors) -> Float[Tensor, "batch 6 height width"]:
    """Pluecker coordinates (direction, moment) of the rays through the pixel centres.

    The moment, origin x direction, is the same for every point of the ray (Sitzmann et al., Light Field
    Networks, 2021).

    Args:
        cameras: B cameras.

    Returns:
        [B, 6, H, W]: unit direction, then moment.
    """
    origins, directions = pixel_rays(cameras)
    return torch.cat([directions, torch.cross(origins, directions, dim=1)], 1)


def project_points(
    points: Float[Tensor, "batch points 3"], cameras: CameraTensors
) -> tuple[Float[Tensor, "batch points 2"], Float[Tensor, "batch points"]]:
    """Pixels and z-depth of world points.

    Args:
        points: [B, N, 3], a set of points for each camera.
        cameras: B cameras.

    Returns:
        Pixel coordinates [B, N, 2] and z-depth [B, N]; a depth of at most zero is behind the camera and its pixel
        means nothing.
    """
    in_camera = torch.einsum("bji,bnj->bni", cameras.camera_to_world[:, :3, :3], points - cameras.positions[:, None])
    depth = in_camera[..., 2]
    safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
    fx, fy, cx, cy = cameras.intrinsics[:, :, None].unbind(1)
    x = fx * in_camera[..., 0] / safe + cx
    y = fy * in_camera[..., 1] / safe + cy
    return torch.stack([x, y], -1), depth
