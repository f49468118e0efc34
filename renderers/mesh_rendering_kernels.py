"""Numba kernels of the fast mesh renderer: z-buffer, deferred shading, box filter.

Letters used in the whole file: F faces, S samples a side of a pixel, H W height and width in samples.
Screen coordinates are in samples, the centre of the first sample at (0.5, 0.5). 1/z is affine on the
screen, so the z-buffer keeps 1/z (0 = empty) and the largest value wins.
"""

import math

import numba
import numpy as np

_OPTIONS = {"error_model": "numpy", "cache": True, "nogil": True, "fastmath": {"contract", "nsz", "arcp"}}

CUT_OUT_ALPHA = 0.5
"""A sample whose texture alpha is below this is a hole (glTF's default `alphaCutoff`)."""


@numba.njit(**_OPTIONS)
def _neighbours(position, size):
    """The two texels beside a repeating coordinate and the weight of the second; `size` texels make 1."""
    x = (position - math.floor(position)) * size - 0.5
    x_floor = math.floor(x)
    first = int(x_floor)
    second = first + 1
    if first < 0:
        first = size - 1
    if second >= size:
        second = 0
    return first, second, x - x_floor


@numba.njit(**_OPTIONS)
def _mixed(texels, i00, i01, i10, i11, wx, wy, channel):
    top = texels[i00, channel] + wx * (texels[i01, channel] - texels[i00, channel])
    bottom = texels[i10, channel] + wx * (texels[i11, channel] - texels[i10, channel])
    return top + wy * (bottom - top)


@numba.njit(**_OPTIONS)
def set_up_faces(corners_camera, fx, fy, cx, cy, edges, inverse_depths):
    """Edge functions of every face on the screen.

    Args:
        corners_camera: [F, 3, 3] corners in camera axes (OpenCV), every z positive.
        fx: Focal length in samples.
        fy: Focal length in samples.
        cx: Principal point in samples.
        cy: Principal point in samples.
        edges: [F, 14], written: a, b, c of the three edge functions divided by the doubled area (so that
            their values are the screen's barycentric coordinates), the bounding box x0 x1 y0 y1, and 1 or -1
            as the face shows its front (counter-clockwise seen from outside) or its back, 0 = no area.
        inverse_depths: [F, 3], written: 1/z of the corners.
    """
    for face in range(corners_camera.shape[0]):
        x0 = fx * corners_camera[face, 0, 0] / corners_camera[face, 0, 2] + cx
        y0 = fy * corners_camera[face, 0, 1] / corners_camera[face, 0, 2] + cy
        x1 = fx * corners_camera[face, 1, 0] / corners_camera[face, 1, 2] + cx
        y1 = fy * corners_camera[face, 1, 1] / corners_camera[face, 1, 2] + cy
        x2 = fx * corners_camera[face, 2, 0] / corners_camera[face, 2, 2] + cx
        y2 = fy * corners_camera[face, 2, 1] / corners_camera[face, 2, 2] + cy
        for corner in range(3):
            inverse_depths[face, corner] = 1.0 / corners_camera[face, corner, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            edges[face, 13] = 0.0
            continue
        scale = 1.0 / area
        edges[face, 0] = (y1 - y2) * scale
        edges[face, 1] = (x2 - x1) * scale
        edges[face, 2] = (x1 * y2 - x2 * y1) * scale
        edges[face, 3] = (y2 - y0) * scale
        edges[face, 4] = (x0 - x2) * scale
        edges[face, 5] = (x2 * y0 - x0 * y2) * scale
        edges[face, 6] = (y0 - y1) * scale
        edges[face, 7] = (x1 - x0) * scale
        edges[face, 8] = (x0 * y1 - x1 * y0) * scale
        edges[face, 9] = min(x0, x1, x2)
        edges[face, 10] = max(x0, x1, x2)
        edges[face, 11] = min(y0, y1, y2)
        edges[face, 12] = max(y0, y1, y2)
        # Image y points down, so a face that is counter-clockwise from outside has a negative area here.
        edges[face, 13] = -1.0 if area > 0 else 1.0


@numba.njit(**_OPTIONS)
def _is_hole(face, x, y, edges, inverse_depths, corner_uvs, face_picture, levels, texels):
    b0 = (edges[face, 0] * x + edges[face, 1] * y + edges[face, 2]) * inverse_depths[face, 0]
    b1 = (edges[face, 3] * x + edges[face, 4] * y + edges[face, 5]) * inverse_depths[face, 1]
    b2 = (edges[face, 6] * x + edges[face, 7] * y + edges[face, 8]) * inverse_depths[face, 2]
    scale = 1.0 / (b0 + b1 + b2)
    u = (b0 * corner_uvs[face, 0, 0] + b1 * corner_uvs[face, 1, 0] + b2 * corner_uvs[face, 2, 0]) * scale
    v = (b0 * corner_uvs[face, 0, 1] + b1 * corner_uvs[face, 1, 1] + b2 * corner_uvs[face, 2, 1]) * scale
    level = levels[face_picture[face], 0]
    x0, x1, wx = _neighbours(u, level[2])
    y0, y1, wy = _neighbours(1.0 - v, level[1])
    top, bottom = level[0] + y0 * level[2], level[0] + y1 * level[2]
    return _mixed(texels, top + x0, top + x1, bottom + x0, bottom + x1, wx, wy, 3) < CUT_OUT_ALPHA


@numba.njit(**_OPTIONS)
def fill_z_buffer(
    edges, inverse_depths, corner_uvs, face_picture, picture_has_holes, levels, texels, z_buffer, face_ids
):
    """Write 1/z and the face of the nearest surface at every sample centre.

    Args:
        edges: [F, 14] from `set_up_faces`.
        inverse_depths: [F, 3] 1/z of the corners.
        corner_uvs: [F, 3, 2] texture coordinates.
        face_picture: [F] index of a face's picture.
        picture_has_holes: [pictures] True where a picture has cut-outs.
        levels: [pictures, levels, 3] offset, height, width of each mip level in `texels`.
        texels: [T, 4] linear colour and alpha.
        z_buffer: [H, W] zeros, written: 1/z.
        face_ids: [H, W] filled with -1, written.
    """
    height, width = z_buffer.shape
    for face in range(edges.shape[0]):
        if edges[face, 13] == 0.0:
            continue
        row_first = max(0, int(math.ceil(edges[face, 11] - 0.5)))
        row_last = min(height - 1, int(math.floor(edges[face, 12] - 0.5)))
        column_low = edges[face, 9] - 0.5
        column_high = edges[face, 10] - 0.5
        if row_first > row_last or column_high < 0 or column_low > width - 1:
            continue
        # Affine 1/z = gx x + gy y + g0 from the barycentric edge functions.
        gx = 0.0
        gy = 0.0
        g0 = 0.0
        for edge in range(3):
            gx += edges[face, 3 * edge] * inverse_depths[face, edge]
            gy += edges[face, 3 * edge + 1] * inverse_depths[face, edge]
            g0 += edges[face, 3 * edge + 2] * inverse_depths[face, edge]
        holes = picture_has_holes[face_picture[face]]
        for row in range(row_first, row_last + 1):
            y = row + 0.5
            low = column_low
            high = column_high
            for edge in range(3):
                a = edges[face, 3 * edge]
                rest = edges[face, 3 * edge + 1] * y + edges[face, 3 * edge + 2]
                if a > 0:
                    low = max(low, -rest / a - 0.5)
                elif a < 0:
                    high = min(high, -rest / a - 0.5)
                elif rest < 0:
                    high = low - 2.0
            # A hair of overlap, so that two faces that share an edge leave no sample between them.
            first = max(0, int(math.ceil(low - 1e-9)))
            last = min(width - 1, int(math.floor(high + 1e-9)))
            base = gy * y + g0 + 0.5 * gx
            if holes:
                for column in range(first, last + 1):
                    value = base + gx * column
                    if value > z_buffer[row, column] and not _is_hole(
                        face, column + 0.5, y, edges, inverse_depths, corner_uvs, face_picture, levels, texels
                    ):
                        z_buffer[row, column] = value
                        face_ids[row, column] = face
            else:
                for column in range(first, last + 1):
                    value = np.float32(base + gx * column)
                    if value > z_buffer[row, column]:
                        z_buffer[row, column] = value
                        face_ids[row, column] = face


@numba.njit(**_OPTIONS)
def choose_levels(edges, inverse_depths, corner_uvs, face_picture, levels, face_levels):
    """Mip level of every face: the one whose texels are about a sample wide on it.

    Args:
        edges: [F, 14] from `set_up_faces`.
        inverse_depths: [F, 3] 1/z of the corners (a face is small beside its distance: one level a face).
        corner_uvs: [F, 3, 2] texture coordinates.
        face_picture: [F] index of a face's picture.
        levels: [pictures, levels, 3] offset, height, width of each mip level.
        face_levels: [F], written.
    """
    for face in range(edges.shape[0]):
        picture = face_picture[face]
        if edges[face, 13] == 0.0 or levels[picture, 0, 1] * levels[picture, 0, 2] == 1:
            face_levels[face] = 0
            continue
        # d(u, v)/d(x, y) of the affine map screen -> texture.
        ux = uy = vx = vy = 0.0
        for corner in range(3):
            ux += edges[face, 3 * corner] * corner_uvs[face, corner, 0]
            uy += edges[face, 3 * corner + 1] * corner_uvs[face, corner, 0]
            vx += edges[face, 3 * corner] * corner_uvs[face, corner, 1]
            vy += edges[face, 3 * corner + 1] * corner_uvs[face, corner, 1]
        texels_per_sample = abs(ux * vy - uy * vx) * levels[picture, 0, 1] * levels[picture, 0, 2]
        level = 0
        while texels_per_sample > 2.0 and level + 1 < levels.shape[1] and levels[picture, level + 1, 1] > 0:
            texels_per_sample *= 0.25
            level += 1
        face_levels[face] = level


@numba.njit(**_OPTIONS)
def shade(
    face_ids,
    edges,
    inverse_depths,
    corner_uvs,
    corner_colours,
    face_picture,
    face_levels,
    levels,
    texels,
    encode,
    samples,
    colour,
):
    """Colour every pixel from its samples: texture x corner colour, encoded to sRGB, averaged.

    Args:
        face_ids: [H, W] from `fill_z_buffer`, H and W multiples of `samples`.
        edges: [F, 14].
        inverse_depths: [F, 3].
        corner_uvs: [F, 3, 2].
        corner_colours: [F, 3, 3] linear factors (light times the mesh's own corner colours).
        face_picture: [F].
        face_levels: [F].
        levels: [pictures, levels, 3].
        texels: [T, 4] linear colour and alpha.
        encode: [4097] sRGB value of linear 0..1.
        samples: Samples a side of a pixel.
        colour: [4, H / samples, W / samples] straight sRGB colour and alpha, written.
    """
    height = colour.shape[1]
    width = colour.shape[2]
    share = 1.0 / (samples * samples)
    # Of each face that is met: a, b, c of 1/z, u/z, v/z, red/z, green/z and blue/z, which are affine on the screen.
    planes = np.zeros((edges.shape[0], 18))
    known = np.zeros(edges.shape[0], np.bool_)
    for row in range(height):
        for column in range(width):
            red = 0.0
            green = 0.0
            blue = 0.0
            covered = 0
            for sub_row in range(samples):
                for sub_column in range(samples):
                    sample_row = row * samples + sub_row
                    sample_column = column * samples + sub_column
                    face = face_ids[sample_row, sample_column]
                    if face < 0:
                        continue
                    plane = planes[face]
                    if not known[face]:
                        known[face] = True
                        _set_up_planes(edges[face], inverse_depths[face], corner_uvs[face], corner_colours[face], plane)
                    x = sample_column + 0.5
                    y = sample_row + 0.5
                    depth = 1.0 / (plane[0] * x + plane[1] * y + plane[2])
                    u = (plane[3] * x + plane[4] * y + plane[5]) * depth
                    v = (plane[6] * x + plane[7] * y + plane[8]) * depth
                    level = levels[face_picture[face], face_levels[face]]
                    x0, x1, wx = _neighbours(u, level[2])
                    y0, y1, wy = _neighbours(1.0 - v, level[1])
                    top, bottom = level[0] + y0 * level[2], level[0] + y1 * level[2]
                    i00, i01, i10, i11 = top + x0, top + x1, bottom + x0, bottom + x1
                    covered += 1
                    factor = (plane[9] * x + plane[10] * y + plane[11]) * depth
                    red += _encoded(encode, _mixed(texels, i00, i01, i10, i11, wx, wy, 0) * factor)
                    factor = (plane[12] * x + plane[13] * y + plane[14]) * depth
                    green += _encoded(encode, _mixed(texels, i00, i01, i10, i11, wx, wy, 1) * factor)
                    factor = (plane[15] * x + plane[16] * y + plane[17]) * depth
                    blue += _encoded(encode, _mixed(texels, i00, i01, i10, i11, wx, wy, 2) * factor)
            if covered > 0:
                colour[0, row, column] = red / covered
                colour[1, row, column] = green / covered
                colour[2, row, column] = blue / covered
                colour[3, row, column] = covered * share


@numba.njit(**_OPTIONS)
def _set_up_planes(edge, inverse_depth, uvs, colours, plane):
    """Write a, b, c of what is interpolated over one face, each divided by z: [18], as `shade` says."""
    for corner in range(3):
        for term in range(3):
            weight = edge[3 * corner + term] * inverse_depth[corner]
            plane[term] += weight
            plane[3 + term] += weight * uvs[corner, 0]
            plane[6 + term] += weight * uvs[corner, 1]
            plane[9 + term] += weight * colours[corner, 0]
            plane[12 + term] += weight * colours[corner, 1]
            plane[15 + term] += weight * colours[corner, 2]


@numba.njit(**_OPTIONS)
def _encoded(encode, value):
    """SRGB value of linear light, between the entries of a table [4097]."""
    position = min(max(value, 0.0), 1.0) * 4096.0
    low = min(int(position), 4095)
    return encode[low] + (position - low) * (encode[low + 1] - encode[low])


@numba.njit(**_OPTIONS)
def interpolate_normals(face_ids, edges, inverse_depths, corner_normals, normals):
    """Unit normals at pixel centres, turned towards the camera on back faces.

    Args:
        face_ids: [H, W] at pixel centres.
        edges: [F, 14].
        inverse_depths: [F, 3].
        corner_normals: [F, 3, 3] world space.
        normals: [3, H, W], written.
    """
    height, width = face_ids.shape
    for row in range(height):
        for column in range(width):
            face = face_ids[row, column]
            if face < 0:
                continue
            x = column + 0.5
            y = row + 0.5
            b0 = (edges[face, 0] * x + edges[face, 1] * y + edges[face, 2]) * inverse_depths[face, 0]
            b1 = (edges[face, 3] * x + edges[face, 4] * y + edges[face, 5]) * inverse_depths[face, 1]
            b2 = (edges[face, 6] * x + edges[face, 7] * y + edges[face, 8]) * inverse_depths[face, 2]
            nx = b0 * corner_normals[face, 0, 0] + b1 * corner_normals[face, 1, 0] + b2 * corner_normals[face, 2, 0]
            ny = b0 * corner_normals[face, 0, 1] + b1 * corner_normals[face, 1, 1] + b2 * corner_normals[face, 2, 1]
            nz = b0 * corner_normals[face, 0, 2] + b1 * corner_normals[face, 1, 2] + b2 * corner_normals[face, 2, 2]
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            if length > 1e-20:
                scale = edges[face, 13] / length
                normals[0, row, column] = nx * scale
                normals[1, row, column] = ny * scale
                normals[2, row, column] = nz * scale
