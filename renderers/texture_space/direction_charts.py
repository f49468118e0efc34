"""Texture coordinates of large meshes: charts cut by the direction that the surface faces, laid flat by projection.

Every face goes to one of the six directions of the axes; what hangs together of one direction is a chart, seen along
it. Where a chart covers itself (a coil, a fold), the lower sheet becomes a chart of its own. Lengths shrink by the
cosine of the tilt and no more, and the work grows with the number of faces alone.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from renderers.mesh_topology import shared_edges
from renderers.texture_space.chart_packing import pack_rectangles
from renderers.texture_space.texel_surface import claim_texels

_AXES = np.concatenate([np.eye(3), -np.eye(3)])
_SMOOTHING_ROUNDS = 12
_LEAST_COSINE = 0.25  # a face that turns further away from its chart would keep less than a quarter of its area
_SMALL_CHART_SHARE = 2e-4  # of the surface; charts below join a neighbour if they can
_MERGING_ROUNDS = 4
_LAYER_ROUNDS = 8
_TURNS = 8  # of a chart in its quarter, to find the smallest box


def unwrap_by_direction(
    vertices: Float64[np.ndarray, "vertices 3"],
    faces: Int64[np.ndarray, "faces 3"],
    *,
    texture_size: int,
    padding_texels: int,
) -> Float32[np.ndarray, "faces 3 2"]:
    """Texture coordinates in 0..1 (v up) without overlaps, but for single texels of surfaces coiled eightfold.

    Args:
        vertices: of a mesh of about unit size.
        faces: each with an area.
        texture_size: texels along a side, for which overlaps are looked for and gaps are kept.
        padding_texels: free texels around each chart.

    Raises:
        UserError: more charts than the texture has room for.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled_areas = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(doubled_areas, 1e-300)[:, None]
    pairs = shared_edges(vertices, faces).faces
    axis = _smooth_axes(normals, doubled_areas, pairs)
    axis = _without_small_charts(axis, normals, doubled_areas, pairs)
    # The sheet nearest to the eye of its chart claims texels first, so that whole sheets stay together.
    height = np.einsum("fd,fd->f", corners.mean(axis=1), _AXES[axis])
    order = np.argsort(-height, kind="stable")
    layer = np.zeros(len(faces), np.int64)
    rounds = 0
    while True:
        charts = _connected(axis + 6 * layer, pairs)
        corner_uvs = _packed(_flattened(corners, axis, charts), charts, texture_size, padding_texels)
        loses = claim_texels(corner_uvs, texture_size, order).loses > 0
        rounds += 1
        if not loses.any() or rounds == _LAYER_ROUNDS:
            return corner_uvs
        layer[loses] += 1


def _smooth_axes(normals: np.ndarray, areas: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The axis [F] that each face goes to: its own, told by its surroundings where that can be."""
    one, other = pairs.T
    num_faces = len(normals)
    weights = np.concatenate([areas[other], areas[one], areas])
    rows = np.concatenate([one, other, np.arange(num_faces)])
    columns = np.concatenate([other, one, np.arange(num_faces)])
    means = coo_matrix((weights, (rows, columns)), shape=(num_faces, num_faces)).tocsr()
    means = csr_matrix(means.multiply(1 / np.maximum(means.sum(axis=1), 1e-300)))
    cosines = normals @ _AXES.T
    smooth = normals
    for _ in range(_SMOOTHING_ROUNDS):
        smooth = means @ smooth
    wanted = (smooth @ _AXES.T).argmax(axis=1)
    possible = cosines[np.arange(num_faces), wanted] > _LEAST_COSINE
    return np.where(possible, wanted, cosines.argmax(axis=1))


def _connected(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The chart [F] of each face: what hangs together over shared edges with one label."""
    one, other = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]].T
    graph = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(len(labels), len(labels)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _without_small_charts(axis: np.ndarray, normals: np.ndarray, areas: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Axes [F] after small charts have gone to the neighbour that they share most edges with."""
    for _ in range(_MERGING_ROUNDS):
        charts = _connected(axis, pairs)
        num_charts = int(charts.max()) + 1
        small = np.bincount(charts, areas, minlength=num_charts) < _SMALL_CHART_SHARE * areas.sum()
        borders = np.concatenate([pairs, pairs[:, ::-1]])
        inside, outside = borders[(axis[borders[:, 0]] != axis[borders[:, 1]]) & small[charts[borders[:, 0]]]].T
        votes = np.zeros((num_charts, 6))
        np.add.at(votes, (charts[inside], axis[outside]), 1)
        least = np.full((num_charts, 6), 1.0)
        np.minimum.at(least, charts, normals @ _AXES.T)
        votes[least < _LEAST_COSINE] = 0
        goes = votes.max(axis=1) > 0
        if not goes.any():
            break
        axis = np.where(goes[charts], votes.argmax(axis=1)[charts], axis)
    return axis


def _flattened(corners: np.ndarray, axis: np.ndarray, charts: np.ndarray) -> np.ndarray:
    """Corners [F, 3, 2] in world units on the planes of their charts, each chart turned to its smallest box at 0, 0."""
    # Right and up of an eye that looks against the axis: their cross product is the axis, so no chart is mirrored.
    right = np.roll(_AXES, 1, axis=1)
    up = np.cross(_AXES, right)
    flat = np.stack(
        [np.einsum("fkd,fd->fk", corners, right[axis]), np.einsum("fkd,fd->fk", corners, up[axis])], axis=-1
    )
    num_charts = int(charts.max()) + 1
    best_area = np.full(num_charts, np.inf)
    best_turn = np.zeros(num_charts)
    for turn in np.arange(_TURNS) * (np.pi / 2 / _TURNS):
        low, high = _boxes(_turned(flat, np.full(len(flat), turn)), charts, num_charts)
        area = (high - low).prod(axis=1)
        smaller = area < best_area * (1 - 1e-9)
        best_area[smaller], best_turn[smaller] = area[smaller], turn
    turned = _turned(flat, best_turn[charts])
    low, high = _boxes(turned, charts, num_charts)
    # A quarter more, where that lays the long side down: shelves of low boxes waste little.
    upright = ((high - low)[:, 1] > (high - low)[:, 0])[charts]
    turned = np.where(upright[:, None, None], np.stack([-turned[..., 1], turned[..., 0]], axis=-1), turned)
    low, _ = _boxes(turned, charts, num_charts)
    return turned - low[charts][:, None]


def _turned(flat: np.ndarray, angles: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.stack([cosine * flat[..., 0] - sine * flat[..., 1], sine * flat[..., 0] + cosine * flat[..., 1]], axis=-1)


def _boxes(flat: np.ndarray, charts: np.ndarray, num_charts: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full((num_charts, 2), np.inf), np.full((num_charts, 2), -np.inf)
    np.minimum.at(low, charts, flat.min(axis=1))
    np.maximum.at(high, charts, flat.max(axis=1))
    return low, high


def _packed(flat: np.ndarray, charts: np.ndarray, texture_size: int, padding_texels: int) -> np.ndarray:
    """Texture coordinates [F, 3, 2] float32 of flattened charts, all at one scale."""
    _, high = _boxes(flat, charts, int(charts.max()) + 1)
    places, scale = pack_rectangles(high, texture_size, padding_texels)
    texels = flat * scale + places[charts][:, None]
    return (texels / texture_size).astype(np.float32)
