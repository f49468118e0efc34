"""The views of a record in the browser (viser, the extra `viewer`): cameras with their pictures, and the surface."""

from typing import Any

import numpy as np
from jaxtyping import Float

from distill_core.records.multi_view_record import RecordView
from gs_integration.viewer import add_cameras, open_server, serve

_LARGEST_PICTURE_PX = 256
_POINT_SHARE = 0.004
"""Size of a drawn point, of the cameras' median distance from the surface's middle."""


def show_record_in_browser(
    views: list[RecordView], surface: Float[np.ndarray, "points 3"], *, port: int = 8080
) -> None:
    """Serve a record until Ctrl-C is pressed; the address is logged.

    Args:
        views: read.
        surface: points to show; may be empty.
        port: the first port that is tried.

    Raises:
        UserError: viser is not installed.
        KeyboardInterrupt: the person has seen enough.
    """
    serve(start_record_viewer(views, surface, port=port))


def start_record_viewer(views: list[RecordView], surface: Float[np.ndarray, "points 3"], *, port: int) -> Any:
    """Start a server that shows a record, and return it (a viser.ViserServer)."""
    server = open_server(port)
    middle = surface.mean(axis=0) if len(surface) else np.zeros(3)
    distance = float(np.median([np.linalg.norm(view.camera.position - middle) for view in views]))
    if len(surface):
        server.scene.add_point_cloud(
            "/surface",
            points=surface.astype(np.float32),
            colors=surface_colours(views, surface),
            point_size=_POINT_SHARE * distance,
        )
    pictures = [view.rgba[:, :: _step(view), :: _step(view)] for view in views]
    add_cameras(server, [view.camera for view in views], pictures, size=0.1 * distance)
    return server


def surface_colours(views: list[RecordView], surface: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3"]:
    """The colour of each point in the nearest camera that has it in its picture and covered; grey where none has.

    Args:
        views: read.
        surface: points in world units.

    Returns:
        RGB in 0..1.
    """
    colours = np.full((len(surface), 3), 0.5, np.float32)
    nearest = np.full(len(surface), np.inf)
    for view in views:
        pixels, depth = view.camera.project(surface)
        columns, rows = np.floor(np.nan_to_num(pixels, nan=-1.0)).clip(-1, 1e6).astype(int).T
        inside = (
            (depth > 0) & (columns >= 0) & (columns < view.camera.width) & (rows >= 0) & (rows < view.camera.height)
        )
        columns, rows = columns.clip(0, view.camera.width - 1), rows.clip(0, view.camera.height - 1)
        better = inside & (view.rgba[3, rows, columns] > 0.5) & (depth < nearest)
        colours[better] = view.rgba[:3, rows, columns].T[better]
        nearest[better] = depth[better]
    return colours


def _step(view: RecordView) -> int:
    return -(-max(view.rgba.shape[1:]) // _LARGEST_PICTURE_PX)
