"""Cameras as the rasterizers read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.rays import CameraTensors


@dataclass(frozen=True)
class Viewpoints:
    """V cameras of one picture size, in float64: inverting a pose in float32 would cost pixels far away.

    Args:
        world_to_camera: [V, 4, 4], OpenCV axes.
        positions: [V, 3] camera centres in the world.
        intrinsics: [V, 4] fx fy cx cy in pixels, the centre of the first pixel at (0.5, 0.5).
        width: picture width in pixels.
        height: picture height in pixels.
    """

    world_to_camera: Float64[Tensor, "views 4 4"]
    positions: Float64[Tensor, "views 3"]
    intrinsics: Float64[Tensor, "views 4"]
    width: int
    height: int

    def __len__(self) -> int:
        """Return the number of cameras."""
        return self.positions.shape[0]


def viewpoints(cameras: Sequence[Camera] | CameraTensors, device: torch.device) -> Viewpoints:
    """Read cameras of either kind; no gradient flows to them.

    Args:
        cameras: at least one, of one picture size.
        device: where the result goes.

    Raises:
        ValueError: no camera, or several picture sizes.
    """
    if len(cameras) == 0:
        raise ValueError("expected at least one camera, got none")
    if isinstance(cameras, CameraTensors):
        camera_to_world = cameras.camera_to_world.detach().double().cpu()
        intrinsics = cameras.intrinsics.detach().double()
        width, height = cameras.width, cameras.height
    else:
        sizes = {(camera.width, camera.height) for camera in cameras}
        if len(sizes) != 1:
            raise ValueError(f"expected cameras of one picture size, got {sorted(sizes)}")
        width, height = sizes.pop()
        camera_to_world = torch.stack([torch.tensor(camera.camera_to_world) for camera in cameras])
        intrinsics = torch.tensor([[c.fx, c.fy, c.cx, c.cy] for c in cameras], dtype=torch.float64)
    return Viewpoints(
        torch.linalg.inv(camera_to_world).to(device),
        camera_to_world[:, :3, 3].to(device),
        intrinsics.to(device),
        width,
        height,
    )
