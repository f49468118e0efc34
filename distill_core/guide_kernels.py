"""Numba kernels of the guide on the CPU: rays marched through a solid, source pixels carried to target pixels.

`guide.py` has the same in torch for other devices; tests hold the two together.
"""

import math

import numba
import numpy as np

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True}


@numba.njit(**_OPTIONS)
def _trilinear(volume, x, y, z):
    """Value of a volume [h, w, D] at cell coordinates (centres at integers), zero outside."""
    height, width, bins = volume.shape
    x_floor = int(math.floor(x))
    y_floor = int(math.floor(y))
    z_floor = int(math.floor(z))
    if x_floor < -1 or y_floor < -1 or z_floor < -1 or x_floor >= width or y_floor >= height or z_floor >= bins:
        return 0.0
    wx = x - x_floor
    wy = y - y_floor
    wz = z - z_floor
    if 0 <= x_floor < width - 1 and 0 <= y_floor < height - 1 and 0 <= z_floor < bins - 1:
        # Nearly all points: no neighbour is outside.
        left, right = volume[y_floor, x_floor], volume[y_floor, x_floor + 1]
        upper = (left[z_floor] * (1.0 - wx) + right[z_floor] * wx) * (1.0 - wz)
        upper += (left[z_floor + 1] * (1.0 - wx) + right[z_floor + 1] * wx) * wz
        left, right = volume[y_floor + 1, x_floor], volume[y_floor + 1, x_floor + 1]
        lower = (left[z_floor] * (1.0 - wx) + right[z_floor] * wx) * (1.0 - wz)
        lower += (left[z_floor + 1] * (1.0 - wx) + right[z_floor + 1] * wx) * wz
        return upper * (1.0 - wy) + lower * wy
    total = 0.0
    for dz in range(2):
        iz = z_floor + dz
        if iz < 0 or iz >= bins:
            continue
        weight_z = wz if dz else 1.0 - wz
        for dy in range(2):
            iy = y_floor + dy
            if iy < 0 or iy >= height:
                continue
            weight_y = weight_z * (wy if dy else 1.0 - wy)
            for dx in range(2):
                ix = x_floor + dx
                if ix < 0 or ix >= width:
                    continue
                total += weight_y * (wx if dx else 1.0 - wx) * volume[iy, ix, iz]
    return total


@numba.njit(**_OPTIONS)
def _support(volume):
    """Where a volume [h, w, D] can be anything but zero: [h + 1, w + 1] by the floor of cell coordinates, plus one."""
    height, width, bins = volume.shape
    support = np.zeros((height + 1, width + 1), np.bool_)
    for row in range(height):
        for column in range(width):
            for index in range(bins):
                if volume[row, column, index] > 0.0:
                    support[row : row + 2, column : column + 2] = True
                    break
    return support


@numba.njit(**_OPTIONS)
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
    values = np.zeros(samples)
    height_of_volume, width_of_volume, bins = volume.shape
    bins_a_unit = bins / (2.0 * radius)
    support = _support(volume)
    ox, oy, oz = camera_to_world[0, 3], camera_to_world[1, 3], camera_to_world[2, 3]
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
            # The ray in source camera axes: start + distance * slope.
            sx = world_to_source[0, 0] * ox + world_to_source[0, 1] * oy + world_to_source[0, 2] * oz
            sy = world_to_source[1, 0] * ox + world_to_source[1, 1] * oy + world_to_source[1, 2] * oz
            sz = world_to_source[2, 0] * ox + world_to_source[2, 1] * oy + world_to_source[2, 2] * oz
            sx += world_to_source[0, 3]
            sy += world_to_source[1, 3]
            sz += world_to_source[2, 3]
            gx = world_to_source[0, 0] * dx + world_to_source[0, 1] * dy + world_to_source[0, 2] * dz
            gy = world_to_source[1, 0] * dx + world_to_source[1, 1] * dy + world_to_source[1, 2] * dz
            gz = world_to_source[2, 0] * dx + world_to_source[2, 1] * dy + world_to_source[2, 2] * dz
            largest = 0.0
            total = 0.0
            for index in range(samples):
                distance = along + half * ((index + 0.5) / samples * 2.0 - 1.0)
                z = sz + distance * gz
                inverse = 1.0 / z
                x = (sx + distance * gx) * inverse * source_intrinsics[0] + source_intrinsics[2] - 0.5
                y = (sy + distance * gy) * inverse * source_intrinsics[1] + source_intrinsics[3] - 0.5
                value = 0.0
                if -1.0 <= x < width_of_volume and -1.0 <= y < height_of_volume:
                    if support[int(math.floor(y)) + 1, int(math.floor(x)) + 1]:
                        value = _trilinear(volume, x, y, (z - nearest_depth) * bins_a_unit - 0.5)
                values[index] = value
                largest = max(largest, value)
                total += value
            mask[row, column] = largest
            thickness[row, column] = total * 2.0 * half / samples
            threshold = min(max(largest * 0.5, 1e-3), 0.5)
            first = samples - 1
            crossing = float(first)
            for index in range(samples):
                if values[index] >= threshold:
                    first = index
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
