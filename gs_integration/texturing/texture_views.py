"""Which pixels see which texels, and the other way round, as sparse matrices that are made once.

Flat numbers: texel = row x S + column of a texture with S texels a side, pixel = (view x h + row) x w + column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_matrix, hstack, vstack

from distill_core.cameras import Camera
from distill_core.progress import Progress
from gs_integration.texturing import texture_projection_kernels as kernels
from renderers.mesh_rendering import RenderableMesh, render_faces
from renderers.texture_space.texel_surface import TexelSurface

EDGE_TRUST = 0.01
"""Weight of pixels beside the background or a jump in depth: what mixes two surfaces counts only where nothing else
sees the texel."""
LEAST_COSINE = 0.1
"""Views flatter than 84 degrees from the normal show a texel too narrow to count."""
_MOST_SAMPLES = 4
_SMALL_VIEW_PX = 128


@dataclass(frozen=True)
class SeenTexels:
    """What the views say about texels.

    Attributes:
        weights: [S x S, V x h x w] bilinear weight times trust.
        cosines: the same entries, times the cosine between surface normal and viewing direction.
    """

    weights: csr_matrix
    cosines: csr_matrix


def texels_a_pixel(mesh: RenderableMesh, surface: TexelSurface, cameras: Sequence[Camera]) -> float:
    """How many texels fit along the side of a pixel, in the middle of the views.

    Args:
        mesh: as it is rendered.
        surface: its texels.
        cameras: of the views.
    """
    centre = (mesh.corners.reshape(-1, 3).min(axis=0) + mesh.corners.reshape(-1, 3).max(axis=0)) / 2
    pixel = np.median([np.linalg.norm(camera.position - centre) / camera.fx for camera in cameras])
    return float(pixel / _texel_width(mesh, surface))


def texels_a_narrow_pixel(mesh: RenderableMesh, surface: TexelSurface, cameras: Sequence[Camera]) -> float:
    """How many texels fit along the side of the narrowest pixel of all: that of the nearest corner in any view.

    Args:
        mesh: as it is rendered.
        surface: its texels.
        cameras: of the views, outside the mesh.
    """
    corners = mesh.corners.reshape(-1, 3)
    pixels = []
    for camera in cameras:
        depths = corners @ camera.world_to_camera[2, :3] + camera.world_to_camera[2, 3]
        in_front = depths[depths > 0]
        if len(in_front):
            pixels.append(in_front.min() / max(camera.fx, camera.fy))
    return float(min(pixels, default=0.0) / _texel_width(mesh, surface))


def _texel_width(mesh: RenderableMesh, surface: TexelSurface) -> float:
    """The mean side of a texel in the mesh's world."""
    corners = mesh.corners
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return max(float(np.sqrt(doubled.sum() / 2 / max(1, len(surface.texels)))), 1e-12)


def samples_for(ratio: float) -> int:
    """Samples along a side of what is `ratio` times as wide as what it is sampled from, 1 to 4."""
    return int(np.clip(round(ratio), 1, _MOST_SAMPLES))


def least_samples(cameras: Sequence[Camera]) -> int:
    """Samples along a side of a pixel that views need whatever their texture: outlines are much of small pictures."""
    return 2 if max(cameras[0].height, cameras[0].width) <= _SMALL_VIEW_PX else 1


def seen_texels(
    mesh: RenderableMesh,
    surface: TexelSurface,
    fine: TexelSurface,
    cameras: Sequence[Camera],
    progress: Progress,
) -> SeenTexels:
    """Find the pixels around every texel in every view that sees it.

    Args:
        mesh: as it is rendered.
        surface: texels that have a row.
        fine: the same texture with a whole number of times as many texels a side; a texel is the mean of its parts.
        cameras: V cameras of one picture size outside the mesh.
        progress: one step a view.

    Raises:
        UserError: a camera inside the object.
        Cancelled: the caller asked to stop.
    """
    parts = fine.size // surface.size
    rows = (fine.texels // fine.size // parts) * surface.size + fine.texels % fine.size // parts
    owned = surface.owner.ravel()[rows] >= 0
    rows, points, normals = rows[owned], fine.points[owned].astype(np.float64), fine.normals[owned].astype(np.float64)
    face_normals = _face_normals(mesh)
    shape = (surface.size**2, cameras[0].height * cameras[0].width)
    weights_of_views, cosines_of_views = [], []
    for camera in cameras:
        rotation = camera.world_to_camera[:3, :3]
        lens = (camera.fx, camera.fy, camera.cx, camera.cy)
        depth, face_ids = render_faces(mesh, camera)
        normals_camera = face_normals @ rotation.T
        trust = np.zeros(depth.shape, np.float32)
        kernels.pixel_trust(depth, face_ids, normals_camera, *lens, EDGE_TRUST, trust)
        pixels, weights = np.zeros((len(rows), 4), np.int32), np.zeros((len(rows), 4), np.float32)
        cosines = np.zeros(len(rows), np.float32)
        kernels.see_texels(
            points @ rotation.T + camera.world_to_camera[:3, 3],
            normals @ rotation.T,
            depth,
            face_ids,
            normals_camera,
            trust,
            *lens,
            LEAST_COSINE,
            pixels,
            weights,
            cosines,
        )
        used = weights > 0
        at = (np.broadcast_to(rows[:, None], used.shape)[used], pixels[used])
        times_cosine = weights * cosines[:, None]
        weights_of_views.append(csr_matrix((weights[used], at), shape))
        cosines_of_views.append(csr_matrix((times_cosine[used], at), shape))
        progress.advance()
    return SeenTexels(_beside(weights_of_views), _beside(cosines_of_views))


def _beside(views: list[csr_matrix]) -> csr_matrix:
    matrix = csr_matrix(hstack(views, format="csr", dtype=np.float32))
    matrix.sum_duplicates()  # also sorts, so that matrices of the same entries keep them in the same order
    return matrix


def _face_normals(mesh: RenderableMesh) -> np.ndarray:
    corners = mesh.corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)


@dataclass(frozen=True)
class ShownTexels:
    """What pixels show of the texture.

    Attributes:
        weights: [V x h x w, S x S]; a pixel's sum to 1 where it shows any, bilinear between texel centres.
        shares: [V, h, w] share of a pixel that the object covers, 0..1.
    """

    weights: csr_matrix
    shares: np.ndarray


def shown_texels(
    mesh: RenderableMesh, cameras: Sequence[Camera], stands_for: Int64[np.ndarray, "size size"], samples: int
) -> ShownTexels:
    """Find the texels that every pixel mixes.

    Args:
        mesh: as it is rendered.
        cameras: V cameras of one picture size outside the mesh.
        stands_for: the texel that is read in a texel's place, -1 = none.
        samples: along a side of a pixel.
    """
    height, width, size = cameras[0].height, cameras[0].width, len(stands_for)
    rows, shares = [], []
    for camera in cameras:
        face_ids, uvs = _samples(mesh, camera, samples)
        columns = np.zeros((height * width, 4 * samples * samples), np.int64)
        weights = np.zeros(columns.shape, np.float32)
        counts = np.zeros(height * width, np.int64)
        kernels.look_up(face_ids, uvs, samples, stands_for, columns, weights, counts)
        used = weights > 0
        pixel = np.broadcast_to(np.arange(height * width)[:, None], used.shape)[used]
        rows.append(csr_matrix((weights[used], (pixel, columns[used])), (height * width, size * size)))
        shares.append((counts / samples**2).reshape(height, width))
    return ShownTexels(csr_matrix(vstack(rows, format="csr", dtype=np.float32)), np.stack(shares))


def noise_weights(mesh: RenderableMesh, cameras: Sequence[Camera], *, size: int, texels_a_pixel: float) -> csr_matrix:
    """The parts of the surface under each pixel, with weights whose squares sum to 1.

    White noise, one number a part, mapped by this is white in every view and the same on the surface in all of them
    (the sum over the footprint divided by its root, Chang et al. 2024, "How I warped your noise"). Parts are cut so
    fine that two pixels hardly ever share one.

    Args:
        mesh: as it is rendered.
        cameras: V cameras of one picture size outside the mesh.
        size: texels along a side of the texture.
        texels_a_pixel: texels along the side of a pixel.

    Returns:
        [V x h x w, parts]; rows of pixels beside the object are empty.
    """
    samples = 2 * least_samples(cameras)
    side = size * int(np.clip(np.ceil(samples / texels_a_pixel), 1, 64))
    rows, parts = [], []
    for number, camera in enumerate(cameras):
        face_ids, uvs = _samples(mesh, camera, samples)
        at_row, at_column = np.nonzero(face_ids >= 0)
        across, up = uvs[at_row, at_column].T
        part = np.clip(((1 - up) * side).astype(np.int64), 0, side - 1) * side
        parts.append(part + np.clip((across * side).astype(np.int64), 0, side - 1))
        pixel = (number * camera.height + at_row // samples) * camera.width + at_column // samples
        rows.append(pixel)
    unique, columns = np.unique(np.concatenate(parts), return_inverse=True)
    shape = (len(cameras) * cameras[0].height * cameras[0].width, max(1, len(unique)))
    counts = csr_matrix((np.ones(len(columns), np.float32), (np.concatenate(rows), columns)), shape)
    counts.sum_duplicates()
    squares = np.asarray(counts.multiply(counts).sum(axis=1)).ravel()
    counts.data /= np.repeat(np.sqrt(np.maximum(squares, 1)), np.diff(counts.indptr)).astype(np.float32)
    return counts


def _samples(mesh: RenderableMesh, camera: Camera, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces and texture coordinates at the samples of a view."""
    finer = camera.resized(camera.width * samples, camera.height * samples)
    _, face_ids = render_faces(mesh, finer)
    uvs = np.zeros((*face_ids.shape, 2))
    corners = mesh.corners @ finer.world_to_camera[:3, :3].T + finer.world_to_camera[:3, 3]
    kernels.surface_uvs(face_ids, corners, mesh.corner_uvs, finer.fx, finer.fy, finer.cx, finer.cy, uvs)
    return face_ids, uvs
