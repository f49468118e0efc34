"""The process in which a mesh is unwrapped: it can be ended at any moment, which the library inside cannot.

    python -m renderers.texture_space.unwrapping_worker FOLDER METHOD TEXTURE_SIZE PADDING_TEXELS

reads FOLDER/vertices.npy [N, 3] and FOLDER/faces.npy [F, 3], writes FOLDER/corner_uvs.npy [F, 3, 2] in 0..1, v up.
"""

import sys
from pathlib import Path

import numpy as np

from distill_core.errors import UserError

USER_ERROR_STATUS = 2


def unwrap_with_xatlas(vertices: np.ndarray, faces: np.ndarray, texture_size: int, padding_texels: int) -> np.ndarray:
    """Texture coordinates [F, 3, 2] float32 of charts that xatlas cuts, flattens and packs.

    Args:
        vertices: [N, 3] in the unit ball.
        faces: [F, 3].
        texture_size: texels along a side for which charts are packed.
        padding_texels: free texels around each chart.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution = texture_size
    packing.padding = padding_texels
    packing.bilinear = True
    atlas.generate(xatlas.ChartOptions(), packing)
    _, corners, uvs = atlas.get_mesh(0)
    # Its atlas is about as large as asked for and rarely square; one scale for both axes keeps texels square.
    longest = max(atlas.width, atlas.height)
    uvs = uvs * (np.array([atlas.width, atlas.height]) / longest)
    return uvs[corners].astype(np.float32)


def main(folder: Path, method: str, texture_size: int, padding_texels: int) -> None:
    """Unwrap the mesh in a folder.

    Args:
        folder: with the mesh's arrays.
        method: "xatlas" or "directions".
        texture_size: texels along a side.
        padding_texels: free texels around each chart.
    """
    vertices, faces = np.load(folder / "vertices.npy"), np.load(folder / "faces.npy")
    if method == "xatlas":
        corner_uvs = unwrap_with_xatlas(vertices, faces, texture_size, padding_texels)
    else:
        from renderers.texture_space.direction_charts import unwrap_by_direction

        corner_uvs = unwrap_by_direction(vertices, faces, texture_size=texture_size, padding_texels=padding_texels)
    np.save(folder / "corner_uvs.npy", corner_uvs)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(USER_ERROR_STATUS) from None
