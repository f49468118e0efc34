"""Splats and their cameras in the browser (viser, the extra `viewer`)."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import composite
from gs_integration.rasterization.reference import rotation_matrices
from gs_integration.splats import Splats

logger = logging.getLogger(__name__)

_FRUSTUM_SIZE = 0.12


def show_in_browser(
    splats: Splats, cameras: Sequence[Camera], pictures: Sequence[np.ndarray], *, port: int = 8080
) -> None:
    """Serve splats and cameras until Ctrl-C is pressed; the address is logged.

    Args:
        splats: in the world's axes (z up).
        cameras: shown as frusta.
        pictures: one a camera, straight RGBA [4, H, W].
        port: the first port that is tried.

    Raises:
        UserError: viser is not installed.
        KeyboardInterrupt: the person has seen enough.
    """
    serve(start_viewer(splats, cameras, pictures, port=port))


def start_viewer(splats: Splats, cameras: Sequence[Camera], pictures: Sequence[np.ndarray], *, port: int) -> Any:
    """Start a server that shows splats and cameras, and return it (a viser.ViserServer)."""
    server = open_server(port)
    server.scene.add_gaussian_splats(
        "/splats",
        centers=splats.means.numpy(),
        covariances=covariances(splats).numpy(),
        rgbs=splats.base_colours.clamp(0, 1).numpy(),
        opacities=splats.opacities[:, None].numpy(),
    )
    add_cameras(server, cameras, pictures)
    return server


def serve(server: Any) -> None:
    """Say where a server is, and wait.

    Args:
        server: a viser.ViserServer.

    Raises:
        KeyboardInterrupt: the person has seen enough.
    """
    logger.info("Open http://localhost:%d in a browser; Ctrl-C ends the viewer.", server.get_port())
    while True:
        time.sleep(3600)


def open_server(port: int) -> Any:
    """An empty scene with z up (a viser.ViserServer), which only this machine can reach.

    Args:
        port: the first port that is tried.

    Raises:
        UserError: viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise UserError(
            "Expected viser for --viewer, but it is not installed; install it with: pip install 'onestep3d[viewer]'."
        ) from error
    # On this machine alone: a result is nobody else's business until its owner says so.
    server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    server.scene.set_up_direction("+z")
    return server


def add_cameras(
    server: Any, cameras: Sequence[Camera], pictures: Sequence[np.ndarray], *, size: float = _FRUSTUM_SIZE
) -> None:
    """Show cameras as frusta with their pictures.

    Args:
        server: a viser.ViserServer.
        cameras: of the pictures.
        pictures: one a camera, straight RGBA [4, H, W], of any size in its proportions.
        size: of a frustum in world units.
    """
    import viser.transforms

    for place, (camera, picture) in enumerate(zip(cameras, pictures, strict=True)):
        server.scene.add_camera_frustum(
            f"/cameras/{place:03d}",
            fov=2 * math.atan(camera.height / (2 * camera.fy)),
            aspect=camera.width / camera.height,
            scale=size,
            image=np.rint(composite(picture) * 255).astype(np.uint8).transpose(1, 2, 0),
            wxyz=viser.transforms.SO3.from_matrix(camera.camera_to_world[:3, :3]).wxyz,
            position=camera.position,
        )


def covariances(splats: Splats) -> torch.Tensor:
    """Return the covariance of each Gaussian in the world, [N, 3, 3]."""
    spread = rotation_matrices(splats.quaternions_wxyz) * splats.scales[:, None]
    return spread @ spread.transpose(1, 2)
