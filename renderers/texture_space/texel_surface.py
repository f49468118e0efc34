"""The surface as a texture sees it: which face owns each texel, and where on the surface its centre lies."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64

from renderers.meshes import TexturedMesh
from renderers.texture_space import texel_kernels as kernels


@dataclass(frozen=True)
class TexelSurface:
    """Texels of a square texture on the surface of a mesh.

    Attributes:
        owner: [S, S] face that owns a texel, -1 where none does; row 0 is the top of the picture (v = 1).
        texels: [N] numbers (row x S + column) of the N texels that have an owner, ascending.
        points: [N, 3] where their centres lie, in the mesh's world.
        normals: [N, 3] unit normals of their faces.
    """

    owner: Int32[np.ndarray, "size size"]
    texels: Int64[np.ndarray, " texels"]
    points: Float32[np.ndarray, "texels 3"]
    normals: Float32[np.ndarray, "texels 3"]

    @property
    def size(self) -> int:
        """Texels along a side."""
        return len(self.owner)


@dataclass(frozen=True)
class TexelClaims:
    """Who claims which texel.

    Attributes:
        owner: [S, S] first face that covers a texel's centre, -1 where none does.
        contested_share: share of the owned texels whose centre another face covers too, 0..1.
        loses: [F] texels that a face covers and another one owns.
    """

    owner: Int32[np.ndarray, "size size"]
    contested_share: float
    loses: Int64[np.ndarray, " faces"]


def texel_corners(corner_uvs: Float[np.ndarray, "faces 3 2"], size: int) -> Float64[np.ndarray, "faces 3 2"]:
    """Corners in texels, x to the right and y down, of texture coordinates (v up) on `size` texels a side."""
    uvs = np.asarray(corner_uvs, np.float64)
    return np.stack([uvs[..., 0] * size, (1 - uvs[..., 1]) * size], axis=-1)


def claim_texels(
    corner_uvs: Float[np.ndarray, "faces 3 2"], size: int, order: Int64[np.ndarray, " faces"] | None = None
) -> TexelClaims:
    """Find the owners of texels, and where faces lie on top of one another in the texture.

    Args:
        corner_uvs: texture coordinates; what lies outside 0..1 owns nothing.
        size: texels along a side.
        order: which face claims first; as numbered, if not given.
    """
    num_faces = len(corner_uvs)
    owner = np.full((size, size), -1, np.int32)
    contested, loses = np.zeros((size, size), bool), np.zeros(num_faces, np.int64)
    order = np.arange(num_faces) if order is None else order
    kernels.claim_texels(texel_corners(corner_uvs, size), order, owner, contested, loses)
    return TexelClaims(owner, float(contested.sum() / max(1, (owner >= 0).sum())), loses)


def texel_surface(mesh: TexturedMesh, size: int) -> TexelSurface:
    """Lay the texels of a texture onto a mesh.

    Args:
        mesh: with texture coordinates in 0..1 that do not overlap.
        size: texels along a side, at least 1.
    """
    owner = claim_texels(mesh.corner_uvs, size).owner
    has_texel = np.zeros(len(mesh.faces), bool)
    has_texel[owner[owner >= 0]] = True
    corners = texel_corners(mesh.corner_uvs, size)
    kernels.claim_for_small_faces(corners, has_texel, owner)
    texels = np.flatnonzero(owner >= 0)
    faces = owner.ravel()[texels]
    weights = _barycentric(corners[faces], texels, size)
    world = mesh.vertices[mesh.faces]
    face_normals = np.cross(world[:, 1] - world[:, 0], world[:, 2] - world[:, 0])
    face_normals /= np.maximum(np.linalg.norm(face_normals, axis=1, keepdims=True), 1e-300)
    return TexelSurface(
        owner=owner,
        texels=texels,
        points=np.einsum("nk,nkd->nd", weights, world[faces]).astype(np.float32),
        normals=face_normals[faces].astype(np.float32),
    )


def _barycentric(corners: np.ndarray, texels: np.ndarray, size: int) -> np.ndarray:
    """Weights [N, 3] of the corners [N, 3, 2] at the centres of texels; a centre beside its face is moved onto it."""
    centres = np.stack([texels % size + 0.5, texels // size + 0.5], axis=-1)
    to_1, to_2, to_centre = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], centres - corners[:, 0]
    area = to_1[:, 0] * to_2[:, 1] - to_2[:, 0] * to_1[:, 1]
    flat = np.abs(area) < 1e-12
    area = np.where(flat, 1, area)
    second = (to_centre[:, 0] * to_2[:, 1] - to_2[:, 0] * to_centre[:, 1]) / area
    third = (to_1[:, 0] * to_centre[:, 1] - to_centre[:, 0] * to_1[:, 1]) / area
    weights = np.maximum(np.stack([1 - second - third, second, third], axis=-1), 0)
    weights[flat] = 1
    return weights / weights.sum(axis=1, keepdims=True)
