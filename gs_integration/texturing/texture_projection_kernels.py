"""Numba kernels that tie texels to the pixels that see them, and pixels to the texels that they show.

Letters used in the whole file: N texels on the surface, F faces, H W height and width in pixels, S texels along a side.
Pixels and texels are squares with whole-numbered corners, the centre of the first at (0.5, 0.5). Positions are in
camera axes (OpenCV). A pixel's footprint is its width on a plane that faces the camera at its depth, z / f.
"""

import math

import numba
import numpy as np

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}

# In footprints: how far a neighbouring pixel's surface may lie off the tangent plane and still be the same surface.
# One side of a right-angled crease lies within a footprint and a half of the other's plane.
_OFF_PLANE = 1.5
# Below this share of the bilinear weight on the texel's own surface, the rest is no measurement of its colour.
_LEAST_SHARE = 0.3


@numba.njit(**_OPTIONS)
def pixel_trust(depth, face_ids, face_normals, fx, fy, cx, cy, edge_trust, trust):
    """How far a pixel's colour is that of the surface at its centre.

    Args:
        depth: [H, W] z-depth, 0 where empty.
        face_ids: [H, W] face, -1 where empty.
        face_normals: [F, 3] unit, camera axes.
        fx: focal length in pixels.
        fy: focal length in pixels.
        cx: principal point in pixels.
        cy: principal point in pixels.
        edge_trust: of pixels beside the background or a jump in depth.
        trust: [H, W] zeros, written: 0 in the background, 1 inside.
    """
    height, width = depth.shape
    for row in range(height):
        for column in range(width):
            z = depth[row, column]
            if z == 0.0:
                continue
            face = face_ids[row, column]
            nx, ny, nz = face_normals[face, 0], face_normals[face, 1], face_normals[face, 2]
            x = (column + 0.5 - cx) / fx * z
            y = (row + 0.5 - cy) / fy * z
            trust[row, column] = 1.0
            for step in range(9):
                i = row + step // 3 - 1
                j = column + step % 3 - 1
                if i < 0 or i >= height or j < 0 or j >= width or step == 4:
                    continue
                other = depth[i, j]
                if other == 0.0:
                    trust[row, column] = edge_trust
                    break
                off = nx * ((j + 0.5 - cx) / fx * other - x) + ny * ((i + 0.5 - cy) / fy * other - y) + nz * (other - z)
                if abs(off) > 2.0 * _OFF_PLANE * z / fx:
                    trust[row, column] = edge_trust
                    break


@numba.njit(**_OPTIONS)
def see_texels(
    points, normals, depth, face_ids, face_normals, trust, fx, fy, cx, cy, least_cosine, pixels, weights, cosines
):
    """The pixels around each texel's place in one view, and their bilinear weights.

    A pixel counts where the surface that it shows is the texel's: on its tangent plane, seen from the same side.

    Args:
        points: [N, 3] in camera axes.
        normals: [N, 3] unit, camera axes.
        depth: [H, W] z-depth, 0 where empty.
        face_ids: [H, W] face, -1 where empty.
        face_normals: [F, 3] unit, camera axes.
        trust: [H, W] from `pixel_trust`.
        fx: focal length in pixels.
        fy: focal length in pixels.
        cx: principal point in pixels.
        cy: principal point in pixels.
        least_cosine: flatter views of a texel do not count.
        pixels: [N, 4], written: row x W + column.
        weights: [N, 4] zeros, written: bilinear weight times trust, 0 = unused.
        cosines: [N] zeros, written: between the normal and the direction to the eye, whichever side is seen.
    """
    height, width = depth.shape
    for texel in range(points.shape[0]):
        x, y, z = points[texel, 0], points[texel, 1], points[texel, 2]
        if z <= 0.0:
            continue
        nx, ny, nz = normals[texel, 0], normals[texel, 1], normals[texel, 2]
        towards = -(nx * x + ny * y + nz * z) / math.sqrt(x * x + y * y + z * z)
        cosine = abs(towards)
        if cosine < least_cosine:
            continue
        left = fx * x / z + cx - 0.5
        top = fy * y / z + cy - 0.5
        column = int(math.floor(left))
        row = int(math.floor(top))
        footprint = z / fx
        reach = 3.0 * footprint / cosine
        share = 0.0
        for corner in range(4):
            i = row + corner // 2
            j = column + corner % 2
            if i < 0 or i >= height or j < 0 or j >= width:
                continue
            other = depth[i, j]
            if other == 0.0:
                continue
            dx = (j + 0.5 - cx) / fx * other - x
            dy = (i + 0.5 - cy) / fy * other - y
            dz = other - z
            if abs(nx * dx + ny * dy + nz * dz) > _OFF_PLANE * footprint or dx * dx + dy * dy + dz * dz > reach * reach:
                continue
            face = face_ids[i, j]
            px, py, pz = dx + x, dy + y, dz + z
            if -(face_normals[face, 0] * px + face_normals[face, 1] * py + face_normals[face, 2] * pz) * towards < 0.0:
                continue
            across = left - column if corner % 2 == 1 else 1.0 - (left - column)
            down = top - row if corner // 2 == 1 else 1.0 - (top - row)
            share += across * down
            pixels[texel, corner] = i * width + j
            weights[texel, corner] = across * down * trust[i, j]
        if share < _LEAST_SHARE:
            for corner in range(4):
                weights[texel, corner] = 0.0
        else:
            cosines[texel] = cosine


@numba.njit(**_OPTIONS)
def surface_uvs(face_ids, corners_camera, corner_uvs, fx, fy, cx, cy, uvs):
    """Texture coordinates at the centres of samples.

    Args:
        face_ids: [H, W] face, -1 where empty.
        corners_camera: [F, 3, 3] corners in camera axes.
        corner_uvs: [F, 3, 2] v up.
        fx: focal length in samples.
        fy: focal length in samples.
        cx: principal point in samples.
        cy: principal point in samples.
        uvs: [H, W, 2], written where a face is seen.
    """
    height, width = face_ids.shape
    for row in range(height):
        for column in range(width):
            face = face_ids[row, column]
            if face < 0:
                continue
            x = (column + 0.5 - cx) / fx
            y = (row + 0.5 - cy) / fy
            # Weights of the corners along the ray (x, y, 1): its triple products with the edges' planes.
            b0 = _triple(corners_camera[face, 1], corners_camera[face, 2], x, y)
            b1 = _triple(corners_camera[face, 2], corners_camera[face, 0], x, y)
            b2 = _triple(corners_camera[face, 0], corners_camera[face, 1], x, y)
            total = b0 + b1 + b2
            for axis in range(2):
                uvs[row, column, axis] = (
                    b0 * corner_uvs[face, 0, axis] + b1 * corner_uvs[face, 1, axis] + b2 * corner_uvs[face, 2, axis]
                ) / total


@numba.njit(**_OPTIONS)
def _triple(a, b, x, y):
    """The triple product of two points and the ray (x, y, 1)."""
    return (a[1] * b[2] - a[2] * b[1]) * x + (a[2] * b[0] - a[0] * b[2]) * y + (a[0] * b[1] - a[1] * b[0])


@numba.njit(**_OPTIONS)
def look_up(face_ids, uvs, samples, stands_for, columns, weights, counts):
    """The texels that a pixel's samples mix, bilinear between texel centres.

    Args:
        face_ids: [H x samples, W x samples] face, -1 where empty.
        uvs: [H x samples, W x samples, 2] from `surface_uvs`.
        samples: along a side of a pixel.
        stands_for: [S, S] the texel that is read in a texel's place, -1 = none.
        columns: [H x W, 4 x samples^2], written: texels.
        weights: [H x W, 4 x samples^2] zeros, written; a pixel's sum to 1.
        counts: [H x W] zeros, written: samples on the surface.
    """
    height, width = face_ids.shape[0] // samples, face_ids.shape[1] // samples
    size = stands_for.shape[0]
    for row in range(height):
        for column in range(width):
            pixel = row * width + column
            entry = 0
            total = 0.0
            for sample in range(samples * samples):
                i = row * samples + sample // samples
                j = column * samples + sample % samples
                if face_ids[i, j] < 0:
                    continue
                counts[pixel] += 1
                left = uvs[i, j, 0] * size - 0.5
                top = (1.0 - uvs[i, j, 1]) * size - 0.5
                texel_column = int(math.floor(left))
                texel_row = int(math.floor(top))
                for corner in range(4):
                    down = top - texel_row if corner // 2 == 1 else 1.0 - (top - texel_row)
                    across = left - texel_column if corner % 2 == 1 else 1.0 - (left - texel_column)
                    a = min(max(texel_row + corner // 2, 0), size - 1)
                    b = min(max(texel_column + corner % 2, 0), size - 1)
                    if stands_for[a, b] >= 0 and across * down > 0.0:
                        columns[pixel, entry] = stands_for[a, b]
                        weights[pixel, entry] = across * down
                        total += across * down
                        entry += 1
            if total > 0.0:
                for k in range(entry):
                    weights[pixel, k] /= np.float32(total)
