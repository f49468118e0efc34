"""Scores of a texture: are its seams visible, and does the mesh that wears it look like the views?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from torch import Tensor

from distill_core.cameras import Camera
from distill_core.metrics import psnr
from renderers.mesh_rendering import prepare, render_views
from renderers.mesh_saving import wearing
from renderers.mesh_topology import shared_edges
from renderers.meshes import TexturedMesh

_MOST_POINTS = 64  # on one edge
_SAME_COORDINATE = 1e-5
_ONE_STEP = 1 / 255  # a difference that eight bits do not show is no seam
_COVERED = 0.999


@dataclass(frozen=True)
class SeamScore:
    """How much colours jump where charts of a texture meet on the surface.

    Attributes:
        ratio: the jump over the change that the texture has there anyway; about 1 where seams are not to be seen.
        across: mean absolute colour difference across seams, half a texel to either side, 0..1.
        beside: the same, at the same distance, within the chart on either side.
        num_edges: edges of the mesh on seams.
    """

    ratio: float
    across: float
    beside: float
    num_edges: int


def seam_score(mesh: TexturedMesh, texture: Float[np.ndarray, "channels size size"]) -> SeamScore:
    """Compare colours across the seams of a texture with colours beside them.

    Args:
        mesh: with the texture coordinates that the texture was made for.
        texture: values in 0..1.
    """
    size = texture.shape[1]
    shared = shared_edges(mesh.vertices, mesh.faces)
    one = _edge(mesh, shared.faces[:, 0], shared.edges[:, 0], size)
    other = _edge(mesh, shared.faces[:, 1], shared.edges[:, 1], size)
    # Neighbours run along their edge in opposite directions, unless one is turned over.
    other = np.where(shared.turned[:, None, None], other, other[:, [1, 0, 2]])
    apart = np.abs(one[:, :2] - other[:, :2]).max(axis=(1, 2)) > _SAME_COORDINATE * size
    one, other = one[apart], other[apart]
    if not apart.any():
        return SeamScore(1.0, 0.0, 0.0, 0)
    lengths = np.linalg.norm(one[:, 1] - one[:, 0], axis=1)
    counts = np.clip(np.ceil(lengths), 1, _MOST_POINTS).astype(np.int64)
    first = np.cumsum(counts) - counts
    along = (np.arange(counts.sum()) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
    near_one, far_one = (_colours(texture, one, counts, along, texels) for texels in (0.5, 1.5))
    near_other, far_other = (_colours(texture, other, counts, along, texels) for texels in (0.5, 1.5))
    across = float(np.abs(near_one - near_other).mean())
    beside = float((np.abs(near_one - far_one).mean() + np.abs(near_other - far_other).mean()) / 2)
    return SeamScore((across + _ONE_STEP) / (beside + _ONE_STEP), across, beside, int(apart.sum()))


def _edge(mesh: TexturedMesh, faces: np.ndarray, edges: np.ndarray, size: int) -> np.ndarray:
    """Start and end of edges and the unit direction into their faces, [E, 3, 2] in texels, v up."""
    uvs = mesh.corner_uvs[faces].astype(np.float64) * size
    rows = np.arange(len(faces))
    start, end, opposite = (uvs[rows, (edges + step) % 3] for step in range(3))
    along = end - start
    inwards = np.stack([-along[:, 1], along[:, 0]], axis=-1)
    inwards *= np.where(np.einsum("ed,ed->e", inwards, opposite - start) < 0, -1, 1)[:, None]
    inwards /= np.maximum(np.linalg.norm(inwards, axis=1, keepdims=True), 1e-12)
    return np.stack([start, end, inwards], axis=1)


def _colours(
    texture: np.ndarray, edges: np.ndarray, counts: np.ndarray, along: np.ndarray, texels: float
) -> np.ndarray:
    """Colours [C, points] at places along edges, so many texels inside the face."""
    start, end, inwards = (np.repeat(edges[:, part], counts, axis=0) for part in range(3))
    places = start + along[:, None] * (end - start) + texels * inwards
    size = texture.shape[1]
    coordinates = np.stack([size - places[:, 1] - 0.5, places[:, 0] - 0.5])
    return np.stack([map_coordinates(channel, coordinates, order=1, mode="nearest") for channel in texture])


def render_texture(
    mesh: TexturedMesh, texture: Float[Tensor, "3 size size"], cameras: Sequence[Camera], *, supersampling: int = 2
) -> Float[Tensor, "views 4 height width"]:
    """Render the mesh with a texture, without light: straight RGBA.

    Args:
        mesh: with the texture coordinates that the texture was made for.
        texture: sRGB values in 0..1.
        cameras: V cameras of one picture size.
        supersampling: samples along a side of a pixel.
    """
    worn = wearing(mesh, texture.detach().cpu().float().numpy())
    return torch.from_numpy(
        render_views(prepare(worn), cameras, supersampling=supersampling, with_normals=False).colour
    )


def consistency_psnr(
    views: Float[Tensor, "views 3 height width"], rendered: Float[Tensor, "views 4 height width"]
) -> Float[Tensor, " views"]:
    """How near each view is to the render of the final texture, in dB inside the object.

    Args:
        views: what the texture was made from, sRGB values in 0..1.
        rendered: from `render_texture`, with the views' cameras.
    """
    return psnr(rendered[:, :3], views.cpu().float(), rendered[:, 3] > _COVERED)
