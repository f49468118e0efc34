"""The well-known textured models that nothing was trained on, rendered."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill_core.cameras import Camera
from distill_core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from renderers.mesh_rendering import RenderableMesh


def evaluation_models(folder: Path, limit: int | None = None) -> Iterator[tuple[str, "RenderableMesh"]]:
    """Load the models of a folder's INDEX.csv one after another, in the unit ball with z up.

    Args:
        folder: the evaluation models; INDEX.csv has the columns "file" and "up axis as loaded".
        limit: how many at most.

    Raises:
        UserError: no such folder.
    """
    from renderers.mesh_rendering import prepare
    from renderers.meshes import load_mesh, normalised

    index = folder / "INDEX.csv"
    if not index.is_file():
        raise UserError(f"Expected the evaluation models in {folder}, but {index} is not there; name their folder.")
    with index.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    up_axes: dict[str, Literal["y", "z"]] = {"Y": "y", "Z": "z"}
    for row in rows[:limit]:
        file = folder / row["file"]
        name = f"{file.parent.name}_{file.stem}" if file.parent != folder else file.stem
        yield name, prepare(normalised(load_mesh(file, up_axis=up_axes[row["up axis as loaded"]])))


def render_pictures(mesh: "RenderableMesh", cameras: Sequence[Camera]) -> "np.ndarray":
    """Render the bare base colour, supersampled.

    Args:
        mesh: in the unit ball.
        cameras: V cameras of one picture size.

    Returns:
        [V, 4, H, W] straight RGBA.
    """
    from renderers.mesh_rendering import render_views

    return render_views(mesh, cameras, supersampling=2, with_normals=False).colour
