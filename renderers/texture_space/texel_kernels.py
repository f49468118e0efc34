"""Numba kernels that find which face owns which texel.

Letters used in the whole file: F faces, S texels along a side. Positions are in texels, x to the right, y down from the
top left corner of the texture, the centre of the first texel at (0.5, 0.5).
"""

import math

import numba

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}

# A texel whose centre lies on the edge of two neighbours belongs to both by a hair; only deeper inside does it count as
# contested. As a share of the face's height over that edge: coordinates of single precision are good to about 1e-4.
_INSIDE = 2e-3


@numba.njit(**_OPTIONS)
def claim_texels(corners, order, owner, contested, loses):
    """Give each texel whose centre a face covers to that face; who comes first keeps it.

    Args:
        corners: [F, 3, 2] corners of the faces in texels.
        order: [F] the faces in the order in which they claim.
        owner: [S, S] filled with -1, written: the face.
        contested: [S, S] False, written: whether another face covers the centre too, edges not counted.
        loses: [F] zeros, written: texels that the face covers and another one owns.
    """
    height, width = owner.shape
    for face in order:
        x0, y0 = corners[face, 0, 0], corners[face, 0, 1]
        x1, y1 = corners[face, 1, 0], corners[face, 1, 1]
        x2, y2 = corners[face, 2, 0], corners[face, 2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not abs(area) > 1e-12:
            continue
        row_first = max(0, int(math.ceil(min(y0, y1, y2) - 0.5)))
        row_last = min(height - 1, int(math.floor(max(y0, y1, y2) - 0.5)))
        column_first = max(0, int(math.ceil(min(x0, x1, x2) - 0.5)))
        column_last = min(width - 1, int(math.floor(max(x0, x1, x2) - 0.5)))
        for row in range(row_first, row_last + 1):
            y = row + 0.5
            for column in range(column_first, column_last + 1):
                x = column + 0.5
                b1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                b2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                inside = min(b1, b2, 1.0 - b1 - b2)
                if inside < -1e-9:
                    continue
                if owner[row, column] < 0:
                    owner[row, column] = face
                elif inside > _INSIDE:
                    contested[row, column] = True
                    loses[face] += 1


@numba.njit(**_OPTIONS)
def claim_for_small_faces(corners, has_texel, owner):
    """Give faces that cover no texel's centre the texel under their middle, where it is free.

    Args:
        corners: [F, 3, 2] corners of the faces in texels.
        has_texel: [F] whether the face owns a texel already.
        owner: [S, S] face or -1, written.
    """
    height, width = owner.shape
    for face in range(corners.shape[0]):
        if has_texel[face]:
            continue
        x = (corners[face, 0, 0] + corners[face, 1, 0] + corners[face, 2, 0]) / 3.0
        y = (corners[face, 0, 1] + corners[face, 1, 1] + corners[face, 2, 1]) / 3.0
        column = min(max(int(math.floor(x)), 0), width - 1)
        row = min(max(int(math.floor(y)), 0), height - 1)
        if owner[row, column] < 0:
            owner[row, column] = face
