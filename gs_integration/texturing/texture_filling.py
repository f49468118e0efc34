"""What stands in a texture where nothing was seen: colours of the nearest surface that was, or of the nearest chart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import KDTree

from renderers.texture_space.texel_surface import TexelSurface

# A turn of the normal counts as a way along the surface, so that a thin wall's back does not take its front's colour.
_NORMAL_LENGTH = 0.25
_NEIGHBOURS = 6


@dataclass(frozen=True)
class TextureFilling:
    """How the texels of a texture follow from those that were seen.

    Attributes:
        stands_for: [S, S] one seen texel for each texel, itself where it was seen; -1 where none was seen at all.
        weights: [S x S, S x S] mean of the nearest seen texels, for a smooth picture; rows sum to 1.
        filled_share: share of the surface's texels that no view sees, 0..1.
    """

    stands_for: Int64[np.ndarray, "size size"]
    weights: csr_matrix
    filled_share: float


def fill_texture(surface: TexelSurface, seen: Bool[np.ndarray, "size size"]) -> TextureFilling:
    """Find what fills the texels that were not seen.

    On the surface it is the seen texels nearest in space and direction, weighted by inverse squared distance (Shepard
    1968); between charts it is the nearest chart's edge, so that interpolation across the edge meets the chart's own
    colour and smaller copies of the picture stay free of seams.

    Args:
        surface: texels on the mesh.
        seen: which texels have a colour.
    """
    size = surface.size
    seen_here = seen.ravel()[surface.texels]
    filled_share = float(1 - seen_here.mean()) if len(seen_here) else 0.0
    stands_for = np.full(size * size, -1, np.int64)
    known, unknown = surface.texels[seen_here], surface.texels[~seen_here]
    if len(known) == 0:
        return TextureFilling(stands_for.reshape(size, size), csr_matrix((size * size, size * size)), filled_share)
    stands_for[known] = known
    rows, columns, values = [known], [known], [np.ones(len(known))]
    if len(unknown):
        places = np.concatenate([surface.points, _NORMAL_LENGTH * surface.normals], axis=1)
        # Flat surfaces are parallel sheets of points here, among which trees of tight, balanced boxes take ten times
        # as long.
        tree = KDTree(places[seen_here], balanced_tree=False, compact_nodes=False)
        distances, nearest = tree.query(places[~seen_here], k=min(_NEIGHBOURS, len(known)), workers=-1)
        distances, nearest = distances.reshape(len(unknown), -1), nearest.reshape(len(unknown), -1)
        stands_for[unknown] = known[nearest[:, 0]]
        nearness = 1 / np.maximum(distances, 1e-6) ** 2
        rows.append(np.repeat(unknown, nearest.shape[1]))
        columns.append(known[nearest].ravel())
        values.append((nearness / nearness.sum(axis=1, keepdims=True)).ravel())
    at = (np.concatenate(rows), np.concatenate(columns))
    on_surface = coo_matrix((np.concatenate(values), at), shape=(size * size,) * 2).tocsr()
    nearest_owned = _nearest_owned(surface)
    stands_for = stands_for[nearest_owned]
    return TextureFilling(
        stands_for.reshape(size, size), csr_matrix(on_surface[nearest_owned], dtype=np.float32), filled_share
    )


def _nearest_owned(surface: TexelSurface) -> np.ndarray:
    """For every texel [S x S] the nearest that lies on the surface, itself if it does."""
    rows, columns = np.asarray(
        distance_transform_edt(surface.owner < 0, return_distances=False, return_indices=True), np.int64
    )
    return (rows * surface.size + columns).ravel()
