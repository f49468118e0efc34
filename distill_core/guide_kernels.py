"""Numba kernels of the guide on the CPU: rays marched through a solid, source pixels carried to target pixels.

`guide.py` has the same in torch for other devices; tests hold the two together.
"""

import math

import numba
import numpy as np

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}
_NEAREST_Z = np.float32(1e-3)
"""Points behind the source camera are taken to be this far before it: a place beside the volume, not infinity."""


@numba.njit(**_OPTIONS, fastmath={"nnan", "nsz", "contract"})
def march(
    volume,
    source_intrinsics,
    world_to_source,
    nearest_depth,
    radius,
    intrinsics,
    camera_to_world,
    samples,
    mask,
    depth,
    thickness,
):
    """Largest occupancy on every ray of a target camera, the z-depth of the first surface, the integral of occupancy.

    The samples of a ray are taken in two loops without branches, places first and values after, which compilers turn
    into vector instructions: three times faster than one loop that leaves out what is empty.

    Args:
        volume: [h, w, D] occupancy in the source's frustum; neighbours along a ray are neighbours in memory.
        source_intrinsics: fx fy cx cy of the source for pictures of w x h pixels.
        world_to_source: [3, 4] into source camera axes.
        nearest_depth: Z-depth where the first bin begins; the bins span 2 radius.
        radius: Radius of the ball that holds the object.
        intrinsics: fx fy cx cy of the target.
        camera_to_world: [3, 4] of the target.
        samples: Points a ray inside the ball.
        mask: [H, W], written.
        depth: [H, W], written.
        thickness: [H, W] world units along the ray, written.
    """
    height, width = mask.shape
    rows, columns, bins = volume.shape
    # Zeros all around: what lies outside needs no question, only a place that is held to the border.
    padded = np.zeros((rows + 3, columns + 3, bins + 3), np.float32)
    padded[1:-2, 1:-2, 1:-2] = volume
    flat = padded.ravel()
    next_row = np.int32((columns + 3) * (bins + 3))
    next_column = np.int32(bins + 3)
    last_x, last_y, last_z = np.float32(columns + 1), np.float32(rows + 1), np.float32(bins + 1)
    zero, one = np.float32(0.0), np.float32(1.0)
    bins_a_unit = np.float32(bins / (2.0 * radius))
    nearest = np.float32(nearest_depth)
    focal_x, focal_y = np.float32(source_intrinsics[0]), np.float32(source_intrinsics[1])
    # Centres of cells lie at 0.5; with the border of one cell the first centre is at 1.
    middle_x, middle_y = np.float32(source_intrinsics[2] + 0.5), np.float32(source_intrinsics[3] + 0.5)
    along_chord = np.zeros(samples, np.float32)
    for index in range(samples):
        along_chord[index] = (index + 0.5) / samples * 2.0 - 1.0
    places = np.zeros(samples, np.int32)
    shares = np.zeros((3, samples), np.float32)
    values = np.zeros(samples, np.float32)
    to_source = world_to_source
    ox, oy, oz = camera_to_world[0, 3], camera_to_world[1, 3], camera_to_world[2, 3]
    # Rays in source camera axes: start + distance * slope.
    start_x = np.float32(to_source[0, 0] * ox + to_source[0, 1] * oy + to_source[0, 2] * oz + to_source[0, 3])
    start_y = np.float32(to_source[1, 0] * ox + to_source[1, 1] * oy + to_source[1, 2] * oz + to_source[1, 3])
    start_z = np.float32(to_source[2, 0] * ox + to_source[2, 1] * oy + to_source[2, 2] * oz + to_source[2, 3])
    for row in range(height):
        cy = (row + 0.5 - intrinsics[3]) / intrinsics[1]
        for column in range(width):
            cx = (column + 0.5 - intrinsics[2]) / intrinsics[0]
            norm = math.sqrt(cx * cx + cy * cy + 1.0)
            dx = (camera_to_world[0, 0] * cx + camera_to_world[0, 1] * cy + camera_to_world[0, 2]) / norm
            dy = (camera_to_world[1, 0] * cx + camera_to_world[1, 1] * cy + camera_to_world[1, 2]) / norm
            dz = (camera_to_world[2, 0] * cx + camera_to_world[2, 1] * cy + camera_to_world[2, 2]) / norm
            along = -(ox * dx + oy * dy + oz * dz)
            chord = radius * radius - (ox * ox + oy * oy + oz * oz - along * along)
            if chord <= 0.0:
                depth[row, column] = along / norm
                continue
            half = math.sqrt(chord)
            middle, reach = np.float32(along), np.float32(half)
            slope_x = np.float32(to_source[0, 0] * dx + to_source[0, 1] * dy + to_source[0, 2] * dz)
            slope_y = np.float32(to_source[1, 0] * dx + to_source[1, 1] * dy + to_source[1, 2] * dz)
            slope_z = np.float32(to_source[2, 0] * dx + to_source[2, 1] * dy + to_source[2, 2] * dz)
            for index in range(samples):
                distance = middle + reach * along_chord[index]
                z = start_z + distance * slope_z
                inverse = one / (z if z > _NEAREST_Z else _NEAREST_Z)
                x = (start_x + distance * slope_x) * inverse * focal_x + middle_x
                y = (start_y + distance * slope_y) * inverse * focal_y + middle_y
                z = (z - nearest) * bins_a_unit + np.float32(0.5)
                x = zero if x < zero else (last_x if x > last_x else x)
                y = zero if y < zero else (last_y if y > last_y else y)
                z = zero if z < zero else (last_z if z > last_z else z)
                x_floor, y_floor, z_floor = np.int32(x), np.int32(y), np.int32(z)
                places[index] = y_floor * next_row + x_floor * next_column + z_floor
                shares[0, index] = x - np.float32(x_floor)
                shares[1, index] = y - np.float32(y_floor)
                shares[2, index] = z - np.float32(z_floor)
            for index in range(samples):
                here = places[index]
                right = here + next_column
                below = here + next_row
                diagonal = below + next_column
                share_x, share_y, share_z = shares[0, index], shares[1, index], shares[2, index]
                value_here = flat[here] + (flat[here + 1] - flat[here]) * share_z
                value_right = flat[right] + (flat[right + 1] - flat[right]) * share_z
                value_below = flat[below] + (flat[below + 1] - flat[below]) * share_z
                value_diagonal = flat[diagonal] + (flat[diagonal + 1] - flat[diagonal]) * share_z
                upper = value_here + (value_right - value_here) * share_x
                lower = value_below + (value_diagonal - value_below) * share_x
                values[index] = upper + (lower - upper) * share_y
            largest = zero
            total = zero
            for index in range(samples):
                largest = max(largest, values[index])
                total += values[index]
            mask[row, column] = largest
            thickness[row, column] = total * 2.0 * half / samples
            threshold = min(max(largest * 0.5, 1e-3), 0.5)
            crossing = samples - 1.0
            for index in range(samples):
                if values[index] >= threshold:
                    crossing = float(index)
                    if index > 0:
                        before = values[index - 1]
                        share = (threshold - before) / max(values[index] - before, 1e-6)
                        crossing = index - 1 + min(max(share, 0.0), 1.0)
                    break
            depth[row, column] = (along + half * ((crossing + 0.5) / samples * 2.0 - 1.0)) / norm


@numba.njit(**_OPTIONS)
def _bilinear(plane, x, y):
    """Value of a plane [h, w] at pixel coordinates with centres at integers, edges repeated."""
    height, width = plane.shape
    x = min(max(x, 0.0), width - 1.0)
    y = min(max(y, 0.0), height - 1.0)
    x0 = min(int(x), width - 2) if width > 1 else 0
    y0 = min(int(y), height - 2) if height > 1 else 0
    x1 = min(x0 + 1, width - 1)
    y1 = min(y0 + 1, height - 1)
    wx = x - x0
    wy = y - y0
    top = plane[y0, x0] * (1.0 - wx) + plane[y0, x1] * wx
    bottom = plane[y1, x0] * (1.0 - wx) + plane[y1, x1] * wx
    return top * (1.0 - wy) + bottom * wy


@numba.njit(**_OPTIONS)
def lift(
    source_colour,
    source_alpha,
    source_depth,
    source_intrinsics,
    world_to_source,
    intrinsics,
    camera_to_world,
    target_depth,
    tolerance,
    colour,
    seen,
):
    """Source colour at the surface point of every target pixel, and how surely the source sees that point.

    Args:
        source_colour: [3, H, W] straight colour, known everywhere.
        source_alpha: [H, W] 0..1.
        source_depth: [h, w] z-depth of the source's first surface.
        source_intrinsics: fx fy cx cy of the source for pictures of W x H pixels.
        world_to_source: [3, 4] into source camera axes.
        intrinsics: fx fy cx cy of the target.
        camera_to_world: [3, 4] of the target.
        target_depth: [rows, columns] z-depth of the surface that the target shows, 0 where it shows none.
        tolerance: World units behind the source's surface at which a point counts as half hidden.
        colour: [3, rows, columns], written.
        seen: [rows, columns], written.
    """
    height, width = source_alpha.shape
    scale_y = source_depth.shape[0] / height
    scale_x = source_depth.shape[1] / width
    rows, columns = target_depth.shape
    for row in range(rows):
        for column in range(columns):
            z = target_depth[row, column]
            if z <= 0.0:
                continue
            cx = (column + 0.5 - intrinsics[2]) / intrinsics[0] * z
            cy = (row + 0.5 - intrinsics[3]) / intrinsics[1] * z
            px = camera_to_world[0, 0] * cx + camera_to_world[0, 1] * cy + camera_to_world[0, 2] * z
            py = camera_to_world[1, 0] * cx + camera_to_world[1, 1] * cy + camera_to_world[1, 2] * z
            pz = camera_to_world[2, 0] * cx + camera_to_world[2, 1] * cy + camera_to_world[2, 2] * z
            px += camera_to_world[0, 3]
            py += camera_to_world[1, 3]
            pz += camera_to_world[2, 3]
            sz = world_to_source[2, 0] * px + world_to_source[2, 1] * py + world_to_source[2, 2] * pz
            sz += world_to_source[2, 3]
            if sz < 1e-6:
                continue
            sx = world_to_source[0, 0] * px + world_to_source[0, 1] * py + world_to_source[0, 2] * pz
            sy = world_to_source[1, 0] * px + world_to_source[1, 1] * py + world_to_source[1, 2] * pz
            x = (sx + world_to_source[0, 3]) / sz * source_intrinsics[0] + source_intrinsics[2]
            y = (sy + world_to_source[1, 3]) / sz * source_intrinsics[1] + source_intrinsics[3]
            for channel in range(3):
                colour[channel, row, column] = _bilinear(source_colour[channel], x - 0.5, y - 0.5)
            if x < 0.5 or y < 0.5 or x > width - 0.5 or y > height - 0.5:
                continue
            alpha = _bilinear(source_alpha, x - 0.5, y - 0.5)
            front = _bilinear(source_depth, x * scale_x - 0.5, y * scale_y - 0.5)
            hidden = min(max((sz - front) / tolerance, 0.0), 8.0)
            seen[row, column] = math.exp2(-hidden * hidden) * alpha
