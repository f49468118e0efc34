"""Fast renderer of textured meshes on the CPU: a z-buffer, deferred shading, supersampling.

Made for training views: about two thousand triangles at 128 px. Cameras look at the object from outside;
a mesh that reaches behind a camera is refused. Colour is base colour times a light baked into the corners
(`lighting.py`), without which it is the bare base colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.srgb import linear_to_srgb
from renderers import mesh_rendering_kernels as kernels
from renderers.meshes import TexturedMesh
from renderers.normals import shading_normals

_MAX_LEVELS = 8
_ENCODE_STEPS = 4096


@dataclass(frozen=True)
class RenderableMesh:
    """A mesh laid out for the kernels; made once by `prepare`.

    Args:
        corners: [F, 3, 3] world positions of the corners of F faces.
        corner_normals: [F, 3, 3] unit shading normals.
        corner_uvs: [F, 3, 2] texture coordinates, v up, repeating.
        corner_colours: [F, 3, 3] linear factors on the texture: the mesh's own corner colours times the light.
        face_picture: [F] index of the face's picture.
        picture_has_holes: [pictures] True where alpha cuts holes.
        levels: [pictures, 8, 3] offset, height, width of the mip levels in `texels`; height 0 = no such level.
        texels: [T, 4] linear colour and alpha.
    """

    corners: np.ndarray
    corner_normals: np.ndarray
    corner_uvs: np.ndarray
    corner_colours: np.ndarray
    face_picture: np.ndarray
    picture_has_holes: np.ndarray
    levels: np.ndarray
    texels: np.ndarray


@dataclass(frozen=True)
class RenderedViews:
    """Pictures of a mesh.

    Args:
        colour: [V, 4, H, W] straight sRGB colour and coverage, 0..1.
        depth: [V, H, W] z-depth at pixel centres, 0 where empty.
        normals: [V, 3, H, W] world space, unit, facing the camera, 0 where empty.
        face_ids: [V, H, W] face at pixel centres, -1 where empty.
    """

    colour: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    face_ids: np.ndarray


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1 (IEC 61966-2-1)."""
    values = np.asarray(values, np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


_ENCODE = linear_to_srgb(np.linspace(0, 1, _ENCODE_STEPS + 1))


def prepare(mesh: TexturedMesh, *, corner_light: np.ndarray | None = None) -> RenderableMesh:
    """Lay a mesh out for `render_views`.

    Args:
        mesh: What to render.
        corner_light: [F, 3, 3] linear RGB light at the corners; None renders the bare base colour.

    Returns:
        Arrays that do not depend on a camera.
    """
    levels, texels = _mip_pyramids([picture.astype(np.float32) / 255 for picture in mesh.base_colours])
    corner_colours = np.ones((len(mesh.faces), 3, 3), np.float32)
    if mesh.corner_colours is not None:
        corner_colours *= mesh.corner_colours[..., :3]
    if corner_light is not None:
        corner_colours = corner_colours * corner_light.astype(np.float32)
    return RenderableMesh(
        corners=np.ascontiguousarray(mesh.vertices[mesh.faces], dtype=np.float64),
        corner_normals=np.ascontiguousarray(shading_normals(mesh), dtype=np.float32),
        corner_uvs=np.ascontiguousarray(mesh.corner_uvs, dtype=np.float32),
        corner_colours=np.ascontiguousarray(corner_colours, dtype=np.float32),
        face_picture=np.ascontiguousarray(mesh.face_picture, dtype=np.int64),
        picture_has_holes=np.array([bool((picture[..., 3] < 128).any()) for picture in mesh.base_colours]),
        levels=levels,
        texels=texels,
    )


def render_views(
    mesh: RenderableMesh,
    cameras: Sequence[Camera],
    *,
    supersampling: int = 2,
    with_normals: bool = True,
) -> RenderedViews:
    """Render a mesh from several cameras of one picture size.

    Args:
        mesh: From `prepare`.
        cameras: V cameras outside the mesh.
        supersampling: Samples a side of a pixel for colour and alpha; depth, normals and faces are taken at pixel
            centres.
        with_normals: False leaves `normals` zero, which saves a tenth of the time.

    Returns:
        The pictures.

    Raises:
        UserError: a camera is inside the object or the object reaches behind it.
        ValueError: the cameras differ in picture size.
    """
    width, height = cameras[0].width, cameras[0].height
    if any((camera.width, camera.height) != (width, height) for camera in cameras):
        raise ValueError("expected cameras of one picture size")
    views = RenderedViews(
        colour=np.zeros((len(cameras), 4, height, width), np.float32),
        depth=np.zeros((len(cameras), height, width), np.float32),
        normals=np.zeros((len(cameras), 3, height, width), np.float32),
        face_ids=np.full((len(cameras), height, width), -1, np.int32),
    )
    for index, camera in enumerate(cameras):
        corners_camera = _corners_in_camera(mesh, camera)
        edges, inverse_depths = _edges(corners_camera, camera, 1)
        z_buffer = _z_buffer(mesh, edges, inverse_depths, views.face_ids[index])
        np.divide(1, z_buffer, out=views.depth[index], where=z_buffer > 0)
        if with_normals:
            kernels.interpolate_normals(
                views.face_ids[index], edges, inverse_depths, mesh.corner_normals, views.normals[index]
            )
        if supersampling > 1:
            edges, inverse_depths = _edges(corners_camera, camera, supersampling)
            sample_faces = np.full((height * supersampling, width * supersampling), -1, np.int32)
            _z_buffer(mesh, edges, inverse_depths, sample_faces)
        else:
            sample_faces = views.face_ids[index]
        _shade(mesh, edges, inverse_depths, sample_faces, supersampling, views.colour[index])
    return views


def render_depth(mesh: RenderableMesh, cameras: Sequence[Camera]) -> np.ndarray:
    """Z-depth at pixel centres alone, a fraction of the cost of `render_views`.

    Args:
        mesh: From `prepare`.
        cameras: V cameras of one picture size outside the mesh.

    Returns:
        [V, H, W] world units, 0 where empty.
    """
    return np.stack([render_faces(mesh, camera)[0] for camera in cameras])


def render_faces(mesh: RenderableMesh, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Z-depth and face at pixel centres, for one camera.

    Args:
        mesh: From `prepare`.
        camera: Outside the mesh.

    Returns:
        Depth [H, W] float32 in world units, 0 where empty, and faces [H, W] int32, -1 where empty.

    Raises:
        UserError: the camera is inside the object or the object reaches behind it.
    """
    depth = np.zeros((camera.height, camera.width), np.float32)
    face_ids = np.full(depth.shape, -1, np.int32)
    edges, inverse_depths = _edges(_corners_in_camera(mesh, camera), camera, 1)
    z_buffer = _z_buffer(mesh, edges, inverse_depths, face_ids)
    np.divide(1, z_buffer, out=depth, where=z_buffer > 0)
    return depth, face_ids


def _corners_in_camera(mesh: RenderableMesh, camera: Camera) -> np.ndarray:
    world_to_camera = camera.world_to_camera
    corners = (mesh.corners.reshape(-1, 3) @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]).reshape(-1, 3, 3)
    nearest = corners[..., 2].min()
    if nearest <= 1e-6:
        raise UserError(
            f"Expected a camera outside the object, got one with the object reaching to depth {nearest:.3g}; "
            "move the camera away."
        )
    return corners


def _edges(corners_camera: np.ndarray, camera: Camera, samples: int) -> tuple[np.ndarray, np.ndarray]:
    edges = np.zeros((len(corners_camera), 14))
    inverse_depths = np.zeros((len(corners_camera), 3))
    kernels.set_up_faces(
        corners_camera,
        camera.fx * samples,
        camera.fy * samples,
        camera.cx * samples,
        camera.cy * samples,
        edges,
        inverse_depths,
    )
    return edges, inverse_depths


def _z_buffer(mesh: RenderableMesh, edges: np.ndarray, inverse_depths: np.ndarray, face_ids: np.ndarray) -> np.ndarray:
    z_buffer = np.zeros(face_ids.shape, np.float32)
    kernels.fill_z_buffer(
        edges,
        inverse_depths,
        mesh.corner_uvs,
        mesh.face_picture,
        mesh.picture_has_holes,
        mesh.levels,
        mesh.texels,
        z_buffer,
        face_ids,
    )
    return z_buffer


def _shade(
    mesh: RenderableMesh,
    edges: np.ndarray,
    inverse_depths: np.ndarray,
    sample_faces: np.ndarray,
    samples: int,
    colour: np.ndarray,
) -> None:
    face_levels = np.zeros(len(mesh.corners), np.int64)
    kernels.choose_levels(edges, inverse_depths, mesh.corner_uvs, mesh.face_picture, mesh.levels, face_levels)
    kernels.shade(
        sample_faces,
        edges,
        inverse_depths,
        mesh.corner_uvs,
        mesh.corner_colours,
        mesh.face_picture,
        face_levels,
        mesh.levels,
        mesh.texels,
        _ENCODE,
        samples,
        colour,
    )


def _mip_pyramids(pictures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mip levels of sRGB RGBA pictures [h, w, 4] in 0..1, in linear light, one after the other."""
    levels = np.zeros((len(pictures), _MAX_LEVELS, 3), np.int64)
    parts: list[np.ndarray] = []
    offset = 0
    for index, picture in enumerate(pictures):
        level = np.concatenate([srgb_to_linear(picture[..., :3]), picture[..., 3:]], axis=-1)
        for number in range(_MAX_LEVELS):
            levels[index, number] = offset, level.shape[0], level.shape[1]
            parts.append(level.reshape(-1, 4))
            offset += parts[-1].shape[0]
            if min(level.shape[:2]) < 2:
                break
            height, width = level.shape[0] // 2 * 2, level.shape[1] // 2 * 2
            level = level[:height, :width].reshape(height // 2, 2, width // 2, 2, 4).mean((1, 3))
    return levels, np.concatenate(parts).astype(np.float32)
