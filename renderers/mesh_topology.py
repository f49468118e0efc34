"""Which faces meet at an edge."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from renderers.normals import merged_positions


@dataclass(frozen=True)
class SharedEdges:
    """Edges at which exactly two faces meet, positions merged; what meets at other edges is no neighbour.

    Edge k of a face goes from its corner k to its corner (k + 1) % 3.

    Attributes:
        faces: [E, 2] the two faces.
        edges: [E, 2] the number 0..2 of the edge in each of them.
        turned: [E] True where both run along the edge in the same direction: one of them is turned over.
    """

    faces: Int64[np.ndarray, "edges 2"]
    edges: Int64[np.ndarray, "edges 2"]
    turned: Bool[np.ndarray, " edges"]


def shared_edges(vertices: Float64[np.ndarray, "vertices 3"], faces: Int64[np.ndarray, "faces 3"]) -> SharedEdges:
    """Find the edges [E] at which exactly two of the faces [F, 3] on vertices [N, 3] meet."""
    merged = merged_positions(vertices)[faces]
    start, end = merged.ravel(), np.roll(merged, -1, axis=1).ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    key = low * (int(merged.max(initial=0)) + 1) + high
    # An edge between two corners at one position is none.
    key = np.where(low == high, -1 - np.arange(len(key)), key)
    order = np.argsort(key, kind="stable")
    _, first, counts = np.unique(key[order], return_index=True, return_counts=True)
    first = first[counts == 2]
    one, other = order[first], order[first + 1]
    return SharedEdges(
        faces=np.stack([one // 3, other // 3], axis=-1),
        edges=np.stack([one % 3, other % 3], axis=-1),
        turned=start[one] == start[other],
    )
