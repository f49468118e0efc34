"""A picture of a mesh laid onto it: the camera that took it, and its pixels as texels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float

from distill_core.cameras import Camera, orbit_camera
from distill_core.errors import UserError
from distill_core.guide import extended_colours
from distill_core.metrics import silhouette_iou
from distill_core.pictures.images import premultiply
from distill_core.progress import Progress
from distill_core.synchronization.projections import average
from gs_integration.texturing.texture_denoising import KnownTexture
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.mesh_rendering import RenderableMesh, prepare, render_depth, render_views
from renderers.meshes import TexturedMesh

_OUTLINE_PX = 128
_CLOSER_BY_A_DEGREE = 0.001
"""An elevation this much farther from the expected one has to fit this much better (IoU)."""
_COSINES = (0.25, 0.6)
"""Cosine of a pixel's slant from which on, and from which on wholly, it is believed."""
_EDGE_SHARES = (0.006, 0.02)
"""The same for the distance to an outline, as a share of the picture's side: outlines never fit quite."""
_JUMP = 0.06
"""World units by which depth changes over two pixels of 512 where one part hides another."""
_UNSEEN = (
    "Expected a mesh that can be seen from where the picture was taken, got a flat one with its edge towards it; "
    "choose another --azimuth-degrees or --elevation-degrees."
)


@dataclass(frozen=True)
class FittedCamera:
    """The camera of a picture, moved in its own plane until the mesh's outline lies on the picture's.

    Attributes:
        camera: for pictures of the picture's size; its principal point is no longer in the middle.
        elevation_degrees: of the camera.
        outline_iou: intersection over union of both outlines, 0..1.
    """

    camera: Camera
    elevation_degrees: float
    outline_iou: float


def fitted_camera(
    mesh: RenderableMesh,
    alpha: Float[np.ndarray, "side side"],
    azimuth_degrees: float,
    elevations_degrees: Sequence[float],
    *,
    field_of_view_degrees: float = 40.0,
) -> FittedCamera:
    """Find the camera whose outline of the mesh fits that of a picture.

    Area and centroid of both outlines are made equal by zoom and shift; of the elevations the one with the largest
    overlap is taken, those that come first being preferred.

    Args:
        mesh: in the unit ball.
        alpha: of the picture, 0..1; something must be in it.
        azimuth_degrees: from where the picture shows the mesh.
        elevations_degrees: the expected one first, then others that may be tried.
        field_of_view_degrees: of the framed picture, before it is fitted.

    Raises:
        UserError: nothing of the mesh is seen from any of them.
    """
    small = cv2.resize(np.ascontiguousarray(alpha), (_OUTLINE_PX, _OUTLINE_PX), interpolation=cv2.INTER_AREA)
    best, best_score = None, -np.inf
    for elevation in elevations_degrees:
        centred = orbit_camera(
            azimuth_degrees,
            elevation,
            field_of_view_degrees=field_of_view_degrees,
            width=_OUTLINE_PX,
            height=_OUTLINE_PX,
        )
        outline = render_depth(mesh, [centred])[0] > 0
        if not outline.any():
            continue
        camera = _onto(centred, outline, small)
        drawn = (render_depth(mesh, [camera])[0] > 0).astype(np.float32)
        iou = float(silhouette_iou(drawn, small))
        score = iou - _CLOSER_BY_A_DEGREE * abs(elevation - elevations_degrees[0])
        if score > best_score:
            best, best_score = FittedCamera(camera.resized(len(alpha), len(alpha)), elevation, iou), score
    if best is None:
        raise UserError(_UNSEEN)
    return best


def _onto(camera: Camera, drawn: np.ndarray, alpha: np.ndarray) -> Camera:
    """The camera zoomed and shifted so that what it drew has the area and centroid of alpha."""
    drawn_area, drawn_x, drawn_y = _moments(drawn.astype(np.float64))
    area, x, y = _moments(alpha.astype(np.float64))
    zoom = np.sqrt(area / drawn_area)
    return replace(
        camera,
        fx=camera.fx * zoom,
        fy=camera.fy * zoom,
        cx=x + zoom * (camera.cx - drawn_x),
        cy=y + zoom * (camera.cy - drawn_y),
    )


def stretched_camera(mesh: RenderableMesh, alpha: Float[np.ndarray, "side side"], camera: Camera) -> Camera:
    """Return the camera with its picture stretched until the mesh's outline has the width and height of alpha's.

    Pictures of other things are laid on a mesh so: as a slide would be that is bent to its frame.

    Args:
        mesh: in the unit ball.
        alpha: of the picture, 0..1; something must be in it.
        camera: for pictures of that size.

    Raises:
        UserError: the camera sees nothing of the mesh.
    """
    outline = render_depth(mesh, [camera])[0] > 0
    if not outline.any():
        raise UserError(_UNSEEN)
    drawn = _box(outline)
    box = _box(alpha > alpha.max() / 2)
    zoom = box[1] / drawn[1]
    across, down = box[0] + zoom * (np.array([camera.cx, camera.cy]) - drawn[0])
    return replace(camera, fx=camera.fx * zoom[0], fy=camera.fy * zoom[1], cx=float(across), cy=float(down))


def _box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corner (x, y) nearest to the picture's first pixel, and size, of what is in a mask."""
    rows, columns = np.nonzero(mask)
    low = np.array([columns.min(), rows.min()])
    return low.astype(np.float64), np.array([columns.max(), rows.max()]) + 1.0 - low


def _moments(mask: np.ndarray) -> tuple[float, float, float]:
    """Area and centroid (x, y) in pixels."""
    rows, columns = np.indices(mask.shape) + 0.5
    area = max(float(mask.sum()), 1e-9)
    return area, float((columns * mask).sum() / area), float((rows * mask).sum() / area)


def picture_texture(
    mesh: TexturedMesh,
    rgba: Float[np.ndarray, "4 side side"],
    camera: Camera,
    texture_size: int,
    progress: Progress,
) -> KnownTexture:
    """Lay a picture's pixels onto the mesh that it shows.

    Pixels are believed less the more slanted the surface is that they show, and not at all beside outlines, where the
    picture and the mesh never quite fit.

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        rgba: the picture, straight RGBA.
        camera: that took it.
        texture_size: texels along a side.
        progress: hears of the stage "picture on the mesh", one step.

    Raises:
        UserError: the camera is inside the object.
        Cancelled: the caller asked to stop.
    """
    projection = TextureProjection(mesh, [camera], texture_size, progress=progress, stage="picture on the mesh")
    colours = extended_colours(torch.from_numpy(premultiply(rgba)).float()[None])
    trust = torch.from_numpy(_trust(prepare(mesh), rgba[3], camera))[None, None]
    laid = average(projection.unproject(torch.cat([colours, trust], 1)))
    return KnownTexture(laid[:3].clamp(0, 1), laid[3:].clamp(0, 1))


def _trust(mesh: RenderableMesh, alpha: np.ndarray, camera: Camera) -> np.ndarray:
    """How far each pixel [side, side] of a picture is believed, float32 in 0..1."""
    rendered = render_views(mesh, [camera], supersampling=1)
    depth, normals = rendered.depth[0], rendered.normals[0]
    rows, columns = np.indices(depth.shape) + 0.5
    points = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=-1), np.ones(depth.size))
    towards = camera.position - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    cosines = (normals.reshape(3, -1).T * towards).sum(axis=1).reshape(depth.shape)
    nearest, farthest = cv2.erode(depth, np.ones((3, 3))), cv2.dilate(depth, np.ones((3, 3)))
    inside = (depth > 0) & (alpha > 0.99) & (farthest - nearest < _JUMP * 512 / len(depth))
    padded = np.pad(inside, 1).astype(np.uint8)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] / len(depth)
    return (_rising(cosines, *_COSINES) * _rising(distances, *_EDGE_SHARES)).astype(np.float32)


def _rising(values: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 up to `start`, 1 from `end` on, smooth between."""
    share = np.clip((values - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)
