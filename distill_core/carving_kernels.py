"""Numba kernel of space carving along a picture's own rays."""

import math

import numba

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}


@numba.njit(**_OPTIONS)
def carve(silhouette, intrinsics, camera_to_world, nearest_depth, radius, matrices, depths, margin, occupied):
    """Mark the cells of a frustum that no view sees to be free.

    A cell's centre is free where a view shows background there, or a surface behind it, and outside the ball.

    Args:
        silhouette: [h, w] coverage of the source; cells of empty pixels stay 0.
        intrinsics: fx fy cx cy of the source for pictures of w x h pixels.
        camera_to_world: [4, 4] source camera, OpenCV axes.
        nearest_depth: Z-depth where the first bin begins.
        radius: Radius of the ball; the bins span 2 radius.
        matrices: [V, 3, 4] world to (x z, y z, z) of the carving views, in pixels.
        depths: [V, H, W] z-depth of the carving views, 0 where empty.
        margin: World units by which a surface must lie behind a cell to free it.
        occupied: [bins, h, w] uint8 zeros, written: 1 = occupied.
    """
    bins, height, width = occupied.shape
    views, rows, columns = depths.shape
    for row in range(height):
        y = (row + 0.5 - intrinsics[3]) / intrinsics[1]
        for column in range(width):
            if silhouette[row, column] < 0.02:
                continue
            x = (column + 0.5 - intrinsics[2]) / intrinsics[0]
            for index in range(bins):
                z = nearest_depth + (index + 0.5) * 2.0 * radius / bins
                px = camera_to_world[0, 0] * x * z + camera_to_world[0, 1] * y * z + camera_to_world[0, 2] * z
                py = camera_to_world[1, 0] * x * z + camera_to_world[1, 1] * y * z + camera_to_world[1, 2] * z
                pz = camera_to_world[2, 0] * x * z + camera_to_world[2, 1] * y * z + camera_to_world[2, 2] * z
                px += camera_to_world[0, 3]
                py += camera_to_world[1, 3]
                pz += camera_to_world[2, 3]
                if px * px + py * py + pz * pz > radius * radius:
                    continue
                free = False
                for view in range(views):
                    depth = (
                        matrices[view, 2, 0] * px
                        + matrices[view, 2, 1] * py
                        + matrices[view, 2, 2] * pz
                        + matrices[view, 2, 3]
                    )
                    u = (
                        matrices[view, 0, 0] * px
                        + matrices[view, 0, 1] * py
                        + matrices[view, 0, 2] * pz
                        + matrices[view, 0, 3]
                    ) / depth
                    v = (
                        matrices[view, 1, 0] * px
                        + matrices[view, 1, 1] * py
                        + matrices[view, 1, 2] * pz
                        + matrices[view, 1, 3]
                    ) / depth
                    pixel_row = int(math.floor(v))
                    pixel_column = int(math.floor(u))
                    if pixel_row < 0 or pixel_row >= rows or pixel_column < 0 or pixel_column >= columns:
                        continue
                    surface = depths[view, pixel_row, pixel_column]
                    if surface == 0.0 or depth < surface - margin:
                        free = True
                        break
                if not free:
                    occupied[index, row, column] = 1
